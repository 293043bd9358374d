"""How masked updates and opened seeds make the model of a result (docs/protocol.md, section 12.7).

The seeds are in the event of the result's first attestation, so this needs no aggregator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.event_types import MaskedReveal, RevealedUpdate
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.dispute_proof import ChunkProof, prove_chunk
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import MASKED_CHUNK_VALUES
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.privacy.context import ContextError
from fl_orchestrator.privacy.opening import Opening, OpeningError, seeds_hash
from fl_orchestrator.privacy.seal import masked_root, seal_bytes
from fl_orchestrator.privacy.sets import SeatsError
from fl_orchestrator.roles.combination.interface import Combined, Evidence, Updates
from fl_orchestrator.roles.masked.files import LimitedSteps, MaskedFile, MaskedFiles
from fl_orchestrator.roles.masked.rounds import MaskedRound, MaskedRounds
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile, require_root


class MaskedCombination:
    """The sum of masked updates, less the masks of the seeds that were opened."""

    def __init__(
        self,
        federation: PrivateFederation,
        index: PrivateRoundIndex,
        vectors: VectorCache,
        store: ContentStore,
        manifest: Manifest,
        origin: Origin,
    ) -> None:
        self._federation = federation
        self._index = index
        self._store = store
        self._origin = origin
        self._layout = manifest.layout
        self._files = MaskedFiles(vectors, manifest, origin)
        self._rounds = MaskedRounds(federation, index)
        # Read by the thread of the caller, for the threads that fetch.
        self._prepared: dict[int, MaskedRound] = {}

    def prepare(self, result: Any) -> None:
        self._prepared[result.round] = self._round(result)

    def fetch(self, reveal: RevealedUpdate, stop: Callable[[], bool]) -> VectorFile:
        seen = self._prepared[reveal.round]
        return self._files.fetch(self._store, seen, _masked(reveal), stop)

    def combine(self, result: Any, base: VectorFile, updates: Updates) -> Combined:
        seen, seeds = self._round(result), self._seeds(result)
        opening = self._opening(seen, result.included, seeds)
        held = self._with_seals(seen, updates)
        seals = {masked.reveal.commit: masked.seal for masked in held.values()}
        wrong = opening.wrong_seeds(seeds, seals)
        step_limit = self._federation.private_params().step_limit
        limited, meta = LimitedSteps(step_limit), self._origin.state(result.round)
        file = self._files.combine(
            seen, base, result.included, held, seeds, step_limit, meta, limited.watch
        )
        return Combined(file, wrong[0] if wrong else None, limited.are_most)

    def challenge(self, evidence: Evidence, coordinate: int, models: Sequence[ChunkProof]) -> Call:
        seen, seeds = self._round(evidence.result), self._seeds(evidence.result)
        proofs = [proof.packed() for proof in models]
        # The updates end where the padding begins.
        if coordinate < self._federation.private_params().parameters:
            held = self._with_seals(seen, evidence.updates).values()
            proofs = [*(self._leaf(seen, masked, coordinate) for masked in held), *proofs]
        return self._federation.challenge_private(
            evidence.result, evidence.reveals, coordinate, seeds, b"".join(proofs), evidence.salt
        )

    def challenge_seed(self, evidence: Evidence, number: int) -> Call:
        result = evidence.result
        seen, seeds = self._round(result), self._seeds(result)
        opening = self._opening(seen, result.included, seeds)
        k, _ = list(opening.labels())[number]
        held = self._with_seals(seen, evidence.updates).values()
        masked = next(masked for masked in held if masked.reveal.commit == k)
        return self._federation.challenge_seed(
            result,
            evidence.reveals,
            seeds,
            number,
            masked.seal.head,
            keccak256(masked.seal.body),
            self._proof(seen, masked, 0).root,
            evidence.salt,
        )

    # ------------------------------------------------------------------ what events say

    def _round(self, result: Any) -> MaskedRound:
        """The round of a result. Raises MissingEvents and UntrueEvents."""
        if not self._index.commits(result.round):
            raise MissingEvents(
                f"The node has no commits of round {result.round}, which has a result.",
                "Use an RPC endpoint that keeps all logs.",
            )
        try:
            return self._rounds.read(result.round, result.base_root)
        except (ContextError, SeatsError) as error:
            raise UntrueEvents(f"round {result.round} cannot have been so: {error}") from error

    def _seeds(self, result: Any) -> bytes:
        """The seeds that were opened for a result. Raises MissingEvents and UntrueEvents."""
        seeds = self._index.seeds(self._federation.digest_of(result))
        if seeds is None:
            raise MissingEvents(
                f"The node has no seeds of a result of round {result.round}, which it listed.",
                "Use an RPC endpoint that keeps all logs.",
            )
        if seeds_hash(seeds) != result.seeds_hash:
            raise UntrueEvents(f"the seeds of a result of round {result.round} are others")
        return seeds

    def _opening(self, seen: MaskedRound, included: int, seeds: bytes) -> Opening:
        """What a result opens. The contract has checked the number of the seeds."""
        try:
            opening = self._files.opening(seen, included)
            opening.masks(seeds)
        except OpeningError as error:
            raise UntrueEvents(
                f"the commits or reveals of round {seen.number} are not all: {error}"
            ) from error
        return opening

    # ------------------------------------------------------------------ files

    def _with_seals(self, seen: MaskedRound, updates: Updates) -> dict[int, MaskedFile]:
        """The files with their seals, by place and in the order of places."""
        return {
            reveal.index: self._files.with_seal(seen, _masked(reveal), file)
            for file, reveal in updates
        }

    def _leaf(self, seen: MaskedRound, masked: MaskedFile, coordinate: int) -> bytes:
        proof = self._proof(seen, masked, coordinate // MASKED_CHUNK_VALUES)
        return proof.packed() + masked.seal.digest()

    def _proof(self, seen: MaskedRound, masked: MaskedFile, index: int) -> ChunkProof:
        """The proof of a leaf against the root of the values."""
        size, file = seal_bytes(seen.context), masked.file
        with file.path.open("rb") as stream:
            proof = prove_chunk(stream, self._layout, file.meta, index, size)
        require_root(file, masked_root(proof.root, masked.seal.digest()))
        return proof


def _masked(reveal: RevealedUpdate) -> MaskedReveal:
    if not isinstance(reveal, MaskedReveal):
        raise TypeError("only a private federation has masked updates")
    return reveal
