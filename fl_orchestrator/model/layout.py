"""Where each tensor of a model lies: in the flat vector, in the padded vector and in the tree.

A model in memory is one flat array: its tensors in manifest order, each in row-major order, without
padding, exactly as in the data section of a file. The padding of docs/protocol.md, section 3, is
always zero and is never stored; it only takes up coordinates. In a packed layout, which private
federations have, no padding lies between tensors: coordinates and positions are the same numbers.
NumPy is imported where arrays are made: who only reads a chain needs the numbers alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK_VALUES: Final = 256
MASKED_CHUNK_VALUES: Final = 64
MAX_DEPTH: Final = 21
#: In the file of a state with momentum, all of it is one flat tensor of this name.
MOMENTUM_NAME: Final = "__momentum__"


@dataclass(frozen=True, slots=True)
class Tensor:
    """The position of one tensor, in numbers of values; ``offset`` is the o_l of section 3."""

    name: str
    shape: tuple[int, ...]
    offset: int
    size: int
    start: int
    padded_size: int
    padded_start: int

    @property
    def stop(self) -> int:
        """The end in the flat vector."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Run:
    """Values without padding between them: they start a chunk, and the last chunk is padded."""

    start: int
    size: int
    padded_start: int

    @property
    def stop(self) -> int:
        """The end in the flat vector."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors of a model, in manifest order, and the depth of its chunk tree.

    ``runs`` are the parts of the vector between paddings, in order, none of them empty: the whole
    vector if ``packed``, else each tensor with values.

    With ``momentum``, a state has twice the values: the model, then its momentum in the same order.
    Its tree is one level deeper, and the momentum is the right half of it.
    """

    tensors: tuple[Tensor, ...]
    depth: int
    packed: bool
    runs: tuple[Run, ...]
    momentum: bool = False

    @classmethod
    def of(
        cls,
        tensors: Iterable[tuple[str, Sequence[int], int]],
        depth: int | None = None,
        *,
        packed: bool = False,
        momentum: bool = False,
    ) -> Layout:
        """Lay out tensors, given as (name, shape, o_l), in this order.

        Without a ``depth``, the smallest sufficient one is used. Nothing is validated here: the
        manifest does that.
        """
        places: list[Tensor] = []
        start = padded_start = 0
        for name, shape, offset in tensors:
            size = prod(shape)
            padded = size if packed else _padded(size)
            places.append(Tensor(name, tuple(shape), offset, size, start, padded, padded_start))
            start += size
            padded_start += padded
        if depth is None:
            depth = minimal_depth(_padded(padded_start) // CHUNK_VALUES)
        runs = [Run(t.start, t.size, t.padded_start) for t in places]
        if packed:
            runs = [Run(0, start, 0)]
        return cls(tuple(places), depth, packed, tuple(run for run in runs if run.size), momentum)

    @property
    def parameters(self) -> int:
        """The number of values in the flat vector."""
        return self.tensors[-1].stop if self.tensors else 0

    @property
    def halves(self) -> int:
        """The number of vectors of the model's size in a state: 2 with momentum, else 1."""
        return 2 if self.momentum else 1

    @property
    def state_depth(self) -> int:
        """The depth of the tree of a state."""
        return self.depth + 1 if self.momentum else self.depth

    @property
    def half(self) -> int:
        """The number of coordinates of a model; with momentum, the first one of the momentum."""
        return CHUNK_VALUES << self.depth

    def model_of(self, state: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the model in a flat state, without the momentum."""
        if state.shape != (self.halves * self.parameters,):
            raise ValueError(
                f"expected {self.halves * self.parameters} values in the flat vector of a state"
            )
        return state[: self.parameters]

    def step_coordinate(self, coordinate: int) -> int:
        """Return the coordinate of updates that a coordinate of the state depends on."""
        return coordinate - self.half if self._is_momentum(coordinate) else coordinate

    def base_chunks(self, index: int) -> tuple[int, ...]:
        """Return the chunks of the base that a chunk of the next state depends on.

        These are the chunk itself and, if it is one of a model with momentum, that of its momentum.
        """
        if not self.momentum or index >> self.depth:
            return (index,)
        return (index, index + (1 << self.depth))

    def _is_momentum(self, coordinate: int) -> bool:
        return self.momentum and coordinate >= self.half

    @property
    def padded_size(self) -> int:
        """The number of values in the padded vector, before the padding to 2^depth chunks."""
        if not self.tensors:
            return 0
        return _padded(self.tensors[-1].padded_start + self.tensors[-1].padded_size)

    @property
    def chunks(self) -> int:
        """The number of chunks that hold values of a tensor."""
        return self.padded_size // CHUNK_VALUES

    def chunk_ends(self) -> NDArray[np.int64]:
        """Return where the chunks with values end in the flat vector of a model, ascending."""
        import numpy as np

        ends = [
            np.append(np.arange(run.start + CHUNK_VALUES, run.stop, CHUNK_VALUES), run.stop)
            for run in self.runs
        ]
        return np.concatenate(ends) if ends else np.empty(0, np.int64)

    def split(self, vector: NDArray[Any]) -> list[NDArray[Any]]:
        """Return views of a flat vector, one per tensor, in the tensors' shapes."""
        if vector.shape != (self.parameters,):
            raise ValueError(f"expected {self.parameters} values in a flat vector")
        return [vector[t.start : t.stop].reshape(t.shape) for t in self.tensors]

    def coordinate(self, position: int) -> int:
        """Return the coordinate in the padded vector of a position in the flat vector."""
        if self.momentum and position >= self.parameters:
            return self.half + self.coordinate(position - self.parameters)
        tensor = self.tensors[bisect.bisect_right(self.tensors, position, key=_start) - 1]
        return tensor.padded_start + position - tensor.start

    def locate(self, coordinate: int) -> tuple[str, tuple[int, ...]] | None:
        """Return the name of the tensor at a coordinate and the index in it; None for padding.

        The name of a tensor's momentum is "momentum of" and the tensor's name.
        """
        if self._is_momentum(coordinate):
            found = self.locate(coordinate - self.half) if coordinate < 2 * self.half else None
            return found and (f"momentum of {found[0]}", found[1])
        if not 0 <= coordinate < self.padded_size:
            return None
        tensor = self.tensors[bisect.bisect_right(self.tensors, coordinate, key=_padded_start) - 1]
        within = coordinate - tensor.padded_start
        if within >= tensor.size:
            return None
        import numpy as np

        return tensor.name, tuple(int(i) for i in np.unravel_index(within, tensor.shape))


def minimal_depth(chunks: int) -> int:
    """Return the smallest depth whose tree has room for a number of chunks."""
    return max(chunks - 1, 0).bit_length()


def _padded(values: int) -> int:
    """Return the number of values with the padding that fills the last chunk."""
    return -(-values // CHUNK_VALUES) * CHUNK_VALUES


def _start(tensor: Tensor) -> int:
    return tensor.start


def _padded_start(tensor: Tensor) -> int:
    return tensor.padded_start
