"""The watcher of a mirror: computes its results again, and has wrong ones refused.

It proves them with the code, and the proofs, that a watcher uses at home, carries each proof home,
also one that somebody else has made, and collects its bonds. docs/mirror.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.reverts import ContractReverted, RevertDecoder
from fl_orchestrator.chain.event_types import Answered, Demanded
from fl_orchestrator.chain.mirror.index import MirrorIndex
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.mirror.types import (
    ATTEMPT_BITS,
    FraudRecorded,
    MirroredModel,
    MirroredResult,
)
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Demand, Fraud, Observation, Params, Window
from fl_orchestrator.errors import ChainError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.attempt import attempt
from fl_orchestrator.roles.base import ANY_TIME, Step
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.recomputation import (
    STEP_SECONDS,
    Recomputation,
    UnavailableBase,
    UnavailableUpdates,
)
from fl_orchestrator.roles.settlement import MirrorRefunds
from fl_orchestrator.roles.updates import InconsistentEvents
from fl_orchestrator.roles.watcher.descent import BondTooHigh, Descents, TooLate
from fl_orchestrator.roles.watcher.homeward import HomeProofs, NotAtHome
from fl_orchestrator.roles.watcher.prosecution import NOT_NOW, Prosecution, Unprovable, kept_secret

if TYPE_CHECKING:
    from web3 import Web3

_log = get_logger(__name__)

_UNCHECKABLE: Final = (UnavailableUpdates, UnavailableBase, InconsistentEvents)
_UNPROVABLE: Final = (BondTooHigh, TooLate, Unprovable)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The latest block of the mirror's chain."""

    block_number: int
    timestamp: int


class _Court:
    """A mirror as `Court` and `Docket`: by the federation's rounds, whose submissions stand."""

    def __init__(self, mirror: ModelMirror) -> None:
        self._mirror = mirror
        self._standing: dict[int, MirroredResult] = {}
        self._demands: dict[int, Demanded] = {}
        self._answers: dict[int, Answered] = {}

    def look(self, standing: list[MirroredResult], events: MirrorIndex) -> None:
        """Take in which results stand, and the demands for them."""
        self._standing = {one.result.round: one for one in standing}
        rounds = {one.submission: one.result.round for one in standing}
        ours = [demand for demand in events.demands.values() if demand.round in rounds]
        self._demands = {d.id: dataclasses.replace(d, round=rounds[d.round]) for d in ours}
        self._answers = {n: answer for n, answer in events.answers.items() if n in self._demands}

    # ------------------------------------------------------------------ Docket

    @property
    def accepted_digests(self) -> Mapping[int, bytes]:
        return {number: one.digest for number, one in self._standing.items()}

    @property
    def demands(self) -> Mapping[int, Demanded]:
        return self._demands

    @property
    def answers(self) -> Mapping[int, Answered]:
        return self._answers

    # ------------------------------------------------------------------ Court

    @property
    def web3(self) -> Web3:
        return self._mirror.web3

    @property
    def reverts(self) -> RevertDecoder:
        return self._mirror.reverts

    def params(self) -> Params:
        return self._mirror.params()

    def window(self, round_number: int) -> Window:
        return self._mirror.window(self._standing[round_number].submission)

    def fraud(self, digest: bytes) -> Fraud:
        return self._mirror.fraud(digest)

    def registered_at(self, challenge: bytes) -> int:
        return self._mirror.registered_at(challenge)

    def demand_by_id(self, demand_id: int) -> Demand | None:
        return self._mirror.demand_by_id(demand_id)

    def register_challenge(self, challenge: bytes) -> Call:
        return self._mirror.register_challenge(challenge)

    def demand(self, round_number: int, level: int, index: int, value: int) -> Call:
        submission = self._standing[round_number].submission
        return self._mirror.demand(submission, level, index, value)

    def descend(self, previous: int, index: int, value: int) -> Call:
        return self._mirror.descend(previous, index, value)

    def expire(self, demand_id: int, result: Result) -> Call:
        return self._mirror.expire(demand_id, result)

    def close_descent(self, demand_id: int) -> Call:
        return self._mirror.close_descent(demand_id)


