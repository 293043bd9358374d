"""How updates in the clear make a model: by the manifest's rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.disputes.proof import ChunkProof, prove_chunk
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.roles.combination.interface import Combined, Evidence, Updates
from fl_orchestrator.roles.updates import plain_updates
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile, require_root


class PlainCombination:
    """The manifest's rule, applied to updates in the clear."""

    def __init__(
        self,
        federation: Federation,
        vectors: VectorCache,
        store: ContentStore,
        origin: Origin,
        layout: Layout,
    ) -> None:
        self._federation = federation
        self._vectors = vectors
        self._origin = origin
        self._layout = layout
        self._get = plain_updates(vectors, store, origin)

    def prepare(self, result: Any) -> None:
        """Do nothing: a reveal says all about its update."""

    def fetch(self, reveal: RevealedUpdate, stop: Callable[[], bool]) -> VectorFile:
        return self._get(reveal, stop)

    def combine(self, result: Any, base: VectorFile, updates: Updates) -> Combined:
        weighted = [(file, reveal.weight) for file, reveal in updates]
        meta = self._origin.state(result.round)
        return Combined(self._vectors.aggregate(base, weighted, meta))

    def challenge(self, evidence: Evidence, coordinate: int, models: Sequence[ChunkProof]) -> Call:
        index = self._layout.step_coordinate(coordinate) // CHUNK_VALUES
        chunks = [prove(self._layout, file, index) for file, _ in evidence.updates]
        proofs = b"".join(proof.packed() for proof in (*chunks, *models))
        return self._federation.challenge(
            evidence.result, evidence.reveals, coordinate, proofs, evidence.salt
        )

    def challenge_seed(self, evidence: Evidence, number: int) -> Call:
        raise ValueError(f"round {evidence.result.round} is in the clear: it has no seed {number}")


def prove(layout: Layout, file: VectorFile, index: int) -> ChunkProof:
    """Prove a chunk of a file. Raises RootMismatch when it was damaged on this disk."""
    with file.path.open("rb") as stream:
        proof = prove_chunk(stream, layout, file.meta, index)
    require_root(file, proof.root)
    return proof
