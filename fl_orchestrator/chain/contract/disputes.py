"""The typed view of a federation's disputes (``IDisputes.sol``; docs/protocol.md, section 6)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeVar

from fl_orchestrator.chain.abi import snake_case, to_abi
from fl_orchestrator.chain.contract.contract import Call, Contract
from fl_orchestrator.chain.contract.logs import LoggedEvent
from fl_orchestrator.chain.event_types import (
    Answered,
    CountedUpdate,
    Demanded,
    FraudProven,
    RoundRevoked,
    Slashed,
    counted,
)
from fl_orchestrator.chain.types import Demand, Fraud, Params, Role, Window
from fl_orchestrator.errors import ChainError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.digests import Result

_log = get_logger(__name__)

# What comes of a pending block that is not one.
_UNREADABLE: Final = (AttributeError, LookupError, TypeError, ValueError)

_Event = TypeVar("_Event", bound=Any)


class Disputes(Contract, ABC):
    """Reads a federation's disputes, and builds calls to take part in them."""

    # ------------------------------------------------------------------ state

    @abstractmethod
    def params(self) -> Params:
        """The parameters by which disputes are decided."""

    def demand_by_id(self, demand_id: int) -> Demand | None:
        """A demand; None if there never was one, or if its bond is settled."""
        demand = self._read_as(Demand, "demandById", demand_id)
        return demand if demand.round else None

    def fraud(self, digest: bytes) -> Fraud:
        """The state of fraud proofs against the result with this digest."""
        return self._read_as(Fraud, "fraud", digest)

    def window(self, round_number: int) -> Window:
        return self._read_as(Window, "window", round_number)

    def held_until(self) -> int:
        """Until when the last proven fraud blocks withdrawals, so that slashes come first.

        In seconds since 1970.
        """
        return int(self._read("heldUntil"))

    def registered_at(self, challenge: bytes) -> int:
        """The block in which the challenge with this hash was registered; 0 if it was not."""
        return int(self._read("registeredAt", challenge))

    def pending_answers(self) -> frozenset[int]:
        """The demands for which the node shows an answer that is not mined yet.

        Many nodes show none, and what a node shows nobody has to send: this can only save gas.
        """
        from web3.exceptions import Web3Exception

        selector = self._functions["answer"].selector
        try:
            with self.reverts.translated():
                block: Any = self.web3.eth.get_block("pending", full_transactions=True)
            found = (_answered_demand(sent, self.address, selector) for sent in block.transactions)
            return frozenset(number for number in found if number is not None)
        except (ChainError, Web3Exception, *_UNREADABLE) as error:
            _log.debug("no pending block", reason=str(error))
            return frozenset()

    # ------------------------------------------------------------------ events

    # Each method takes a first and a last block (None: the latest), and a round (None: all).

    def events(
        self,
        cls: type[_Event],
        first: int,
        last: int | None = None,
        round_number: int | None = None,
    ) -> list[_Event]:
        """The events of one class of ``chain.event_types``, which has the event's name and fields.

        Raises UntrueEvents, as do the other methods that read events.
        """
        return self._events(cls.__name__, first, last, round_number, partial(typed, cls))

    def logged(
        self, name: str, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[LoggedEvent]:
        """The events of a name, each with its place in the chain and its transaction."""
        return self._events(name, first, last, round_number, LoggedEvent.of)

    def demands(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[Demanded]:
        return self.events(Demanded, first, last, round_number)

    def answers(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[Answered]:
        return self.events(Answered, first, last, round_number)

    def frauds(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[FraudProven]:
        return self.events(FraudProven, first, last, round_number)

    def revocations(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[RoundRevoked]:
        return self.events(RoundRevoked, first, last, round_number)

    def slashes(
        self, first: int, last: int | None = None, round_number: int | None = None
    ) -> list[Slashed]:
        """The slashes of signers, and of parties that did not reveal."""
        return self._events("Slashed", first, last, round_number, _slashed)

    # ------------------------------------------------------------------ calls

    def register_challenge(self, challenge: bytes) -> Call:
        """Register ``digests.challenge_hash``, at least one block before the challenge."""
        return self._call("registerChallenge", challenge)

    def challenge(
        self,
        result: Result,
        updates: Sequence[CountedUpdate],
        coordinate: int,
        proofs: bytes,
        salt: bytes,
    ) -> Call:
        """Challenge one coordinate of a result.

        ``updates`` are all counted reveals of the round. ``proofs`` are the packed proofs of every
        included one, of the base model and of the result's model.
        """
        return self._call("challenge", to_abi(result), counted(updates), coordinate, proofs, salt)

    def slash_signer(self, digest: bytes, seat: int) -> Call:
        return self._call("slashSigner", digest, seat)

    def demand(self, round_number: int, level: int, index: int, value: int) -> Call:
        """Demand a node. ``value`` is in wei; the part above the bond is credited to the sender."""
        return self._call("demand", round_number, level, index, value=value)

    def descend(self, previous: int, index: int, value: int) -> Call:
        """Demand a node, by its index, that the answer to ``previous`` contains; value in wei."""
        return self._call("descend", previous, index, value=value)

    def answer(self, demand_id: int, content: bytes, path: bytes) -> Call:
        """Answer a demand. ``path`` has the packed siblings from the demanded node to the root."""
        return self._call("answer", demand_id, content, path)

    def expire(self, demand_id: int, result: Result) -> Call:
        """Expire a demand that was not answered in time. ``result`` is the accepted one."""
        return self._call("expire", demand_id, to_abi(result))

    def close_descent(self, demand_id: int) -> Call:
        return self._call("closeDescent", demand_id)

    def settle_bond(self, demand_id: int) -> Call:
        return self._call("settleBond", demand_id)


def _answered_demand(transaction: Any, address: str, selector: bytes) -> int | None:
    """The demand that a transaction answers; None if it does something else."""
    data = bytes(transaction["input"])
    is_answer = transaction.get("to") == address and data[:4] == selector and len(data) >= 36
    return int.from_bytes(data[4:36], "big") if is_answer else None


def typed(cls: type[_Event], log: Any) -> _Event:
    """Convert web3's event to the dataclass of its name."""
    fields = {snake_case(name): value for name, value in log["args"].items()}
    event: _Event = cls(**fields, block_number=log["blockNumber"])
    return event


def _slashed(log: Any) -> Slashed:
    args = log["args"]
    return Slashed(**{**args, "role": Role(args["role"])}, block_number=log["blockNumber"])
