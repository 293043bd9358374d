"""The settlement of a dispute: slashes of the signers of a fraud, and refunds of bonds."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.disputes import Disputes
from fl_orchestrator.chain.contract.events import DisputeIndex, RoundIndex, signers_of
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.reverts import RequestRefused
from fl_orchestrator.chain.event_types import Demanded, FraudProven
from fl_orchestrator.chain.mirror.index import MirrorIndex
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.roles.attempt import attempt

# The fraction of the challenge period that others have to send the slashes that they are paid for.
_OTHERS_SHARE: Final = 0.5
_MAX_TRIES: Final = 3
# Anybody may settle a bond, and have a credit paid to its owner.
_NOT_NOW: Final = frozenset(
    {ContractError.NotFinal, ContractError.NothingToWithdraw, ContractError.UnknownDemand}
)


def have_stake(federation: Federation, deployed_at: int, round_number: int, digest: bytes) -> bool:
    """Whether a signer of a result has something left to lose. Raises MissingEvents."""
    signers = signers_of(federation, deployed_at, round_number, digest)
    return any(federation.observe(account).aggregator.stake for account in signers)


class Slashes:
    """The slashes that one account should send, of every signer of every proven fraud.

    The account that proved a fraud is paid for them. If it sends nothing (it may belong to the
    signers), anybody else must, otherwise the fraud costs nothing.
    """

    def __init__(
        self, federation: Federation, rounds: RoundIndex, address: str, deployed_at: int
    ) -> None:
        self._federation = federation
        self._rounds = rounds
        self._address = address
        self._deployed_at = deployed_at
        self._challenge_period = federation.params().challenge_period
        self._signers: dict[bytes, list[str]] = {}
        self._tries: Counter[tuple[bytes, int]] = Counter()
        self._done: set[bytes] = set()
        self._taken_over: set[bytes] = set()

    def take_over(self, digest: bytes) -> None:
        """Slash the signers of this result as soon as it is proven, even if another is paid for it.

        An expired demand pays its demander, which may be a signer that never slashes itself.
        """
        self._taken_over.add(digest)

    def due(self, seen: Observation, wake_ats: list[int]) -> Iterator[Call]:
        """The calls that can be sent now; adds the times of later ones to ``wake_ats``."""
        for fraud in list(self._rounds.frauds.values()):
            if fraud.digest in self._done:
                continue
            begin = self._begin(fraud)
            if seen.timestamp < begin:
                wake_ats.append(begin)
                continue
            seats = list(self._slashable(fraud))
            if not seats:
                self._done.add(fraud.digest)
            for seat in seats:
                yield self._federation.slash_signer(fraud.digest, seat)
                # The caller takes the next call only if the contract refused this one.
                self._tries[fraud.digest, seat] += 1

    def _begin(self, fraud: FraudProven) -> int:
        if fraud.challenger == self._address or fraud.digest in self._taken_over:
            return 0
        block = self._federation.block(fraud.block_number)
        if block is None:
            raise RequestRefused(
                f"The node has no block {fraud.block_number}.", "Use another RPC endpoint."
            )
        return block[1] + int(self._challenge_period * _OTHERS_SHARE)

    def _slashable(self, fraud: FraudProven) -> Iterator[int]:
        """The seats of the signers that are not slashed yet and have something to lose."""
        signers = self._federation.attestation(fraud.digest).signers
        left = signers & ~self._federation.fraud(fraud.digest).slashed
        if not left:
            return
        # The list of signers cannot grow: the contract refuses signatures of a proven fraud.
        if fraud.digest not in self._signers:
            self._signers[fraud.digest] = signers_of(
                self._federation, self._deployed_at, fraud.round, fraud.digest
            )
        for address in self._signers[fraud.digest]:
            aggregator = self._federation.observe(address).aggregator
            seat = aggregator.seat
            # A seat that was given up and taken again did not sign: the contract refuses it.
            untried = self._tries[fraud.digest, seat] < _MAX_TRIES
            if aggregator.stake and left >> seat & 1 and untried:
                yield seat


class Bonds:
    """The bonds that are due to one account, as demander or as responder.

    ``events`` are those of the ``contract``: a federation, or a mirror, whose rounds are its
    submissions.
    """

    def __init__(self, contract: Disputes, events: DisputeIndex[Any], address: str) -> None:
        self._contract = contract
        self._events = events
        self._address = address
        self._settled: set[int] = set()

    @property
    def settled(self) -> int:
        """How many demands of this account are found to be settled, or to be due to another."""
        return len(self._settled)

    def own(self) -> list[Demanded]:
        """The demands that this account has made or answered."""
        answers = self._events.answers
        answered = {id_ for id_, a in answers.items() if a.answerer == self._address}
        made = self._events.demands.values()
        return [d for d in made if d.demander == self._address or d.id in answered]

    def due(self, last_final: Callable[[], int]) -> Iterator[tuple[int, Call]]:
        """The calls that credit this account, with the demands that they are about.

        ``last_final`` returns the round of the last final model.
        """
        open_demands = [demand for demand in self.own() if demand.id not in self._settled]
        if not open_demands:
            return
        final, canonical = last_final(), functools.cache(self._is_canonical)
        for demand in open_demands:
            over = demand.round <= final or not canonical(demand.round)
            if over and self._is_due(demand):
                yield demand.id, self._contract.settle_bond(demand.id)

    def _is_canonical(self, round_number: int) -> bool:
        return self._contract.window(round_number).canonical

    def _is_due(self, made: Demanded) -> bool:
        """Whether settling the bond, in a round that is over, credits this account."""
        demand = self._contract.demand_by_id(made.id)
        if demand is not None:
            earned = demand.answerer is not None and self._is_canonical(made.round)
            if self._address == (demand.answerer if earned else demand.demander):
                return True
        self._settled.add(made.id)
        return False


class MirrorRefunds:
    """Collects the bonds that a mirror owes to the account of a sender."""

    def __init__(self, mirror: ModelMirror, events: MirrorIndex, sender: Sender) -> None:
        self._mirror = mirror
        self._events = events
        self._sender = sender
        self.look_anew()

    def look_anew(self) -> None:
        """After a reorg, a demand that was settled may be open again."""
        self._bonds = Bonds(self._mirror, self._events, self._sender.address)
        self._paid = 0

    def collect(self) -> str | None:
        """Settle the next bond, or withdraw what is credited; return what was sent."""
        for _, call in self._bonds.due(self._last_final):
            if attempt(self._sender, call, _NOT_NOW):
                return call.label
        settled = self._bonds.settled
        if settled == self._paid:
            return None
        if not self._mirror.credit_of(self._sender.address):
            self._paid = settled
            return None
        call = self._mirror.withdraw_credit(self._sender.address)
        return call.label if attempt(self._sender, call, _NOT_NOW) else None

    def _last_final(self) -> int:
        return self._mirror.model(self._mirror.final_height()).submission
