"""The chunk tree: the keccak256 Merkle tree whose root is the identity of a vector.

A chunk is 256 little-endian values; each tensor starts a new chunk and is padded with zeros, and
the leaves are padded to 2^depth with chunks of zeros. A node is (height, index), height 0 being the
leaves. Source: docs/protocol.md, sections 4 and 10.

The padding is never allocated: the hash of a subtree of zeros is known in advance.
"""

import bisect
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import sha3
from numpy.typing import DTypeLike, NDArray

from fl_orchestrator.model.keccak import HASH_BYTES, keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, MAX_DEPTH, Layout

_Block = TypeVar("_Block", bound=NDArray[Any])


@functools.cache
def zero_nodes(chunk_bytes: int) -> tuple[bytes, ...]:
    """Return the hashes of all-zero subtrees of heights 0 to 21, for a chunk size in bytes."""
    nodes = [keccak256(bytes(chunk_bytes))]
    for _ in range(MAX_DEPTH):
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


class TreeHasher:
    """Builds the tree of a flat vector that arrives in blocks of any size, in order."""

    def __init__(self, layout: Layout, dtype: DTypeLike) -> None:
        """``dtype`` is int16 for an update, int32 for a state."""
        self._layout = layout
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._chunk_bytes = CHUNK_VALUES * self._dtype.itemsize
        self._ends = (t.stop * self._dtype.itemsize for t in layout.tensors if t.size)
        self._end = next(self._ends, 0)
        self._position = 0
        self._open = bytearray()  # the first bytes of an incomplete chunk
        self._leaves: list[bytes] = []

    def update(self, block: NDArray[Any]) -> None:
        """Append values to the vector. Raises ValueError for more values than the layout has."""
        if not np.can_cast(block.dtype, self._dtype, casting="equiv"):
            raise ValueError(f"expected {self._dtype} values, not {block.dtype}")
        data = np.ascontiguousarray(block, self._dtype).reshape(-1).view(np.uint8).data
        while len(data):
            if self._position == self._end:
                self._end = next(self._ends, 0)
            piece = data[: max(self._end - self._position, 0)]
            if not len(piece):
                raise ValueError(f"more than {self._layout.parameters} values")
            self._position += len(piece)
            self._append(piece, ends_tensor=self._position == self._end)
            data = data[len(piece) :]

    def watch(self, blocks: Iterable[_Block]) -> Iterator[_Block]:
        """Pass blocks through, hashing them on the way."""
        for block in blocks:
            self.update(block)
            yield block

    def finish(self) -> ChunkTree:
        """Return the tree. Raises ValueError if values of the vector are missing."""
        if self._position != self._layout.parameters * self._dtype.itemsize:
            raise ValueError(f"fewer than {self._layout.parameters} values")
        depth = self._layout.depth
        zeros = zero_nodes(self._chunk_bytes)
        levels = [b"".join(self._leaves)]
        for height in range(depth):
            level = levels[-1]
            if len(level) % (2 * HASH_BYTES):
                level += zeros[height]
            levels.append(b"".join(_hashes(level, 2 * HASH_BYTES)))
        if len(levels[-1]) > HASH_BYTES:
            raise ValueError(f"{self._layout.chunks} chunks do not fit a depth of {depth}")
        # The top level is empty only for a model without values.
        levels[-1] = levels[-1] or zeros[depth]
        return ChunkTree(depth, self._chunk_bytes, tuple(levels))

    def _append(self, piece: memoryview, *, ends_tensor: bool) -> None:
        if self._open:
            missing = self._chunk_bytes - len(self._open)
            self._open += piece[:missing]
            piece = piece[missing:]
            if len(self._open) == self._chunk_bytes:
                self._close()
        whole = len(piece) - len(piece) % self._chunk_bytes
        self._leaves.extend(_hashes(piece[:whole], self._chunk_bytes))
        self._open += piece[whole:]
        if ends_tensor and self._open:
            self._open += bytes(self._chunk_bytes - len(self._open))
            self._close()

    def _close(self) -> None:
        self._leaves.append(keccak256(self._open))
        self._open = bytearray()


def tree_of(layout: Layout, vector: NDArray[Any]) -> ChunkTree:
    """Return the tree of a flat int16 or int32 vector in memory."""
    hasher = TreeHasher(layout, vector.dtype)
    hasher.update(vector)
    return hasher.finish()


def chunk_slice(layout: Layout, index: int) -> slice:
    """Return the range of a flat vector that the chunk at an index holds, without its padding.

    It is empty for a chunk of padding. Raises IndexError unless 0 <= index < 2^depth.
    """
    if not 0 <= index < 1 << layout.depth:
        raise IndexError(f"no chunk {index} in a tree of depth {layout.depth}")
    first = index * CHUNK_VALUES
    if first >= layout.padded_size:
        return slice(layout.parameters, layout.parameters)
    place = bisect.bisect_right(layout.tensors, first, key=lambda t: t.padded_start) - 1
    tensor = layout.tensors[place]
    start = tensor.start + first - tensor.padded_start
    return slice(start, min(start + CHUNK_VALUES, tensor.stop))


def chunk(layout: Layout, vector: NDArray[Any], index: int) -> bytes:
    """Return the bytes of the chunk at an index, 0 <= index < 2^depth, of a flat vector."""
    values = np.zeros(CHUNK_VALUES, vector.dtype.newbyteorder("<"))
    held = vector[chunk_slice(layout, index)]
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


def _hashes(data: bytes | memoryview, size: int) -> list[bytes]:
    # This loop takes half of the time of a tree, so it uses local names and calls no functions of
    # this module.
    keccak, view = sha3.keccak_256, memoryview(data)
    return [keccak(view[i : i + size]).digest() for i in range(0, len(view), size)]
