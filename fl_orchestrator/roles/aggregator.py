"""The aggregator: fetches the updates, computes the next global model and signs it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

import structlog

from fl_orchestrator.chain.federation import Federation
from fl_orchestrator.chain.send import Sender
from fl_orchestrator.chain.types import (
    Observation,
    Phase,
    Result,
    RevealedUpdate,
    included_indices,
)
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import ContentError, VerificationError
from fl_orchestrator.model.digests import ZERO_HASH, result_digest, updates_hash
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.base import Step
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile

_log = structlog.get_logger(__name__)

_PARALLEL_FETCHES: Final = 8
# In the second half of the attest phase, what others proposed counts as much as one's own result.
_OWN_RESULT_SHARE: Final = 0.5


class InconsistentEvents(VerificationError):
    """The reveals that the node reports are not those that the contract counted."""


class Decision(Enum):
    """What there is to do for an aggregator, from the chain alone."""

    ATTEST = auto()
    NOTHING = auto()


def decide(seen: Observation) -> Decision:
    """Whether an aggregator may attest in the current round. Late signers are paid too."""
    attesting = seen.current.phase in (Phase.ATTEST, Phase.ACCEPTED)
    open_still = seen.timestamp < seen.current.attest_end
    if attesting and open_still and seen.aggregator.frozen_stake > 0:
        return Decision.ATTEST
    return Decision.NOTHING


@dataclass(slots=True)
class _Work:
    """What this process has computed of a round; another process computes it again."""

    round: int
    updates_hash: bytes
    held: dict[int, tuple[VectorFile, int]]
    results: dict[bytes, Result]
    rejected: set[bytes]
    posted: set[bytes]


class Aggregator:
    """One aggregator of one federation; ``home`` is its directory."""

    phases = frozenset({Phase.ATTEST, Phase.ACCEPTED})

    def __init__(
        self,
        federation: Federation,
        sender: Sender,
        store: ContentStore,
        manifest: Manifest,
        home: Path,
        relay: Relay | None = None,
    ) -> None:
        self._federation = federation
        self._sender = sender
        self._store = store
        self._manifest = manifest
        self._relay = relay
        self._origin = Origin(federation.chain_id, federation.address)
        self._vectors = VectorCache(home / "vectors", manifest)
        self._min_updates = federation.params().min_updates
        self._work: _Work | None = None

    @property
    def address(self) -> str:
        return self._sender.address

    def has_attested(self, round_number: int) -> bool:
        """Whether the chain holds a signature of this aggregator for its result of a round."""
        work = self._work
        if work is None or work.round < round_number:
            return False
        seat = self._federation.observe(self.address).aggregator.seat
        return any(
            self._federation.attestation(digest).signers >> seat & 1 for digest in work.results
        )

    def step(self) -> Step:
        seen = self._federation.observe(self.address)
        if decide(seen) is Decision.NOTHING:
            return Step()
        work = self._work
        if work is None or (work.round, work.updates_hash) != (
            seen.current.round,
            seen.current.updates_hash,
        ):
            work = self._work = self._begin(seen)
        self._consider_others(seen, work)
        for digest, result in work.results.items():
            if self._is_owed(seen, digest):
                return self._attest(seen, work, digest, result)
        return Step(wake_at=self._midway(seen))

    def _is_owed(self, seen: Observation, digest: bytes) -> bool:
        """Whether this aggregator's signature for a result is missing and would still count."""
        attestation = self._federation.attestation(digest)
        if seen.current.phase is Phase.ACCEPTED and not attestation.accepted:
            return False
        return not attestation.signers >> seen.aggregator.seat & 1

    def _begin(self, seen: Observation) -> _Work:
        """Fetch and check every update of the round, and aggregate all that could be had."""
        current = seen.current
        self._vectors.forget_rounds_before(current.base)
        reveals = self._federation.revealed_updates(current.seed_block, round_number=current.round)
        check_reveals(reveals, current.updates_hash)
        with ThreadPoolExecutor(_PARALLEL_FETCHES) as pool:
            files = list(pool.map(self._fetch, reveals))
        held = {
            reveal.index: (file, reveal.weight)
            for reveal, file in zip(reveals, files, strict=True)
            if file is not None
        }
        work = _Work(current.round, current.updates_hash, held, {}, set(), set())
        if len(held) >= self._min_updates:
            included = sum(1 << index for index in held)
            result = self._compute(seen, work, included)
            work.results[self._digest(result)] = result
        else:
            _log.error("too few updates", round=current.round, held=len(held))
        return work

    def _fetch(self, reveal: RevealedUpdate) -> VectorFile | None:
        try:
            return self._vectors.fetch(
                self._store, reveal.cid, reveal.root, self._origin.update(reveal.round)
            )
        except (ContentError, VerificationError) as error:
            _log.warning("excluded", party=reveal.party, round=reveal.round, reason=str(error))
            return None

    def _compute(self, seen: Observation, work: _Work, included: int) -> Result:
        current = seen.current
        base = self._vectors.fetch(
            self._store, *current.base_model(), self._origin.state(current.base)
        )
        updates = [work.held[index] for index in included_indices(included)]
        file = self._vectors.aggregate(base, updates, self._origin.state(current.round))
        with file.path.open("rb") as stream:
            cid = cid_of(stream)
        return Result(
            current.round, current.updates_hash, current.base_root, included, file.root, cid
        )

    def _consider_others(self, seen: Observation, work: _Work) -> None:
        """Add the proposals of others that this aggregator holds the updates of and that are right.

        Some aggregators may not have got every update: late in the phase a smaller set that a
        quorum holds is better than none.
        """
        if seen.current.phase is not Phase.ATTEST or seen.timestamp < self._midway(seen):
            return
        proposals = self._federation.proposed_results(
            seen.current.seed_block, round_number=seen.current.round
        )
        for digest, proposal in proposals.items():
            if digest in work.results or digest in work.rejected:
                continue
            held = all(index in work.held for index in included_indices(proposal.included))
            if held and self._compute(seen, work, proposal.included) == proposal:
                work.results[digest] = proposal
            else:
                work.rejected.add(digest)

    def _midway(self, seen: Observation) -> int:
        start, end = seen.current.reveal_end, seen.current.attest_end
        return start + int((end - start) * _OWN_RESULT_SHARE)

    def _digest(self, result: Result) -> bytes:
        return result_digest(self._origin.chain_id, self._origin.federation, result)

    def _attest(self, seen: Observation, work: _Work, digest: bytes, result: Result) -> Step:
        file = self._vectors.fetch(
            self._store, result.global_cid, result.global_root, self._origin.state(result.round)
        )
        with file.path.open("rb") as stream:
            self._store.put(stream)
        signature = self._federation.sign_result(self._sender.signer, result)
        if self._relay is not None and digest not in work.posted:
            work.posted.add(digest)
            self._relay.post_attestation(result, signature)
            return Step("post attestation", self._midway(seen))
        if self._relay is not None and seen.timestamp < self._midway(seen):
            return Step(wake_at=self._midway(seen))
        self._sender.send(self._federation.attest(result, [signature]))
        return Step("attest")


def check_reveals(reveals: Sequence[RevealedUpdate], expected: bytes) -> None:
    """Refuse a list of reveals whose rolling hash is not the contract's."""
    rolling = ZERO_HASH
    for reveal in reveals:
        rolling = updates_hash(rolling, reveal.party, reveal.weight, reveal.root)
    if rolling != expected:
        raise InconsistentEvents(
            "The node's list of reveals does not have the contract's hash.",
            "The node is out of step or lies: use another RPC endpoint.",
        )
