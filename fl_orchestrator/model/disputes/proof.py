"""The proofs of disputes: one chunk of a vector with its path.

A challenge of a result contains, for every vector, the chunk with the challenged coordinate. The
answers to the demands of a whole descent together give the path of the chunk at its end. Source:
docs/protocol.md, section 6; contracts/interfaces/IDisputes.sol.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.model.chunk_tree import chunk_slice, chunk_values, root_from_proof
from fl_orchestrator.model.disputes.answers import Answer, levels_shown, nodes_in
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.vector_file import VectorMeta, VectorReader, tree_of_file

_INT32: Final = np.dtype("<i4")


@dataclass(frozen=True, slots=True)
class ChunkProof:
    """A chunk of a vector, its index, and the siblings of its path, from the leaf upwards."""

    index: int
    chunk: bytes
    siblings: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The root of the vector that has this chunk at this index."""
        return root_from_proof(keccak256(self.chunk), self.index, self.siblings)

    def packed(self) -> bytes:
        """The bytes that ``IDisputes.challenge`` expects: the chunk, then the siblings."""
        return self.chunk + b"".join(self.siblings)


def prove_chunk(
    stream: BinaryIO, layout: Layout, meta: VectorMeta, index: int, seal_bytes: int = 0
) -> ChunkProof:
    """Prove one chunk of a canonical file, in one pass and constant memory.

    Of a masked update, with a seal of ``seal_bytes``, the proof is against the root of its values.
    The stream must be seekable and at the start of the file. Raises VectorFileError.
    """
    reader = VectorReader(stream, layout, meta, seal_bytes=seal_bytes)
    data_start = stream.tell()
    tree = tree_of_file(reader)
    return ChunkProof(index, _chunk_at(stream, data_start, layout, meta, index), tree.proof(index))


def read_chunk(stream: BinaryIO, layout: Layout, meta: VectorMeta, index: int) -> bytes:
    """One chunk of a canonical file, without reading the others, so that nothing is proven.

    The stream is seekable and stands at the start of the file. Raises VectorFileError.
    """
    VectorReader(stream, layout, meta)
    return _chunk_at(stream, stream.tell(), layout, meta, index)


def _chunk_at(
    stream: BinaryIO, data_start: int, layout: Layout, meta: VectorMeta, index: int
) -> bytes:
    dtype = meta.kind.dtype
    held = chunk_slice(layout, index, dtype)
    stream.seek(data_start + held.start * dtype.itemsize)
    data = stream.read((held.stop - held.start) * dtype.itemsize)
    return data.ljust(chunk_values(dtype) * dtype.itemsize, b"\0")


def first_wrong_coordinate(
    layout: Layout, claimed: Iterable[NDArray[Any]], right: Iterable[NDArray[Any]]
) -> int | None:
    """The first coordinate at which two vectors differ; None if they are equal.

    Both are given as blocks of the same sizes.
    """
    start = 0
    for ours, theirs in zip(right, claimed, strict=True):
        wrong = np.flatnonzero(ours != theirs)
        if wrong.size:
            return layout.coordinate(start + int(wrong[0]))
        start += ours.size
    return None


def wrong_coordinate_of_chunk(claimed: ChunkProof, right: ChunkProof) -> int | None:
    """The first coordinate at which two chunks of global states differ; None if they are equal."""
    ours, theirs = (np.frombuffer(proof.chunk, _INT32) for proof in (right, claimed))
    wrong = np.flatnonzero(ours != theirs)
    return right.index * CHUNK_VALUES + int(wrong[0]) if wrong.size else None


def proof_from_answers(answers: Sequence[Answer]) -> ChunkProof:
    """Build the proof of the chunk at the end of a descent from the root, from the answers.

    ``answers`` are all answers of the descent, from the root's to the chunk's.
    """
    *nodes, last = answers
    siblings: list[bytes] = []
    for shown in reversed(nodes):
        levels = levels_shown(shown.level)
        level = nodes_in(shown.content)
        within = (last.index >> len(siblings)) - (shown.index << levels)
        for _ in range(levels):
            siblings.append(level[within ^ 1])
            level = [keccak256(a + b) for a, b in zip(level[::2], level[1::2], strict=True)]
            within >>= 1
    return ChunkProof(last.index, last.content, tuple(siblings))
