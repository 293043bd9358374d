"""Masked updates on a role's disk: fetched, checked, and turned into the next model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.chain.event_types import MaskedReveal
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.chunk_root import read_masked
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import (
    COMBINED_VALUES,
    VectorMeta,
    VectorReader,
    max_file_bytes,
    seal_bytes_of,
    write_vector,
)
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.masks import Masks, UInt32
from fl_orchestrator.privacy.opening import Opening
from fl_orchestrator.privacy.seal import MAX_SEAL_BYTES, Seal, masked_root, parse_seal, seal_bytes
from fl_orchestrator.privacy.unmask import steps, sums
from fl_orchestrator.roles.masked.rounds import MaskedRound
from fl_orchestrator.roles.vectors import MadeVector, Origin, VectorCache, VectorFile


@dataclass(frozen=True, slots=True)
class MaskedFile:
    """A masked update on this disk whose root is the one on the chain, and its seal."""

    file: VectorFile
    reveal: MaskedReveal
    seal: Seal


@dataclass(slots=True)
class LimitedSteps:
    """Counts the coordinates of a step that are at the limit, where nobody sees more of it."""

    limit: int
    at_limit: int = 0
    seen: int = 0

    def watch(self, blocks: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
        """Pass the blocks of a step through, and count on the way."""
        for block in blocks:
            # In int32: the absolute value of -32768 is not in the range of int16.
            reached = np.abs(block.astype(np.int32)) >= self.limit
            self.at_limit += int(np.count_nonzero(reached))
            self.seen += block.size
            yield block

    @property
    def are_most(self) -> bool:
        return 2 * self.at_limit > self.seen


def _as_they_are(blocks: Iterable[NDArray[np.int16]]) -> Iterable[NDArray[np.int16]]:
    return blocks


class MaskedFiles:
    """Fetches, writes and combines the masked updates of a federation."""

    def __init__(self, vectors: VectorCache, manifest: Manifest, origin: Origin) -> None:
        self._vectors = vectors
        self._layout = manifest.layout
        self._origin = origin

    def fetch(
        self,
        store: ContentStore,
        seen: MaskedRound,
        reveal: MaskedReveal,
        stop: Callable[[], bool] = lambda: False,
    ) -> VectorFile:
        """A masked update from the cache or from the store.

        Raises ContentError if the store does not have it, VectorFileError or SealError if it is
        malformed, and RootMismatch if it has another root.
        """
        size = seal_bytes(seen.context)
        meta = self._origin.masked(seen.number)

        def root_of(file: BinaryIO) -> bytes:
            values_root, seal = read_masked(file, self._layout, meta, size)
            parsed = parse_seal(seen.context, reveal.commit, seal)
            return masked_root(values_root, parsed.digest())

        limit = max_file_bytes(self._layout, meta.kind, size)
        return self._vectors.fetch_checked(
            store, reveal.cid, reveal.root, meta, limit, root_of, stop
        )

    def with_seal(self, seen: MaskedRound, reveal: MaskedReveal, file: VectorFile) -> MaskedFile:
        """A file that was checked, with its seal. Raises SealError."""
        size = seal_bytes(seen.context)
        with file.path.open("rb") as stream:
            stream.seek(-size, 2)
            seal = parse_seal(seen.context, reveal.commit, stream.read(size))
        return MaskedFile(file, reveal, seal)

    def write(self, context: RoundContext, blocks: Iterable[UInt32], seal: Seal) -> MadeVector:
        """Write a masked update from its masked values, in flat blocks."""
        meta = self._origin.masked(context.round)

        def write(file: BinaryIO) -> bytes:
            tree = write_vector(file, self._layout, meta, blocks, seal.to_bytes())
            return masked_root(tree.root, seal.digest())

        return self._vectors.write_checked(meta, write)

    def combine(
        self,
        seen: MaskedRound,
        base: VectorFile,
        included: int,
        held: Mapping[int, MaskedFile],
        seeds: bytes,
        step_limit: int,
        meta: VectorMeta,
    ) -> MadeVector:
        """The next model, from the masked updates at the ``included`` places and their seeds.

        ``held`` has the files by place. Raises OpeningError.
        """
        masks = self.opening(seen, included).masks(seeds)
        chosen = [held[place] for place in range(included.bit_length()) if included >> place & 1]
        updates = [(masked.file, masked.reveal.weight) for masked in chosen]
        return self.unmask(base, updates, masks, step_limit, meta)

    def unmask(
        self,
        base: VectorFile,
        updates: Sequence[tuple[VectorFile, int]],
        masks: Masks,
        step_limit: int,
        meta: VectorMeta,
        watch: Callable[[Iterable[NDArray[np.int16]]], Iterable[NDArray[np.int16]]] = _as_they_are,
    ) -> MadeVector:
        """The next model, from masked (update, weight) pairs and the masks to take off their sum.

        ``watch`` passes the blocks of the step through. Memory is that of some blocks.
        """
        weight = sum(weight for _, weight in updates)
        with ExitStack() as files:

            def blocks(file: VectorFile) -> Iterator[NDArray[Any]]:
                stream = files.enter_context(file.path.open("rb"))
                size = seal_bytes_of(stream, self._layout, MAX_SEAL_BYTES)
                reader = VectorReader(stream, self._layout, file.meta, seal_bytes=size)
                return reader.blocks(COMBINED_VALUES)

            masked = [blocks(file) for file, _ in updates]
            totals = sums(masked, masks, self._layout.parameters)
            step = watch(steps(totals, weight, step_limit))
            return self._vectors.apply(base, step, meta)

    @staticmethod
    def opening(seen: MaskedRound, included: int) -> Opening:
        """What a result with these places opens. Raises OpeningError."""
        indices = [reveal.commit for reveal in seen.reveals]
        return Opening.of(seen.context.size, indices, included)
