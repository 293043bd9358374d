"""The chunk tree: the keccak256 Merkle tree whose root is the identity of a vector.

A chunk is 256 little-endian values; each tensor starts a new chunk and is padded with zeros, and
the leaves are padded to 2^depth with chunks of zeros. A node is (height, index), height 0 being the
leaves. A state with momentum has the tree of its model on the left, and that of its momentum on the
right. A masked update (uint32) has chunks of 64 values and a tree that is two levels deeper, so
that a proof is short. Source: docs/protocol.md, sections 4, 10 and 12.4.

The padding is never allocated: the hash of a subtree of zeros is known in advance.
"""

import bisect
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fl_orchestrator.model.keccak import HASH_BYTES, hash_pairs, hash_rows, keccak256
from fl_orchestrator.model.layout import (
    CHUNK_VALUES,
    MASKED_CHUNK_VALUES,
    MAX_DEPTH,
    Layout,
)

# A short piece of the vector waits until so many chunks can be hashed side by side.
_WAITING_CHUNKS: Final = 128
# A longer piece is hashed without a copy.
_ENOUGH_CHUNKS: Final = 48
_MAX_TREE_DEPTH: Final = MAX_DEPTH + (CHUNK_VALUES // MASKED_CHUNK_VALUES).bit_length() - 1
Nodes = NDArray[np.uint8]
_Block = TypeVar("_Block", bound=NDArray[Any])


def chunk_values(dtype: DTypeLike) -> int:
    """Return how many values of this type a chunk holds: 64 of a masked update, else 256."""
    return MASKED_CHUNK_VALUES if np.dtype(dtype) == np.uint32 else CHUNK_VALUES


def tree_depth(layout: Layout, dtype: DTypeLike) -> int:
    """Return the depth of the tree over values of this type."""
    depth = layout.state_depth if is_state(dtype) else layout.depth
    return depth + _levels_below_a_chunk(dtype)


def _levels_below_a_chunk(dtype: DTypeLike) -> int:
    return (CHUNK_VALUES // chunk_values(dtype)).bit_length() - 1


def is_state(dtype: DTypeLike) -> bool:
    """Whether vectors of this type are states: int32, with the momentum if there is one."""
    return np.dtype(dtype).newbyteorder("=") == np.int32


@functools.cache
def zero_nodes(chunk_bytes: int) -> tuple[bytes, ...]:
    """Return the hashes of all-zero subtrees of heights 0 to 23, for a chunk size in bytes."""
    nodes = [keccak256(bytes(chunk_bytes))]
    for _ in range(_MAX_TREE_DEPTH):
        nodes.append(keccak256(nodes[-1] * 2))
    return tuple(nodes)


@dataclass(frozen=True, slots=True)
class ChunkTree:
    """A finished tree.

    ``levels[h]`` concatenates the hashes of the nodes of height h that cover at least one chunk
    with values; the nodes that cover only padding are left out.
    """

    depth: int
    chunk_bytes: int
    levels: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The identity of the vector, 32 bytes."""
        return self.levels[self.depth]

    def node(self, height: int, index: int) -> bytes:
        """Return the hash of a node. Raises IndexError outside of the tree."""
        if not (0 <= height <= self.depth and 0 <= index < 1 << (self.depth - height)):
            raise IndexError(f"no node ({height}, {index}) in a tree of depth {self.depth}")
        found = self.levels[height][index * HASH_BYTES : (index + 1) * HASH_BYTES]
        return found or zero_nodes(self.chunk_bytes)[height]

    def proof(self, index: int) -> tuple[bytes, ...]:
        """Return the siblings of a chunk's path, from the leaf upwards: exactly ``depth``."""
        self.node(0, index)
        return tuple(self.node(height, (index >> height) ^ 1) for height in range(self.depth))


@dataclass(frozen=True, slots=True)
class StateTree:
    """The tree of a state with momentum: above those of its model and of its momentum."""

    model: ChunkTree
    momentum: ChunkTree

    @property
    def depth(self) -> int:
        return self.model.depth + 1

    @property
    def root(self) -> bytes:
        """The identity of the state, 32 bytes."""
        return keccak256(self.model.root + self.momentum.root)

    def node(self, height: int, index: int) -> bytes:
        """Return the hash of a node. Raises IndexError outside of the tree."""
        if (height, index) == (self.depth, 0):
            return self.root
        if not (0 <= height < self.depth and 0 <= index < 1 << (self.depth - height)):
            raise IndexError(f"no node ({height}, {index}) in a tree of depth {self.depth}")
        half, within = divmod(index, 1 << (self.model.depth - height))
        return (self.model, self.momentum)[half].node(height, within)

    def proof(self, index: int) -> tuple[bytes, ...]:
        """Return the siblings of a chunk's path, from the leaf upwards: exactly ``depth``."""
        self.node(0, index)
        return tuple(self.node(height, (index >> height) ^ 1) for height in range(self.depth))


#: The tree of any vector.
Tree = ChunkTree | StateTree


class StateHasher:
    """Builds the tree of a state with momentum: int32, the model and then the momentum."""

    def __init__(self, layout: Layout) -> None:
        """Raises ValueError if the layout's depth is too small for its chunks."""
        self._size = layout.parameters
        self._model = TreeHasher(layout, np.int32)
        self._momentum = TreeHasher(layout, np.int32)
        self._hashed = 0

    def update(self, block: NDArray[Any]) -> None:
        """Append values to the state. Raises ValueError for more values than it has."""
        block = block.reshape(-1)
        cut = max(self._size - self._hashed, 0)
        self._model.update(block[:cut])
        self._momentum.update(block[cut:])
        self._hashed += block.size

    def finish(self) -> StateTree:
        """Return the tree. Raises ValueError if values of the state are missing."""
        return StateTree(self._model.finish(), self._momentum.finish())


class TreeHasher:
    """Builds the tree of a flat vector that arrives in blocks of any size, in order."""

    def __init__(self, layout: Layout, dtype: DTypeLike) -> None:
        """``dtype`` is int16 for an update, int32 for a state, uint32 for a masked update.

        Raises ValueError if the layout's depth is too small for its chunks, and for masked values
        in a layout that is not packed.
        """
        if layout.chunks > 1 << layout.depth:
            raise ValueError(f"{layout.chunks} chunks do not fit a depth of {layout.depth}")
        self._layout = layout
        self._dtype = np.dtype(dtype).newbyteorder("<")
        values = chunk_values(self._dtype)
        if values != CHUNK_VALUES and not layout.packed:
            raise ValueError("masked values have a packed layout")
        self._chunk_bytes = values * self._dtype.itemsize
        self._chunks = sum(-(-run.size // values) for run in layout.runs)
        # That of a model, or of its momentum, where a state has both.
        self._depth = layout.depth + _levels_below_a_chunk(self._dtype)
        self._ends = (run.stop * self._dtype.itemsize for run in layout.runs)
        self._end = next(self._ends, 0)
        self._position = 0
        self._leaves = self._room()
        self._hashed = 0  # leaves
        self._waiting = np.empty(_WAITING_CHUNKS * self._chunk_bytes, np.uint8)
        self._filled = 0  # bytes that wait; the last chunk of them may be incomplete

    def update(self, block: NDArray[Any]) -> None:
        """Append values to the vector. Raises ValueError for more values than the layout has."""
        if not np.can_cast(block.dtype, self._dtype, casting="equiv"):
            raise ValueError(f"expected {self._dtype} values, not {block.dtype}")
        data = np.ascontiguousarray(block, self._dtype).reshape(-1).view(np.uint8)
        while data.size:
            if self._position == self._end:
                self._end = next(self._ends, 0)
            piece = data[: max(self._end - self._position, 0)]
            if not piece.size:
                raise ValueError(f"more than {self._layout.parameters} values")
            self._position += piece.size
            self._append(piece)
            if self._position == self._end:
                self._fill(np.zeros(-self._filled % self._chunk_bytes, np.uint8))
            data = data[piece.size :]

    def watch(self, blocks: Iterable[_Block]) -> Iterator[_Block]:
        """Pass blocks through, hashing them on the way."""
        for block in blocks:
            self.update(block)
            yield block

    def finish(self) -> ChunkTree:
        """Return the tree. Raises ValueError if values of the vector are missing."""
        self._require_all()
        self._hash_waiting()
        zeros = zero_nodes(self._chunk_bytes)
        level, count = self._leaves, self._chunks
        levels = [level[:count].tobytes()]
        for height in range(self._depth):
            if count % 2:
                level[count] = np.frombuffer(zeros[height], np.uint8)
            count = -(-count // 2)
            above = _level(count)
            hash_pairs(level, above[:count], total=self._chunks)
            level = above
            levels.append(level[:count].tobytes())
        # The top level is empty only for a model without values.
        levels[-1] = levels[-1] or zeros[self._depth]
        return ChunkTree(self._depth, self._chunk_bytes, tuple(levels))

    def _room(self) -> Nodes:
        """Where the leaves are written."""
        return _level(self._chunks)

    def _require_all(self) -> None:
        if self._position != self._layout.parameters * self._dtype.itemsize:
            raise ValueError(f"fewer than {self._layout.parameters} values")

    def _append(self, piece: NDArray[np.uint8]) -> None:
        missing = -self._filled % self._chunk_bytes
        whole = (piece.size - missing) // self._chunk_bytes
        if whole >= _ENOUGH_CHUNKS:  # Hash them where they are.
            self._fill(piece[:missing])
            self._hash_waiting()
            stop = missing + whole * self._chunk_bytes
            self._hash(piece[missing:stop])
            piece = piece[stop:]
        self._fill(piece)

    def _fill(self, piece: NDArray[np.uint8]) -> None:
        while piece.size:
            part = piece[: self._waiting.size - self._filled]
            self._waiting[self._filled : self._filled + part.size] = part
            self._filled += part.size
            if self._filled == self._waiting.size:
                self._hash_waiting()
            piece = piece[part.size :]

    def _hash_waiting(self) -> None:
        self._hash(self._waiting[: self._filled])
        self._filled = 0

    def _hash(self, data: NDArray[np.uint8]) -> None:
        chunks = data.reshape(-1, self._chunk_bytes)
        out = self._leaves[self._hashed : self._hashed + len(chunks)]
        hash_rows(chunks, out, total=self._chunks)
        self._hashed += len(chunks)


def _level(nodes: int) -> Nodes:
    """Return an array of shape (nodes, 32), with a row more for zeros if the number is odd."""
    return np.empty((nodes + nodes % 2, HASH_BYTES), np.uint8)


def tree_hasher(layout: Layout, dtype: DTypeLike) -> TreeHasher | StateHasher:
    """Return what builds the tree of an update, of a state or of a masked update, by the type.

    Raises what they raise.
    """
    if layout.momentum and is_state(dtype):
        return StateHasher(layout)
    return TreeHasher(layout, dtype)


def tree_of(layout: Layout, vector: NDArray[Any]) -> Tree:
    """Return the tree of a flat int16, int32 or uint32 vector in memory."""
    hasher = tree_hasher(layout, vector.dtype)
    hasher.update(vector)
    return hasher.finish()


def chunk_slice(layout: Layout, index: int, dtype: DTypeLike = np.int32) -> slice:
    """Return the range of a flat vector that the chunk at an index holds, without its padding.

    It is empty for a chunk of padding. Raises IndexError outside of the tree over this type.
    """
    depth, values = tree_depth(layout, dtype), chunk_values(dtype)
    if not 0 <= index < 1 << depth:
        raise IndexError(f"no chunk {index} in a tree of depth {depth}")
    if layout.momentum and is_state(dtype):
        half, within = divmod(index, 1 << layout.depth)
        found = _slice_of_half(layout, within, values)
        start = half * layout.parameters
        return slice(start + found.start, start + found.stop)
    return _slice_of_half(layout, index, values)


def _slice_of_half(layout: Layout, index: int, values: int) -> slice:
    first = index * values
    if first >= layout.padded_size:
        return slice(layout.parameters, layout.parameters)
    run = layout.runs[bisect.bisect_right(layout.runs, first, key=lambda r: r.padded_start) - 1]
    start = min(run.start + first - run.padded_start, run.stop)
    return slice(start, min(start + values, run.stop))


def chunk(layout: Layout, vector: NDArray[Any], index: int) -> bytes:
    """Return the bytes of the chunk at an index of the tree over a flat vector."""
    values = np.zeros(chunk_values(vector.dtype), vector.dtype.newbyteorder("<"))
    held = vector[chunk_slice(layout, index, vector.dtype)]
    values[: held.size] = held
    return values.tobytes()


def root_from_proof(leaf: bytes, index: int, proof: Sequence[bytes]) -> bytes:
    """Compute the root from the hash of the leaf at an index and the siblings of its path."""
    node = leaf
    for height, sibling in enumerate(proof):
        node = keccak256(sibling + node if index >> height & 1 else node + sibling)
    return node


def verify(root: bytes, depth: int, index: int, data: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether ``data`` is the chunk at an index of the vector with this root and depth."""
    if len(proof) != depth or not 0 <= index < 1 << depth:
        return False
    return root_from_proof(keccak256(data), index, proof) == root
