"""The watcher: computes every result again, proves the wrong ones, and makes their signers pay.

Anyone can be one, and one honest one is enough: docs/protocol.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.budget import BudgetExceeded
from fl_orchestrator.chain.sending.fees import FeeTooHigh
from fl_orchestrator.chain.sending.send import InsufficientFunds, Receipt
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.attempt import attempt
from fl_orchestrator.roles.base import NEW_EVENTS, Step, at
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.recomputation import (
    STEP_SECONDS,
    ExpectedModel,
    Recomputation,
    UnavailableBase,
    UnavailableUpdates,
)
from fl_orchestrator.roles.settlement import Bonds, Slashes, have_stake
from fl_orchestrator.roles.updates import InconsistentEvents, worth_considering
from fl_orchestrator.roles.watcher.alerts import KIND_OF_ERROR, Alert, Alerts
from fl_orchestrator.roles.watcher.cases import Case, State
from fl_orchestrator.roles.watcher.descent import BondTooHigh, Descents, TooLate
from fl_orchestrator.roles.watcher.prosecution import (
    NOT_NOW,
    Prosecution,
    Unprovable,
    kept_secret,
)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """A watcher's own choices.

    ``max_bond``, in wei, is what one demand may cost; None is what the account holds, less the gas
    for a proof. What cannot be had is asked for again every ``retry_seconds`` of the chain's time,
    and an alert after so many ``attempts``. Without a ``secret`` it draws one.
    """

    max_bond: int | None = None
    retry_seconds: int = 30
    attempts: int = 3
    secret: bytes | None = None


class Watcher:
    """A watcher of one federation. Except for its secret, it keeps nothing that it could not read
    or compute again; with a ``retention`` in its context, its store keeps what it has checked.
    """

    def __init__(
        self,
        context: Context,
        settings: WatcherSettings | None = None,
    ) -> None:
        self._context = context
        self._federation = context.federation
        self._sender = context.sender
        self._deployed_at = context.deployed_at
        self._settings = settings or WatcherSettings()
        self._secret = self._settings.secret or kept_secret(context.home / "private")
        self._alerts = Alerts(context.federation, context.deployed_at, context.monitor)
        self._misread = 0
        self._begin(context.round_index())

    def _begin(self, rounds: RoundIndex) -> None:
        """Reset all state that was derived from the node's answers."""
        federation, address, settings = self._federation, self.address, self._settings
        self._rounds = rounds
        self._recomputation = Recomputation(self._context, self._rounds, STEP_SECONDS)
        self._descents = Descents(federation, self._rounds, address, settings.max_bond)
        self._prosecution = Prosecution(
            federation,
            self._rounds,
            self._recomputation,
            self._descents,
            address,
            self._secret,
        )
        self._slashes = Slashes(federation, self._rounds, address, self._deployed_at)
        self._bonds = Bonds(federation, self._rounds, address)
        self._cases: dict[bytes, Case] = {}
        self._complete_to = 0
        self._busy = True

    @property
    def address(self) -> str:
        return self._sender.address

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The alerts that need a person's attention."""
        return self._alerts.all()

    @property
    def unchecked_rounds(self) -> tuple[int, ...]:
        """Rounds of the history that nobody can compute any more: their data was pruned."""
        cases = (case for case in self._cases.values() if case.state is State.PRUNED)
        return tuple(sorted(case.result.round for case in cases if self._stands(case)))

    @property
    def busy(self) -> bool:
        """Whether the last step has left something to check, to prove or to collect."""
        return self._busy

    def step(self) -> Step:
        seen = self._federation.observe(self.address)
        wake_ats: list[int] = []
        self._recomputation.release(seen)
        try:
            self._search(seen)
            self._look()
            step = self._act(seen, wake_ats)
        except (InconsistentEvents, MissingEvents, UntrueEvents) as error:
            self._misread += 1
            if self._misread == self._settings.attempts:
                raise
            _log.warning("reading the chain anew", reason=error.message)
            self._begin(self._context.round_index())
            return Step(wait=NEW_EVENTS | at(seen.timestamp + self._settings.retry_seconds))
        self._misread = 0
        self._busy = step is not None or any(self._is_pending(c) for c in self._cases.values())
        return step or Step(wait=NEW_EVENTS | at(*wake_ats))

    def _search(self, seen: Observation) -> None:
        """Read new blocks; start from the beginning if a reorg has replaced blocks already read.

        Raises MissingEvents when a round of the history would go unchecked.
        """
        if self._rounds.search_to(seen.block_number):
            _log.warning("reorganised", block=seen.block_number)
            self._begin(self._rounds)
        self._complete_to = min(self._complete_to, seen.head.height)
        for height in range(self._complete_to + 1, seen.head.height + 1):
            self._rounds.accepted(self._federation.model(height).round, seen.block_number)
            self._complete_to = height

    def _look(self) -> None:
        """Take in the results that are new, and what is known of them already."""
        for digest, result in self._rounds.results.items():
            case = self._cases.setdefault(digest, Case(digest, result))
            if case.state is not State.UNCHECKED:
                continue
            if digest in self._rounds.frauds:
                self._close(case)
            elif known := self._recomputation.known(result):
                self._conclude(case, known)

    def _act(self, seen: Observation, wake_ats: list[int]) -> Step | None:
        """Do the first thing that is due: what has a deadline comes first."""
        try:
            urgent = self._prosecute(seen, wake_ats)
        except (InsufficientFunds, BudgetExceeded, FeeTooHigh):
            # A check costs no gas, and raises alerts.
            if checked := self._check_one(seen, wake_ats):
                return checked
            raise
        step = urgent or self._check_one(seen, wake_ats) or self._send_one(self._refunds(seen))
        return step or self._send_one(self._rewards(seen))

    def _prosecute(self, seen: Observation, wake_ats: list[int]) -> Step | None:
        wrong = [case for case in self._cases.values() if case.state is State.WRONG]
        standing = {case.digest for case in wrong if self._stands(case)}
        return (
            self._expire_one(seen, [c for c in wrong if c.digest in standing], wake_ats)
            or self._prove_one(seen, (c for c in wrong if c.digest in standing), wake_ats)
            or self._send_one(self._slashes.due(seen, wake_ats))
            or self._prove_one(seen, (c for c in wrong if c.digest not in standing), wake_ats)
        )

    def _send_one(self, calls: Iterable[Call]) -> Step | None:
        """Send the first of these calls that the contract takes."""
        for call in calls:
            if attempt(self._sender, call, NOT_NOW):
                return Step(call.label)
        return None

    def _send_together(self, calls: Sequence[Call]) -> bool:
        """Send these calls together; return whether one of them was mined.

        If the contract refuses a call, another account has sent it before.
        """
        outcomes = self._sender.send_together(calls) if calls else []
        return any(isinstance(outcome, Receipt) for outcome in outcomes)

    def _refunds(self, seen: Observation) -> Iterator[Call]:
        """Calls that credit bonds to the account."""
        due = self._bonds.due(lambda: self._federation.model(seen.final_height).round)
        return (call for _, call in due)

    def _rewards(self, seen: Observation) -> Iterator[Call]:
        """Calls that pay out the account's earnings from disputes, but not those of other roles."""
        challenged = any(f.challenger == self.address for f in self._rounds.frauds.values())
        if seen.credit and (challenged or self._bonds.own()):
            yield self._federation.withdraw_rewards(self.address)

    # ------------------------------------------------------------------ checking

    def _check_one(self, seen: Observation, wake_ats: list[int]) -> Step | None:
        """Compute the next result again."""
        unchecked = [c for c in self._cases.values() if c.state is State.UNCHECKED]
        if not unchecked:
            return None
        final = self._federation.model(seen.final_height).round
        # Results that can still be disputed come first.
        for case in sorted(unchecked, key=lambda c: (c.result.round <= final, c.result.round)):
            if self._check(seen, case, wake_ats):
                return Step("check")
        return None

    def _check(self, seen: Observation, case: Case, wake_ats: list[int]) -> bool:
        """Whether the result was computed."""
        if seen.timestamp < case.retry_at:
            wake_ats.append(case.retry_at)
            return False
        if self._may_still_win(seen, case):
            return False
        if not self._matters(seen, case):
            self._close(case)
            return False
        try:
            right = self._recomputation.compute(case.result)
        except (UnavailableUpdates, UnavailableBase) as error:
            self._postpone(seen, case, error, wake_ats)
            return False
        self._conclude(case, right)
        self._forget_files(case)
        return True

    def _is_accepted(self, case: Case) -> bool:
        """Whether it was accepted in its round, which may be revoked since."""
        return self._rounds.accepted_digests.get(case.result.round) == case.digest

    def _stands(self, case: Case) -> bool:
        """Whether it is part of the history."""
        return self._is_accepted(case) and self._federation.window(case.result.round).canonical

    def _may_still_win(self, seen: Observation, case: Case) -> bool:
        """Whether it is one of the results that the current round chooses among."""
        moment = (seen.current.round, seen.current.phase)
        return moment == (case.result.round, Phase.ATTEST)

    def _matters(self, seen: Observation, case: Case) -> bool:
        """Whether the result is part of the history, or its signers can still be slashed."""
        if self._stands(case):
            return True
        if seen.timestamp >= self._federation.window(case.result.round).window_end:
            return False
        proposed = self._rounds.proposed(case.result.round)
        signed = {digest: self._federation.attestation(digest) for digest in proposed}
        return case.digest in worth_considering(signed)

    def _has_stake(self, case: Case) -> bool:
        """Whether a signer has something left to lose."""
        return have_stake(self._federation, self._deployed_at, case.result.round, case.digest)

    def _close(self, case: Case) -> None:
        case.state = State.DONE
        self._alerts.clear(case.digest)

    def _conclude(self, case: Case, right: ExpectedModel) -> None:
        result = case.result
        self._close(case)
        if not right.is_of(result):
            _log.error("wrong result", round=result.round, digest=case.digest.hex())
            case.state, case.attempts, case.retry_at = State.WRONG, 0, 0
            return
        if self._is_accepted(case):
            reveals = self._rounds.updates(result.round)
            self._alerts.accepted(case.digest, result, right, reveals)

    def _forget_files(self, checked: Case) -> None:
        """Delete the files that no later round and no pending proof needs."""
        pending = [c for c in self._cases.values() if self._is_begun(c)]
        needed = [self._recomputation.base_round(c.result) for c in (checked, *pending)]
        self._recomputation.forget_rounds_before(min(needed))

    # ------------------------------------------------------------------ proving

    def _expire_one(
        self, seen: Observation, standing: Iterable[Case], wake_ats: list[int]
    ) -> Step | None:
        """Convict a wrong result by a demand of its round that nobody answered, whoever made it.

        This takes no file and no bond, so it comes before everything else that proves a result, and
        waits for no attempt that failed.
        """
        for case in sorted(standing, key=lambda c: c.result.round):
            if case.digest in self._rounds.frauds:
                continue
            if sent := self._send_one(self._descents.overdue(seen, case.result, wake_ats)):
                self._slashes.take_over(case.digest)
                return sent
        return None

    def _prove_one(
        self, seen: Observation, wrong: Iterable[Case], wake_ats: list[int]
    ) -> Step | None:
        for case in sorted(wrong, key=lambda c: c.result.round):
            if case.digest in self._rounds.frauds:
                self._close(case)
            elif seen.timestamp < case.retry_at:
                wake_ats.append(case.retry_at)
            elif not (self._stands(case) or self._has_stake(case)):
                self._close(case)
            elif sent := self._prove(seen, case, wake_ats):
                return sent
        return None

    def _prove(self, seen: Observation, case: Case, wake_ats: list[int]) -> Step | None:
        try:
            call = self._prosecution.next(seen, case.digest, case.result, wake_ats)
            case.attempts = case.retry_at = 0
            self._alerts.clear(case.digest)
            return None if call is None else self._send_one([call])
        except BondTooHigh as error:
            if self._send_together(error.closable):
                return Step(error.closable[0].label)
            self._postpone(seen, case, error, wake_ats)
        except (UnavailableUpdates, UnavailableBase) as error:
            self._postpone(seen, case, error, wake_ats)
        except TooLate as error:
            self._close(case)
            if self._stands(case):
                self._alert(case, error)
        except Unprovable as error:
            # The cause may be a failure of this process's own store.
            if case.attempts + 1 < self._settings.attempts:
                self._postpone(seen, case, error, wake_ats)
                return None
            self._close(case)
            _log.warning("unprovable", round=case.result.round, reason=error.message)
        except ContractReverted as error:
            # The watcher computed another model, but the contract did not accept the proof.
            self._close(case)
            self._alert(case, error)
        return None

    # ------------------------------------------------------------------ what has to wait

    def _is_begun(self, case: Case) -> bool:
        begun = case.attempts > 0 or case.fetching
        return case.state is State.WRONG or (case.state is State.UNCHECKED and begun)

    def _is_pending(self, case: Case) -> bool:
        """Whether this case will be retried; after too many attempts there is an alert instead."""
        if self._is_begun(case) and case.attempts < self._settings.attempts:
            return True
        return case.state is State.WRONG and self._descents.unanswered_in(case.result.round)

    def _postpone(
        self, seen: Observation, case: Case, error: FloError, wake_ats: list[int]
    ) -> None:
        """Retry later, as long as that can help; after enough attempts raise an alert."""
        case.fetching = isinstance(error, UnavailableUpdates) and error.still_fetching
        case.retry_at = seen.timestamp + (1 if case.fetching else self._settings.retry_seconds)
        if case.fetching:
            wake_ats.append(case.retry_at)
            return
        case.attempts += 1
        _log.warning("postponed", round=case.result.round, reason=error.message)
        window = self._federation.window(case.result.round)
        over = seen.timestamp >= max(window.window_end, window.final_at)
        # Nobody has to keep what can no longer be disputed.
        let_go = over and case.state is State.UNCHECKED
        if let_go or case.attempts >= self._settings.attempts:
            if self._stands(case) and not let_go:
                self._alert(case, error)
            if over:
                case.state = State.PRUNED if let_go else State.DONE
                return
        wake_ats.append(case.retry_at)

    def _alert(self, case: Case, error: FloError) -> None:
        if isinstance(error, UnavailableUpdates):
            for reveal, reason in error.missing:
                self._alerts.unavailable(case.digest, reveal, reason)
        else:
            self._alerts.add(KIND_OF_ERROR[type(error)], case.result.round, case.digest, str(error))