class MirrorWatcher:
    """A watcher of one mirror, with an account that has coin on the mirror's chain, and at home.

    ``context`` is of the federation at home, whose updates it needs. ``mirror_from`` is the
    mirror's block of deployment, or 0; ``max_bond`` as in `WatcherSettings`.
    """

    def __init__(
        self,
        context: Context,
        mirror: ModelMirror,
        sender: Sender,
        mirror_from: int = 0,
        max_bond: int | None = None,
    ) -> None:
        self._federation = context.federation
        self._mirror = mirror
        self._sender = sender
        self._events = MirrorIndex(mirror, mirror_from)
        self._refunds = MirrorRefunds(mirror, self._events, sender)
        self._rounds = context.round_index()
        self._recomputation = Recomputation(context, self._rounds, STEP_SECONDS)
        self._court = _Court(mirror)
        self._descents = Descents(self._court, self._court, sender.address, max_bond)
        secret = kept_secret(context.home / "private")
        self._prosecution = Prosecution(
            self._court, self._court, self._recomputation, self._descents, sender.address, secret
        )
        self._home_sender = context.sender
        self._home_proofs = HomeProofs(
            context.federation, context.deployed_at, context.address, secret
        )
        self._refused: set[bytes] = set()
        self._checked: set[int] = set()
        self._told: set[tuple[int, str]] = set()
        #: Whether the last step has left nothing to check or to prove.
        self.idle = False

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a person must know: results that are wrong, cannot be checked, or not at home."""
        return tuple(sorted(reason for _, reason in self._told))

    def step(self) -> Step:
        seen = self._federation.observe(self._sender.address)
        self._rounds.search_to(seen.block_number)
        latest = self._mirror.latest()
        block = self._mirror.block(latest.number)
        if block is None:
            return Step(wait=ANY_TIME)
        self.idle = True
        try:
            if self._events.search_to(latest.number):
                self._refunds.look_anew()
            action = self._guard(seen, _Moment(latest.number, block[1]))
        except ChainError:
            self.idle = False
            # Too little coin there, for one, is no reason to do nothing at home. Bonds may be due.
            action = self._bring_home(seen) or self._refunds.collect()
            if action is None:
                raise
        else:
            action = action or self._bring_home(seen) or self._refunds.collect()
        if action is not None:
            self.idle = False
        return Step(action, ANY_TIME)

    def _guard(self, seen: Observation, now: _Moment) -> str | None:
        """Check the next result of the mirror; return what was done."""
        standing = self._open_results()
        self._court.look(standing, self._events)
        for one in standing:
            if one.submission not in self._checked and (action := self._check(seen, now, one)):
                return action
        return None

    def _open_results(self) -> list[MirroredResult]:
        """The results of the mirror's history that are not final, the lowest first."""
        first, last = self._mirror.final_height() + 1, self._mirror.head().height
        models = [self._mirror.model(height) for height in range(first, last + 1)]
        return [self._of(model) for model in models]

    def _of(self, model: MirroredModel) -> MirroredResult:
        one = self._events.submissions.get(model.submission)
        if one is None or one.result.round != model.submission >> ATTEMPT_BITS:
            raise self._missing(model.round)
        return one

    def _missing(self, round_number: int) -> MissingEvents:
        self._events.read_anew()
        return MissingEvents(
            f"The node has no event of the mirrored result of round {round_number}.",
            "Use an RPC endpoint that keeps all logs.",
        )

    # ------------------------------------------------------------------ one result

    def _check(self, seen: Observation, now: _Moment, one: MirroredResult) -> str | None:
        """Compute a result again; return what was sent against it, if it is wrong."""
        try:
            right = self._recomputation.compute(one.result)
            if right.is_of(one.result):
                self._checked.add(one.submission)
                self._compare(seen, one)
                return "check"
            self._tell(one, f"the mirrored model of round {one.result.round} is wrong")
            return self._prove(now, one)
        except _UNCHECKABLE as error:
            reason = "the mirrored result of round {} cannot be checked: {}"
            self._tell(one, reason.format(one.result.round, error.message))
        except _UNPROVABLE as error:
            self._tell(one, f"the mirrored model of round {one.result.round}: {error.message}")
        return None

    def _prove(self, now: _Moment, one: MirroredResult) -> str | None:
        self.idle = False
        wake_ats: list[int] = []
        for call in self._descents.overdue(now, one.result, wake_ats):
            if attempt(self._sender, call, NOT_NOW):
                return call.label
        call_or_none = self._prosecution.next(now, one.digest, one.result, wake_ats)
        if call_or_none is None:
            return None
        # A challenge is made for the federation: the mirror takes the same call.
        call = dataclasses.replace(call_or_none, to=self._mirror.address)
        return call.label if attempt(self._sender, call, NOT_NOW) else None

    # ------------------------------------------------------------------ at home

    def _bring_home(self, seen: Observation) -> str | None:
        """Prove at home what is proven here, whoever did it; return what was sent."""
        for digest, fraud in self._events.frauds.items():
            if digest in self._refused:
                continue
            if (of := self._events.results.get(digest)) is None:
                raise self._missing(fraud.round)
            if sent := self._bring_one_home(seen, fraud, of):
                return sent
        return None

    def _bring_one_home(
        self, seen: Observation, fraud: FraudRecorded, of: MirroredResult
    ) -> str | None:
        wake_ats: list[int] = []
        where = f"the mirror has refused a wrong model of round {fraud.round}, which"
        try:
            call = self._home_proofs.next(seen, fraud, of, wake_ats)
            if call is not None or wake_ats:
                self.idle = False
            if call is not None and attempt(self._home_sender, call, NOT_NOW):
                return call.label
        except NotAtHome as error:
            self._tell(of, f"{where} cannot be proven at home: {error.message}")
        except ContractReverted as error:
            # The mirror took this proof, but the federation does not: a node has told an untruth.
            self._refused.add(fraud.digest)
            self._tell(of, f"{where} the federation does not take as proven: {error.message}")
        return None

    # ------------------------------------------------------------------ alerts

    def _compare(self, seen: Observation, one: MirroredResult) -> None:
        """A right result that the federation did not accept: a quorum has signed two."""
        digest = self._rounds.accepted_digests.get(one.result.round)
        if digest != one.digest and one.result.round < seen.current.round:
            self._tell(
                one,
                f"the mirrored result of round {one.result.round} is right, but is not the one "
                "that the federation accepted",
            )

    def _tell(self, one: MirroredResult, reason: str) -> None:
        if (one.submission, reason) not in self._told:
            self._told.add((one.submission, reason))
            _log.error("alert: mirror", round=one.result.round, reason=reason)
