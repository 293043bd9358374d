"""The root of a chunk tree without the tree, for whoever needs no proof.

Memory is less than 1 MiB and 32 bytes for each 8,192 chunks, whatever the size of the vector: so
many vectors can be checked at a time. Source: docs/protocol.md, section 4.
"""

from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fl_orchestrator.model.chunk_tree import Nodes, TreeHasher, is_state, zero_nodes
from fl_orchestrator.model.keccak import HASH_BYTES, hash_pairs, hash_rows, keccak256
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import VectorMeta, VectorReader

_GROUP_HEIGHT: Final = 13
_GROUP: Final = 1 << _GROUP_HEIGHT
# A file is read and hashed in blocks of this size: they fit the L2 cache, and Python takes a small
# part of the time.
_HASHED_BYTES: Final = 1 << 18


class RootHasher:
    """Computes the root of a flat vector that arrives in blocks of any size, in order.

    It is the root of what `tree_hasher` builds for the same layout and type.
    """

    def __init__(self, layout: Layout, dtype: DTypeLike) -> None:
        """Raises what `TreeHasher` raises."""
        halves = layout.halves if is_state(dtype) else 1
        self._size = layout.parameters
        self._halves = [_HalfRoot(layout, dtype) for _ in range(halves)]
        self._hashed = 0

    def update(self, block: NDArray[Any]) -> None:
        """Append values to the vector. Raises ValueError for more values than it has."""
        block = block.reshape(-1)
        for half in self._halves[:-1]:
            cut = max(self._size - self._hashed, 0)
            half.update(block[:cut])
            self._hashed += min(cut, block.size)
            block = block[cut:]
        if block.size:
            self._halves[-1].update(block)

    def finish(self) -> bytes:
        """Return the root, 32 bytes. Raises ValueError if values of the vector are missing."""
        roots = [half.root() for half in self._halves]
        return roots[0] if len(roots) == 1 else keccak256(b"".join(roots))


def read_root(stream: BinaryIO, layout: Layout, expected: VectorMeta | None = None) -> bytes:
    """Compute the root of a file in constant memory, less than that of its tree.

    Raises VectorFileError.
    """
    return _root_of_file(VectorReader(stream, layout, expected))


def read_masked(
    stream: BinaryIO, layout: Layout, expected: VectorMeta, seal_bytes: int
) -> tuple[bytes, bytes]:
    """Compute the root of a masked update's values in constant memory; return it and the seal.

    Raises VectorFileError.
    """
    reader = VectorReader(stream, layout, expected, seal_bytes=seal_bytes)
    return _root_of_file(reader), reader.seal


class _HalfRoot(TreeHasher):
    """Folds each group of leaves into the node above them as soon as it is complete."""

    def __init__(self, layout: Layout, dtype: DTypeLike) -> None:
        super().__init__(layout, dtype)
        self._zeros = zero_nodes(self._chunk_bytes)
        self._nodes: list[bytes] = []
        self._in_group = 0

    def root(self) -> bytes:
        """Return the root. Raises ValueError if values of the vector are missing."""
        self._require_all()
        self._hash_waiting()
        if not self._chunks:
            return self._zeros[self._depth]
        height = min(_GROUP_HEIGHT, self._depth)
        if self._in_group:
            self._nodes.append(self._folded(self._leaves, self._in_group, 0, height))
        rows = np.frombuffer(bytearray(b"".join(self._nodes)), np.uint8).reshape(-1, HASH_BYTES)
        return self._folded(rows, len(rows), height, self._depth)

    def _room(self) -> Nodes:
        return np.empty((_GROUP, HASH_BYTES), np.uint8)

    def _hash(self, data: NDArray[np.uint8]) -> None:
        chunks = data.reshape(-1, self._chunk_bytes)
        while len(chunks):
            part = chunks[: _GROUP - self._in_group]
            out = self._leaves[self._in_group : self._in_group + len(part)]
            hash_rows(part, out, total=self._chunks)
            self._in_group += len(part)
            chunks = chunks[len(part) :]
            if self._in_group == _GROUP and self._depth > _GROUP_HEIGHT:
                self._nodes.append(self._folded(self._leaves, _GROUP, 0, _GROUP_HEIGHT))
                self._in_group = 0

    def _folded(self, level: Nodes, count: int, low: int, high: int) -> bytes:
        """The one node of height ``high`` above ``count`` nodes of height ``low``."""
        level = level[:count]
        for height in range(low, high):
            if len(level) % 2:
                zero = np.frombuffer(self._zeros[height], np.uint8).reshape(1, HASH_BYTES)
                level = np.concatenate([level, zero])
            level = hash_pairs(level, total=self._chunks)
        return level.tobytes()


def _root_of_file(reader: VectorReader) -> bytes:
    dtype = reader.meta.kind.dtype
    hasher = RootHasher(reader.layout, dtype)
    for block in reader.blocks(_HASHED_BYTES // dtype.itemsize):
        hasher.update(block)
    return hasher.finish()
