"""The aggregator: fetches the updates, computes the next global model and signs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from fl_orchestrator.aggregation.rules import load_kernels
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import Observation, Phase, included_indices
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.digests import Result, result_digest
from fl_orchestrator.model.protocol import MAX_UPDATES
from fl_orchestrator.model.vector_file import VectorFileError
from fl_orchestrator.roles.aggregator.beside import BesideAnswers
from fl_orchestrator.roles.aggregator.posting import Posted
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.base import NEVER, NEW_EVENTS, NEW_REVEALS, Step, Wait, at, in_phase
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.numbers import SaturationAlert
from fl_orchestrator.roles.relay import MAX_RESULTS, RelayFailed
from fl_orchestrator.roles.updates import (
    FETCH_SECONDS,
    RETRY_SHARE,
    StillFetching,
    UpdateFetches,
    check_reveals,
    plain_updates,
    worth_considering,
)
from fl_orchestrator.roles.vectors import RootMismatch, VectorFile

_log = get_logger(__name__)

# In the second half of the attest phase, results that others proposed are considered too.
_OWN_RESULT_SHARE: Final = 0.5
# For this share of the phase, wait for updates that are being fetched. Then attest to those that
# have arrived; the others count if they arrive in time.
_FETCH_SHARE: Final = 0.25
#: Updates of at least so many parameters are fetched as soon as they are revealed, so that few are
#: left when the last one is. Smaller ones are here in a moment, and looking for them has its price.
AHEAD_PARAMETERS: Final = 1_000_000
# This many proposed results, those with the most stake, are computed in any case.
_SURE: Final = 4


class AggregatorDecision(Enum):
    """The next action of an aggregator, decided from the chain alone."""

    ATTEST = auto()
    NOTHING = auto()


def decide(seen: Observation) -> AggregatorDecision:
    """Whether an aggregator may attest in the current round. Late signers are paid too."""
    attesting = seen.current.phase in (Phase.ATTEST, Phase.ACCEPTED)
    open_still = seen.timestamp < seen.current.attest_end
    if attesting and open_still and seen.aggregator.frozen_stake > 0:
        return AggregatorDecision.ATTEST
    return AggregatorDecision.NOTHING


@dataclass(slots=True)
class _Work:
    """The data of a round that this process has fetched and computed; a restart does it again.

    ``missing`` has the updates that are not here; they are requested again at ``retry_at``. Those
    that are being fetched are looked for in every step while ``fetching``. ``results`` has the
    expected result for each set of updates (a bitmap) that was computed, and ``considered`` the
    sets of others. While updates are being fetched, no larger own set is computed before
    ``own_at``.
    """

    round: int
    updates_hash: bytes
    missing: list[RevealedUpdate]
    retry_at: int = 0
    own_at: int = 0
    fetching: bool = False
    held: dict[int, tuple[VectorFile, RevealedUpdate]] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)
    posted: Posted = field(default_factory=Posted)
    considered: list[int] = field(default_factory=list)

    @property
    def held_set(self) -> int:
        return sum(1 << index for index in self.held)


class Aggregator:
    """One aggregator of one federation.

    With a ``responder`` it also answers demands for the models that it has signed. With a
    ``retention`` in its context, its store keeps the updates and models that it has signed for.
    """

    def __init__(
        self,
        context: Context,
        responder: Responder | None = None,
    ) -> None:
        self._responder = responder
        self._turns = BesideAnswers(lambda: self._attest_step(), responder)
        self._retention = context.retention
        self._federation = context.federation
        self._sender = context.sender
        self._store = context.store
        self._relay = context.relay
        self._origin = context.origin
        self._vectors = context.vectors()
        self._min_updates = context.federation.params().min_updates
        self._large = context.manifest.layout.parameters >= AHEAD_PARAMETERS
        self._fetches = UpdateFetches(
            plain_updates(self._vectors, self._store, self._origin),
            at_once=context.prompt and not self._large,
        )
        self._saturation = SaturationAlert(context.monitor)
        self._work: _Work | None = None
        if self._large:
            load_kernels()
        # A round, and how many of its reveals are being fetched while others are still to come.
        self._ahead = (0, 0)

    @property
    def address(self) -> str:
        return self._sender.address

    def has_attested(self, round_number: int) -> bool:
        """Whether the chain holds a signature of this aggregator for its result of a round."""
        work = self._work
        if work is None or work.round < round_number:
            return False
        seat = self._federation.observe(self.address).aggregator.seat
        return any(self._signers(result) >> seat & 1 for result in work.results.values())

    def step(self) -> Step:
        return self._turns.step()

    def _attest_step(self) -> Step:
        seen = self._federation.observe(self.address)
        if self._retention is not None:
            self._retention.release(seen)
        attesting = in_phase(Phase.ATTEST, Phase.ACCEPTED)
        if decide(seen) is AggregatorDecision.NOTHING:
            return Step(wait=attesting | self._fetch_ahead(seen))
        current, work = seen.current, self._work
        if work is None or (work.round, work.updates_hash) != (current.round, current.updates_hash):
            work = self._work = self._begin(seen)
        if work.missing and (work.fetching or seen.timestamp >= work.retry_at):
            self._fetch_missing(seen, work)
        fetch_until = _share_of_phase(seen, _FETCH_SHARE)
        if work.fetching and seen.current.phase is Phase.ATTEST and seen.timestamp < fetch_until:
            return Step(wait=attesting | at(seen.timestamp + 1))
        self._add_own_result(seen, work)
        self._consider_others(seen, work)
        midway, again = _share_of_phase(seen, _OWN_RESULT_SHARE), NEVER
        for included in self._in_order(work):
            result = work.results[included]
            relayed = self._relay is not None and seen.timestamp < midway
            if not self._is_owed(seen, result):
                # If a reorg undoes it, it is posted again at once.
                work.posted.forget(included)
                continue
            again_at = work.posted.again_at(included, seen.current.reveal_end, midway)
            if not relayed or seen.timestamp >= again_at:
                return self._attest(seen, work, result, relayed)
            again |= at(again_at)
        retry = at(work.retry_at) if work.missing else NEVER
        if work.fetching:
            retry |= at(seen.timestamp + 1)
        others = NEW_EVENTS if seen.timestamp >= midway else at(midway)
        return Step(wait=attesting | others | retry | again)

    def _fetch_ahead(self, seen: Observation) -> Wait:
        """Begin to fetch what has been revealed since the last step; what else to wait for."""
        if not self._large:
            return NEVER
        current = seen.current
        if current.phase is not Phase.REVEAL or seen.aggregator.frozen_stake == 0:
            return NEW_REVEALS
        if current.round != self._ahead[0]:
            # Round after round may end without a result: nothing is begun then that cleans up.
            self._forget_earlier(seen)
            self._ahead = (current.round, 0)
        started = self._ahead[1]
        if current.reveals > started:
            first, number = current.seed_block, current.round
            reveals = self._federation.revealed_updates(first, round_number=number)
            self._fetches.start(reveals[started:MAX_UPDATES])
            self._ahead = (current.round, len(reveals))
        return NEW_REVEALS

    def _begin(self, seen: Observation) -> _Work:
        current = seen.current
        self._forget_earlier(seen)
        self._fetches.forget_failed()
        reveals = self._federation.revealed_updates(current.seed_block, round_number=current.round)
        check_reveals(reveals, current.updates_hash)
        return _Work(current.round, current.updates_hash, reveals)

    def _forget_earlier(self, seen: Observation) -> None:
        """End the fetches of earlier rounds, and delete the files that nobody may ask for."""
        current = seen.current
        self._fetches.abandon_before(current.round)
        void = range(seen.head.round + 1, current.round)
        self._vectors.forget_rounds_before(min(current.base, self._first_disputable(seen)), void)

    def _first_disputable(self, seen: Observation) -> int:
        """The first round that is not final: whoever signed its result may have to show it."""
        height = min(seen.final_height + 1, seen.head.height)
        return self._federation.model(height).round

    def _fetch_missing(self, seen: Observation, work: _Work) -> None:
        """Fetch and check the updates that are not held yet; those that are malformed never are."""
        period = seen.current.attest_end - seen.current.reveal_end
        seconds = 0.0 if work.fetching else min(FETCH_SECONDS, period * _FETCH_SHARE)
        retry = seen.timestamp >= work.retry_at
        asked = work.missing if retry else [r for r in work.missing if self._fetches.has(r)]
        files = self._fetches.fetch(asked, seconds)
        left = [reveal for reveal in work.missing if reveal not in asked]
        work.fetching = False
        for reveal, file in zip(asked, files, strict=True):
            if isinstance(file, VectorFile):
                work.held[reveal.index] = (file, reveal)
            elif isinstance(file, StillFetching):
                work.fetching = True
                left.append(reveal)
            else:
                details = {"party": reveal.party, "round": reveal.round, "reason": str(file)}
                _log.warning("excluded", **details)
                if not isinstance(file, VectorFileError | RootMismatch):
                    left.append(reveal)
        work.missing = sorted(left, key=lambda reveal: reveal.index)
        if retry:
            work.retry_at = seen.timestamp + max(1, int(period * RETRY_SHARE))
        if len(work.held) < self._min_updates and not work.fetching:
            _log.error("too few updates", round=work.round, held=len(work.held))

    def _consider_others(self, seen: Observation, work: _Work) -> None:
        """Compute the results for sets of updates that others proposed and this process holds.

        Some aggregators may lack an update: late in the phase, a smaller set that a quorum holds is
        better than no result. An accepted result is worth signing at any time.
        """
        midway = _share_of_phase(seen, _OWN_RESULT_SHARE)
        if seen.current.phase is Phase.ATTEST and seen.timestamp < midway:
            return
        proposals = self._federation.proposed_results(
            seen.current.seed_block, round_number=work.round
        )
        signed = {digest: self._federation.attestation(digest) for digest in proposals}
        chosen = worth_considering(signed)
        work.considered = [proposals[digest].included & work.held_set for digest in chosen]
        for rank, included in enumerate(work.considered):
            if rank < _SURE or len(work.results) < MAX_RESULTS:
                self._add_result(seen, work, included)

    def _in_order(self, work: _Work) -> list[int]:
        """The sets that were computed: those with the most stake behind them first."""
        computed = (*work.considered, *work.results)
        return [included for included in dict.fromkeys(computed) if included in work.results]

    def _add_own_result(self, seen: Observation, work: _Work) -> None:
        """Aggregate all that is held here: others cannot fill the room that there is for it."""
        if work.held_set in work.results or (work.fetching and seen.timestamp < work.own_at):
            return
        period = seen.current.attest_end - seen.current.reveal_end
        work.own_at = seen.timestamp + max(1, int(period * RETRY_SHARE))
        self._add_result(seen, work, work.held_set)

    def _add_result(self, seen: Observation, work: _Work, included: int) -> None:
        """Aggregate a set of held updates, unless it is too small or computed already."""
        if included.bit_count() >= self._min_updates and included not in work.results:
            work.results[included] = self._compute(seen, work, included)

    def _compute(self, seen: Observation, work: _Work, included: int) -> Result:
        current = seen.current
        held = [work.held[index] for index in included_indices(included)]
        updates = [(update, reveal.weight) for update, reveal in held]
        file = self._vectors.aggregate(self._base(seen), updates, self._origin.state(current.round))
        self._saturation.look(current.round, file.saturated)
        return Result(
            current.round, current.updates_hash, current.base_root, included, file.root, file.cid
        )

    def _base(self, seen: Observation) -> VectorFile:
        base = seen.current.base_model()
        return self._vectors.fetch(self._store, *base, self._origin.state(seen.current.base))

    def _inputs(
        self, seen: Observation, work: _Work, result: Result
    ) -> list[tuple[Cid, VectorFile]]:
        """What a result was computed from."""
        held = [work.held[index] for index in included_indices(result.included)]
        updates = [(reveal.cid, update) for update, reveal in held]
        return [(seen.current.base_model()[0], self._base(seen)), *updates]

    def _is_owed(self, seen: Observation, result: Result) -> bool:
        """Whether this aggregator's signature for a result is missing and would still count."""
        attestation = self._federation.attestation(self._digest(result))
        if seen.current.phase is Phase.ACCEPTED and not attestation.accepted:
            return False
        return not attestation.signers >> seen.aggregator.seat & 1

    def _signers(self, result: Result) -> int:
        return self._federation.attestation(self._digest(result)).signers

    def _digest(self, result: Result) -> bytes:
        return result_digest(self._origin.chain_id, self._origin.federation, result)

    def _attest(self, seen: Observation, work: _Work, result: Result, relayed: bool) -> Step:
        file = self._vectors.fetch(
            self._store, result.global_cid, result.global_root, self._origin.state(result.round)
        )
        self._store.put_file(file.path)
        if self._retention is not None:
            self._retention.keep([*self._inputs(seen, work, result), (result.global_cid, file)])
        signature = self._federation.sign_result(self._sender.signer, result)
        if relayed and self._relay is not None:
            try:
                self._relay.post_attestation(result, signature)
            except RelayFailed as error:
                _log.warning("relay failed", aggregator=self.address, reason=str(error))
            else:
                work.posted.note(result.included, seen.timestamp)
                return Step("post attestation")
        self._sender.send(self._federation.attest(result, [signature]))
        return Step("attest")


def _share_of_phase(seen: Observation, share: float) -> int:
    """The time at which this share of the attest phase is over."""
    start, end = seen.current.reveal_end, seen.current.attest_end
    return start + int((end - start) * share)
