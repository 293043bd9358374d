"""The keeper: opens rounds, carries signed messages, makes rounds final and distributes rewards.

Anyone can run a keeper, and nobody has to trust it; several may run in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, Final

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.batches import (
    COMMIT_GAS,
    REVEAL_GAS,
    SIGNATURE_GAS,
    batch_size,
)
from fl_orchestrator.chain.sending.send import Sender, TransactionFailed
from fl_orchestrator.chain.types import Observation, Phase, SignedCommit, Update
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.protocol import MAX_UPDATES
from fl_orchestrator.roles.base import ANY_TIME, Step, at
from fl_orchestrator.roles.keeper.attendance import Attendance
from fl_orchestrator.roles.keeper.idle import IdleChain
from fl_orchestrator.roles.keeper.outcomes import Outcomes
from fl_orchestrator.roles.keeper.shares import Shares
from fl_orchestrator.roles.monitor import Monitor, NoMonitor
from fl_orchestrator.roles.relay import RELAY_SHARE, Mailbox, SignedResult

_log = get_logger(__name__)

# The contract accepts no more in a round.
MAX_BATCH: Final = MAX_UPDATES

# A message waits for others at most this fraction of the time after which its author sends it.
_GATHERING_SHARE: Final = 0.5

# The contract's errors if there is nothing to do yet, or if another keeper was faster.
_NOT_NOW: Final = frozenset(
    {
        ContractError.AlreadyDistributed,
        ContractError.NotFinalizable,
        ContractError.RoundInProgress,
        ContractError.SeedPending,
    }
)


class KeeperDecision(Enum):
    """The next action of any keeper, decided from the chain alone."""

    OPEN = auto()
    RELAY_COMMITS = auto()
    RELAY_REVEALS = auto()
    RELAY_CLAIMS = auto()
    RELAY_ATTESTATIONS = auto()
    FINALIZE = auto()
    NOTHING = auto()


def decide(seen: Observation, open_rounds: bool = True) -> KeeperDecision:
    """The next duty of a keeper; ``open_rounds`` says whether a next round is wanted."""
    phase = seen.current.phase
    if seen.finalizable_at and seen.timestamp >= seen.finalizable_at:
        return KeeperDecision.FINALIZE
    if phase is Phase.SEEDING and seen.block_number > seen.current.seed_block:
        return KeeperDecision.OPEN
    if phase is Phase.COMMIT:
        return KeeperDecision.RELAY_COMMITS
    if phase is Phase.REVEAL:
        return KeeperDecision.RELAY_REVEALS
    if phase is Phase.CLAIM:
        return KeeperDecision.RELAY_CLAIMS
    if phase is Phase.ATTEST:
        return KeeperDecision.RELAY_ATTESTATIONS
    if open_rounds and phase in (Phase.IDLE, Phase.ACCEPTED, Phase.VOID):
        return KeeperDecision.OPEN
    return KeeperDecision.NOTHING


@dataclass(frozen=True, slots=True)
class Duty:
    """A call, and the messages that it carries. ``attested``: the result that they sign."""

    call: Call
    messages: Sequence[Any] = ()
    attested: Any = None


@dataclass(frozen=True, slots=True)
class _Gathering:
    """Messages that wait for others of their phase, until the chain's time ``leaves_at``."""

    round: int
    phase: Phase
    leaves_at: int


