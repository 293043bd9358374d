"""The disputes of a federation, as ``IDisputes.sol`` has them: docs/protocol.md, section 6."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic.alias_generators import to_snake

from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.contract import Call, Contract
from fl_orchestrator.chain.event_types import (
    Answered,
    Demanded,
    FraudProven,
    RevealedUpdate,
    RoundRevoked,
    Slashed,
    counted,
)
from fl_orchestrator.chain.types import Demand, Fraud, Role, Window
from fl_orchestrator.model.digests import Result

_Event = TypeVar("_Event", bound=Any)


class Disputes(Contract):
    """What anybody may ask of, and do in, the disputes of a federation."""

    # ------------------------------------------------------------------ state

    def demand_by_id(self, demand_id: int) -> Demand | None:
        """A demand; None if there is none, or no more, because its bond is settled."""
        demand = self._read_as(Demand, "demandById", demand_id)
        return demand if demand.round else None

    def fraud(self, digest: bytes) -> Fraud:
        """What is proven of the result with this digest."""
        return self._read_as(Fraud, "fraud", digest)

    def window(self, round_number: int) -> Window:
        return self._read_as(Window, "window", round_number)

    def held_until(self) -> int:
        """Until when the last proven fraud holds back every withdrawal, so that slashes arrive."""
        return int(self._read("heldUntil"))

    def registered_at(self, challenge: bytes) -> int:
        """The block in which a challenge was registered, by its hash; 0 when it was not."""
        return int(self._read("registeredAt", challenge))

    # ------------------------------------------------------------------ events

    # From a first block to a last one, None being the latest, and of one round or of all.

    def events(
        self,
        cls: type[_Event],
        first: int,
        last: int | None = None,
        round_number: int | None = None,
    ) -> list[_Event]:
        """The events of a class of ``chain.types`` that has the event's name and its arguments.

        Raises UntrueEvents, as everything here that reads events.
        """
        return self._events(cls.__name__, first, last, round_number, partial(typed, cls))

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
        """Of signers, and of parties that did not reveal."""
        return self._events("Slashed", first, last, round_number, _slashed)

    # ------------------------------------------------------------------ calls

    def register_challenge(self, challenge: bytes) -> Call:
        """To come before the challenge by a block at least: ``digests.challenge_hash``."""
        return self._call("registerChallenge", challenge)

    def challenge(
        self,
        result: Result,
        updates: Sequence[RevealedUpdate],
        coordinate: int,
        proofs: bytes,
        salt: bytes,
    ) -> Call:
        """``updates``: all counted reveals of the round.

        ``proofs``: the packed proofs of every included one, of the base and of the result's model.
        """
        return self._call("challenge", to_abi(result), counted(updates), coordinate, proofs, salt)

    def slash_signer(self, digest: bytes, seat: int) -> Call:
        return self._call("slashSigner", digest, seat)

    def demand(self, round_number: int, level: int, index: int, value: int) -> Call:
        """``value`` in wei; what is above the bond is credited."""
        return self._call("demand", round_number, level, index, value=value)

    def descend(self, previous: int, index: int, value: int) -> Call:
        """``index``: of a node that the answer to ``previous`` shows; ``value`` in wei."""
        return self._call("descend", previous, index, value=value)

    def answer(self, demand_id: int, content: bytes, path: bytes) -> Call:
        """``path``: the packed siblings from the demanded node up to the root."""
        return self._call("answer", demand_id, content, path)

    def expire(self, demand_id: int, result: Result) -> Call:
        """``result``: the accepted one."""
        return self._call("expire", demand_id, to_abi(result))

    def close_descent(self, demand_id: int) -> Call:
        return self._call("closeDescent", demand_id)

    def settle_bond(self, demand_id: int) -> Call:
        return self._call("settleBond", demand_id)


def typed(cls: type[_Event], log: Any) -> _Event:
    """The event as the class of its name."""
    fields = {to_snake(name): value for name, value in log["args"].items()}
    event: _Event = cls(**fields, block_number=log["blockNumber"])
    return event


def _slashed(log: Any) -> Slashed:
    args = log["args"]
    return Slashed(**{**args, "role": Role(args["role"])}, block_number=log["blockNumber"])