class Keeper:
    """A keeper of one federation. ``wants_round(n)`` says whether round n is to be opened.

    A message waits until all expected messages are there, but at most a quarter of the rest of its
    phase, so that one transaction carries many. It is kept until its outcome is on the chain. With
    a ``clock``, in seconds, the keeper makes the blocks that a round needs if none are mined.
    """

    # The kinds of messages that it relays.
    _COMMIT: ClassVar[type[Any]] = SignedCommit
    _REVEAL: ClassVar[type[Any]] = Update
    _ATTESTATION: ClassVar[type[Any]] = SignedResult

    def __init__(
        self,
        federation: Federation,
        sender: Sender,
        mailbox: Mailbox,
        deployed_at: int,
        wants_round: Callable[[int], bool] = lambda _round: True,
        monitor: Monitor | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._federation = federation
        self._sender = sender
        self._mailbox = mailbox
        self._rounds = RoundIndex(federation, deployed_at)
        self._outcomes = Outcomes(self._rounds, monitor or NoMonitor())
        self._wants_round = wants_round
        self._idle = IdleChain(sender.address, clock) if clock else None
        self._shares = Shares(federation)
        self._attendance = Attendance(federation, deployed_at)
        self._gathering: _Gathering | None = None
        self._last_refusal = ""
        self._distributed = 0

    def step(self) -> Step:
        seen = self._federation.observe(self._sender.address)
        self._mailbox.forget_before(seen.current.round)
        self._outcomes.look(seen)
        for duty in self._duties(seen):
            try:
                receipt = self._sender.send(duty.call)
            except ContractReverted as error:
                self._refused(seen, duty, error)
                continue
            except TransactionFailed as error:
                # Another keeper was faster by one block; the messages that it left out still wait.
                _log.info("overtaken", call=duty.call.label, reason=error.for_log)
                continue
            # Mined: each message was accepted, or skipped for good.
            self._mailbox.remove(seen.current.round, duty.messages)
            if duty.messages:
                self._gathering = None
            if duty.attested is not None:
                self._shares.count(duty.attested, duty.messages)
            _log.info("sent", call=duty.call.label, round=seen.current.round, gas=receipt.gas_used)
            return Step(duty.call.label)
        leaves_at = self._gathering.leaves_at if self._gathering else 0
        # Messages may arrive at any time. A simulation also needs the times of the next duties.
        return Step(wait=ANY_TIME | at(leaves_at, seen.finalizable_at))

    def has_settled(self, seen: Observation) -> bool:
        """Whether every accepted round is final, and this keeper knows its rewards distributed."""
        return self._distributed == seen.final_height == seen.head.height

    def _refused(self, seen: Observation, duty: Duty, error: ContractReverted) -> None:
        """A batch is refused as a whole only when nothing in it can be accepted."""
        if error.cause not in _NOT_NOW and str(error) != self._last_refusal:
            self._last_refusal = str(error)
            _log.warning("refused", call=duty.call.label, reason=str(error))
        if error.cause is not ContractError.WrongPhase:
            self._mailbox.remove(seen.current.round, duty.messages)

    def _duties(self, seen: Observation) -> Iterator[Duty]:
        yield from self._late_attestations(seen)
        for party in self._attendance.missing(seen):
            yield Duty(self._federation.mark_absent(party))
        decision = decide(seen, self._wants_round(seen.current.round + 1))
        if decision is KeeperDecision.FINALIZE:
            yield Duty(self._federation.finalize())
        elif decision is KeeperDecision.OPEN:
            yield Duty(self._federation.open_round())
        elif decision is KeeperDecision.RELAY_COMMITS:
            yield from self._commits(seen)
        elif decision is KeeperDecision.RELAY_REVEALS:
            yield from self._reveals(seen)
        elif decision is KeeperDecision.RELAY_CLAIMS:
            yield from self._claims(seen)
        elif decision is KeeperDecision.RELAY_ATTESTATIONS:
            yield from self._attestations(seen)
        yield from self._distributions(seen)
        if self._idle and (call := self._idle.block_needed(seen)):
            yield Duty(call)

    # ------------------------------------------------------------------ messages

    def _commits(self, seen: Observation) -> Iterator[Duty]:
        commits = self._waiting(seen, self._COMMIT, COMMIT_GAS)
        missing = seen.current.commit_quota - seen.current.commits - len(commits)
        if commits and self._leaves(seen, missing, given_up_at(seen, seen.current.commit_end)):
            commits.sort(key=lambda commit: commit.party)
            yield Duty(self._commit_call(commits), commits)

    def _reveals(self, seen: Observation) -> Iterator[Duty]:
        reveals = self._waiting(seen, self._REVEAL, REVEAL_GAS)
        missing = seen.current.commits - seen.current.opened - len(reveals)
        if reveals and self._leaves(seen, missing, given_up_at(seen, seen.current.reveal_end)):
            reveals.sort(key=lambda update: update.party)
            yield Duty(self._reveal_call(seen, reveals), reveals)

    def _waiting(self, seen: Observation, kind: type[Any], gas_each: int) -> list[Any]:
        return self._mailbox.waiting(seen.current.round, kind)[: self._batch(gas_each)]

    def _claims(self, _seen: Observation) -> Iterator[Duty]:
        """Claims, which only a private federation has."""
        yield from ()

    def _commit_call(self, commits: Sequence[Any]) -> Call:
        return self._federation.commit_for(commits)

    def _reveal_call(self, _seen: Observation, updates: Sequence[Any]) -> Call:
        return self._federation.reveal(updates)

    def _attest_call(self, signed: Sequence[Any]) -> Call:
        return self._federation.attest(signed[0].result, [s.signature for s in signed])

    def _attestations(self, seen: Observation) -> Iterator[Duty]:
        waiting = self._posted_results(seen)
        midway = (self._attest_start(seen) + seen.current.attest_end) // 2
        for result, signed in sorted(waiting.items(), key=lambda item: -len(item[1])):
            missing = 0 if self._makes_quorum(seen, result, signed) else 1
            if missing and self._shares.used_up(result, signed):
                continue
            if self._leaves(seen, missing, given_up_at=midway):
                yield self._attest(result, signed)

    def _attest_start(self, seen: Observation) -> int:
        """The time at which the attest phase began."""
        return seen.current.reveal_end

    def _late_attestations(self, seen: Observation) -> Iterator[Duty]:
        """Signatures that came after acceptance: their signers are paid too."""
        if seen.current.phase is not Phase.ATTEST:
            for result, signed in self._posted_results(seen).items():
                yield self._attest(result, signed)

    def _posted_results(self, seen: Observation) -> dict[Any, list[Any]]:
        posted: dict[Any, list[Any]] = {}
        for signed in self._mailbox.waiting(seen.current.round, self._ATTESTATION):
            posted.setdefault(signed.result, []).append(signed)
        return posted

    def _attest(self, result: Any, signed: Sequence[Any]) -> Duty:
        signed = signed[: self._batch(SIGNATURE_GAS)]
        return Duty(self._attest_call(signed), signed, result)

    def _batch(self, gas_each: int) -> int:
        return min(MAX_BATCH, batch_size(self._sender, gas_each))

    def _makes_quorum(self, seen: Observation, result: Any, signed: Sequence[Any]) -> bool:
        """Whether a result is accepted with these signatures: more than 2/3 of the frozen stake."""
        counted = self._federation.attestation(self._federation.digest_of(result))
        stake = counted.stake
        for signer in self._shares.signers(result, signed):
            view = self._federation.observe(signer).aggregator
            new = not counted.signers >> view.seat & 1
            stake += new * min(view.frozen_stake, view.stake)
        return 3 * stake > 2 * seen.current.aggregator_stake

    def _leaves(self, seen: Observation, missing: int, given_up_at: int) -> bool:
        """Whether to send a batch: no message is missing, or it has waited as long as it may."""
        now, current = seen.timestamp, seen.current
        gathering = self._gathering
        if gathering is None or (gathering.round, gathering.phase) != (
            current.round,
            current.phase,
        ):
            leaves_at = now + max(0, int((given_up_at - now) * _GATHERING_SHARE))
            gathering = self._gathering = _Gathering(current.round, current.phase, leaves_at)
        return missing <= 0 or now >= gathering.leaves_at

    # ------------------------------------------------------------------ rewards

    def _distributions(self, seen: Observation) -> Iterator[Duty]:
        for height in range(self._distributed + 1, seen.final_height + 1):
            if not self._federation.distributed(height):
                round_number = self._federation.model(height).round
                accepted = self._rounds.accepted(round_number, seen.block_number)
                yield Duty(self._federation.distribute(accepted.result, accepted.updates))
            self._distributed = height


def given_up_at(seen: Observation, phase_end: int) -> int:
    """The chain's time at which a party that posts now would send the message itself."""
    return seen.timestamp + int((phase_end - seen.timestamp) * RELAY_SHARE)
