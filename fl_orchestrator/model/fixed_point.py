"""Floats to integers and back: the float view, genesis, update encoding and the next state.

All arrays are flat vectors of a layout (docs/protocol.md, section 3). Scaling by a power of two is
exact in float64 within the protocol's limits (-64 <= o_l <= 96, 0 <= e <= 24), so each conversion
rounds once. Vectors are processed block by block, so that the float64 temporaries fit the CPU
cache.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError, TrainingError
from fl_orchestrator.model.layout import Layout, Tensor
from fl_orchestrator.model.manifest import LEAST_OFFSET, STATE_FRACTION_BITS, Manifest
from fl_orchestrator.model.protocol import BPS, MAX_WEIGHT, UPDATE_MAX
from fl_orchestrator.model.rules import ServerStep

_INT32: Final = np.iinfo(np.int32)
_BLOCK: Final = 1 << 15


class WeightsError(TrainingError):
    """Weights whose number, shape or type differs from the model's."""


class NotFiniteError(TrainingError):
    """Weights with NaN or infinity, which cannot be encoded as a model or an update."""


class OutOfRange(WeightsError):
    """Initial weights that do not fit the state's int32 at the manifest's offsets."""


@dataclass(frozen=True, slots=True)
class TensorEncoding:
    """How well a tensor's changes fit into int16, as numbers of values.

    ``changed`` values differ from the base. Of these, ``lost`` round to zero, and ``clipped`` are
    out of range.
    """

    name: str
    size: int
    changed: int
    lost: int
    clipped: int

    @property
    def is_coarse(self) -> bool:
        """Whether training changed the tensor, but all of its changes round to zero."""
        return 0 < self.changed == self.lost


@dataclass(frozen=True, slots=True)
class UpdateEncoding:
    """How well an update's changes fit into int16; ``is_zero``: all of them round to zero."""

    tensors: tuple[TensorEncoding, ...]
    is_zero: bool

    @property
    def clipped(self) -> float:
        """The fraction of the values that were out of range."""
        clipped = sum(tensor.clipped for tensor in self.tensors)
        return clipped / sum(tensor.size for tensor in self.tensors)

    @property
    def coarse(self) -> tuple[str, ...]:
        """The names of the tensors whose changes all round to zero: their scale is too coarse."""
        return tuple(tensor.name for tensor in self.tensors if tensor.is_coarse)


@dataclass(frozen=True, slots=True)
class EncodedUpdate:
    """``vector`` is int16, flat; ``encoding`` says how each tensor's changes fit into it."""

    vector: NDArray[np.int16]
    encoding: UpdateEncoding

    @property
    def tensors(self) -> tuple[TensorEncoding, ...]:
        """How each tensor's changes fit."""
        return self.encoding.tensors

    @property
    def clipped(self) -> float:
        """The fraction of the values that were out of range."""
        return self.encoding.clipped

    @property
    def coarse(self) -> tuple[str, ...]:
        """The names of the tensors whose changes all round to zero."""
        return self.encoding.coarse


def genesis_state(layout: Layout, weights: Sequence[NDArray[Any]]) -> NDArray[np.int32]:
    """Return G = rint(w * 2^(24 + o_l)) of float weights, one array per tensor.

    With momentum, that of genesis follows, which is zero.

    Raises WeightsError for other shapes or types, NotFiniteError for NaN and infinity, and
    OutOfRange where G would saturate, because training would then start from a different model.
    """
    state = np.zeros(layout.halves * layout.parameters, np.int32)
    for tensor, flat in _flattened(layout, weights):
        scale = 2.0 ** (STATE_FRACTION_BITS + tensor.offset)
        for block in _blocks(tensor.size):
            values = _finite(flat[block].astype(np.float64), tensor)
            with np.errstate(over="ignore"):  # overflow to infinity is reported as out of range
                values *= scale
            np.rint(values, out=values)
            if values.max() > _INT32.max or values.min() < _INT32.min:
                raise _out_of_range(tensor, flat)
            state[tensor.start : tensor.stop][block] = values
    return state


def float_view(layout: Layout, state: NDArray[np.int32]) -> list[NDArray[np.float32]]:
    """Return the float32 weights G * 2^-(24 + o_l), one array per tensor.

    With momentum, it is the view of the model, the first half of the state.

    The float64 product is exact; the cast to float32 is the only rounding, and can neither
    underflow nor overflow: 2^-120 <= |view| <= 2^71 or it is zero.
    """
    return float_view_of(layout, _in_blocks(layout, state))


def float_view_of(layout: Layout, blocks: Iterable[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
    """`float_view` of a state that is given as flat blocks, in their order.

    Beside the result it takes the memory of some blocks. Of a momentum nothing is asked for. Raises
    ValueError if values are missing.
    """
    weights = [np.empty(tensor.size, np.float32) for tensor in layout.tensors]
    parts = _Parts(blocks)
    for tensor, view in zip(layout.tensors, weights, strict=True):
        for block in _blocks(tensor.size):
            view[block] = _view(parts.take(len(view[block])), tensor)
    shapes = (tensor.shape for tensor in layout.tensors)
    return [view.reshape(shape) for view, shape in zip(weights, shapes, strict=True)]


class UpdateEncoder:
    """Encodes an update block by block: see `encode_update`.

    Afterwards `encoding` says how its changes fit.
    """

    def __init__(self, layout: Layout, fraction_bits: int, local: Sequence[NDArray[Any]]) -> None:
        """Raises WeightsError for weights of other shapes or types than the layout's."""
        self._layout = layout
        self._bits = fraction_bits
        self._local = list(_flattened(layout, local))
        self._encodings: list[TensorEncoding] = []
        self._is_zero = True

    def blocks(self, state: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.int16]]:
        """Yield the update in flat blocks; ``state`` has the blocks of what training started from.

        Memory is that of some blocks. Raises NotFiniteError, and ValueError if values of the state
        are missing.
        """
        parts = _Parts(state)
        for tensor, flat in self._local:
            scale = 2.0 ** (self._bits + tensor.offset)
            changed = kept = clipped = 0
            for block in _blocks(tensor.size):
                values = _finite(flat[block].astype(np.float64), tensor)
                values -= _view(parts.take(len(values)), tensor)
                changed += int(np.count_nonzero(values))
                with np.errstate(over="ignore"):  # overflow to infinity is clipped below
                    values *= scale
                np.rint(values, out=values)
                kept += int(np.count_nonzero(values))
                clipped += int(np.count_nonzero(np.abs(values) > UPDATE_MAX))
                np.clip(values, -UPDATE_MAX, UPDATE_MAX, out=values)
                yield values.astype(np.int16)
            fits = TensorEncoding(tensor.name, tensor.size, changed, changed - kept, clipped)
            self._encodings.append(fits)
            self._is_zero = self._is_zero and not kept

    def encoding(self) -> UpdateEncoding:
        """How the update fits, once all blocks are made."""
        return UpdateEncoding(tuple(self._encodings), self._is_zero)


def encode_update(
    layout: Layout,
    fraction_bits: int,
    local: Sequence[NDArray[Any]],
    state: NDArray[np.int32],
) -> EncodedUpdate:
    """Encode what local training changed, against the float view of the state it started from.

    q = clip(rint(Δ * 2^(e + o_l)), -32767, 32767) with Δ = local - view in float64;
    ``fraction_bits`` is e. Raises WeightsError for other shapes or types, NotFiniteError for NaN
    and infinity.
    """
    encoder = UpdateEncoder(layout, fraction_bits, local)
    vector = np.empty(layout.parameters, np.int16)
    start = 0
    for block in encoder.blocks(_in_blocks(layout, state)):
        vector[start : start + block.size] = block
        start += block.size
    return EncodedUpdate(vector, encoder.encoding())


def saturated_tensors(layout: Layout, state: NDArray[np.int32]) -> tuple[str, ...]:
    """The names of the tensors with a value at a limit of int32, where it may have been clamped."""
    seen = Saturation(layout)
    seen.look(state)
    return seen.tensors()


class Saturation:
    """`saturated_tensors` for a state that is given as flat blocks, in their order.

    A tensor is named too if its momentum has such a value.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._found: set[int] = set()
        self._first = 0

    def look(self, block: NDArray[np.int32]) -> NDArray[np.int32]:
        """Look at the next block, and return it."""
        if block.size and (block.max() == _INT32.max or block.min() == _INT32.min):
            places = np.flatnonzero((block == _INT32.max) | (block == _INT32.min)) + self._first
            places %= self._layout.parameters
            starts = [tensor.start for tensor in self._layout.tensors]
            # If several tensors start at the same position, all but the last are empty.
            self._found.update((np.searchsorted(starts, places, side="right") - 1).tolist())
        self._first += block.size
        return block

    def tensors(self) -> tuple[str, ...]:
        return tuple(self._layout.tensors[index].name for index in sorted(self._found))


def next_state(
    state: NDArray[np.int32],
    aggregate: NDArray[np.integer[Any]],
    fraction_bits: int,
    server: ServerStep = ServerStep(),  # noqa: B008
) -> NDArray[np.int32]:
    """Return G' = sat32(G + round(rate A 2^(24 - e))) of a block or a vector; A is the rule's step.

    Halves are rounded up. Of ``server`` the momentum is not read.
    """
    return _moved(state, _scaled(aggregate, fraction_bits), server)


def next_with_momentum(
    state: NDArray[np.int32],
    momentum: NDArray[np.int32],
    aggregate: NDArray[np.integer[Any]],
    fraction_bits: int,
    server: ServerStep,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return G' = sat32(G + round(rate V')) and V' = sat32(round(beta V) + A 2^(24 - e)).

    V is the momentum of a block or a vector of the model. Halves are rounded up.
    """
    moved = _part(momentum.astype(np.int64), server.momentum_bps)
    moved += _scaled(aggregate, fraction_bits)
    np.clip(moved, _INT32.min, _INT32.max, out=moved)
    return _moved(state, moved, server), moved.astype(np.int32)


def _moved(
    state: NDArray[np.int32], move: NDArray[np.int64], server: ServerStep
) -> NDArray[np.int32]:
    moved = _part(move, server.learning_rate_bps) + state
    np.clip(moved, _INT32.min, _INT32.max, out=moved)
    return moved.astype(np.int32)


def _scaled(aggregate: NDArray[np.integer[Any]], fraction_bits: int) -> NDArray[np.int64]:
    """The step in the fixed point of the state: below 2^40."""
    scaled = aggregate.astype(np.int64)
    scaled <<= STATE_FRACTION_BITS - fraction_bits
    return scaled


def _part(values: NDArray[np.int64], bps: int) -> NDArray[np.int64]:
    """Values below 2^40 times at most 2^20 basis points, rounded to the nearest, halves up."""
    return values if bps == BPS else (2 * bps * values + BPS) // (2 * BPS)


def sample_weight(samples: int, samples_per_weight: int) -> int:
    """Return w = clip(ceil(samples / samplesPerWeight), 1, 255). Raises InputError if negative."""
    if samples < 0 or samples_per_weight < 1:
        raise InputError(
            f"{samples} samples with samplesPerWeight {samples_per_weight} give no weight.",
            "Samples must be at least 0, samplesPerWeight at least 1.",
        )
    return min(max(-(-samples // samples_per_weight), 1), MAX_WEIGHT)


def update_weight(manifest: Manifest, samples: int) -> int:
    """The weight of an update from so many samples; 1 where there is noise on sums.

    Raises InputError if ``samples`` is negative.
    """
    if manifest.noise is not None:
        return 1
    return sample_weight(samples, manifest.samples_per_weight)


def _out_of_range(tensor: Tensor, flat: NDArray[Any]) -> OutOfRange:
    largest = max(float(np.abs(flat[block]).max()) for block in _blocks(tensor.size))
    limit = _largest_weight(tensor.offset)
    offset = tensor.offset
    while offset > LEAST_OFFSET and largest > _largest_weight(offset):
        offset -= 1
    fits = largest <= _largest_weight(offset)
    return OutOfRange(
        f"The tensor {tensor.name!r} has a weight of {largest:.6g}; at offset {tensor.offset} the "
        f"state holds at most {limit:.6g}.",
        f"Give the tensor an offset of {offset} or less in the manifest."
        if fits
        else "No allowed offset is low enough: change the model so that its weights are smaller.",
    )


def _largest_weight(offset: int) -> float:
    return float(_INT32.max) * 2.0 ** -(STATE_FRACTION_BITS + offset)


def _view(values: NDArray[np.int32], tensor: Tensor) -> NDArray[np.float32]:
    scale = 2.0 ** -(STATE_FRACTION_BITS + tensor.offset)
    return (values.astype(np.float64) * scale).astype(np.float32)


def _finite(values: NDArray[np.float64], tensor: Tensor) -> NDArray[np.float64]:
    if not np.isfinite(values).all():
        raise NotFiniteError(
            f"The tensor {tensor.name!r} has NaN or infinite weights.",
            "Training diverged: lower the learning rate, or scale the features.",
        )
    return values


def _flattened(
    layout: Layout, weights: Sequence[NDArray[Any]]
) -> Iterator[tuple[Tensor, NDArray[Any]]]:
    if len(weights) != len(layout.tensors):
        raise WeightsError(
            f"The model has {len(layout.tensors)} tensors, but {len(weights)} were given.",
            "Give one array per tensor of the manifest, in its order.",
        )
    for tensor, array in zip(layout.tensors, weights, strict=True):
        if array.shape != tensor.shape:
            raise WeightsError(
                f"The tensor {tensor.name!r} has shape {tensor.shape}, not {array.shape}.",
                "Give the weights of the manifest's model.",
            )
        if array.dtype.kind != "f":
            raise WeightsError(
                f"The weights of {tensor.name!r} are {array.dtype}, not floating point.",
                "Convert them to float32, or keep the tensor at the site: `flo manifest create "
                "--local`.",
            )
        yield tensor, array.reshape(-1)


class _Parts:
    """Cuts flat blocks anew: each tensor starts a part."""

    def __init__(self, blocks: Iterable[NDArray[np.int32]]) -> None:
        self._blocks = iter(blocks)
        self._left = np.empty(0, np.int32)

    def take(self, size: int) -> NDArray[np.int32]:
        """The next ``size`` values."""
        while self._left.size < size:
            more = next(self._blocks, None)
            if more is None:
                raise ValueError(f"{size - self._left.size} values of the state are missing")
            self._left = np.concatenate([self._left, more]) if self._left.size else more
        part, self._left = self._left[:size], self._left[size:]
        return part


def _in_blocks(layout: Layout, state: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    model = layout.model_of(state)
    return (model[block] for block in _blocks(layout.parameters))


def _blocks(size: int) -> Iterator[slice]:
    for start in range(0, size, _BLOCK):
        yield slice(start, start + _BLOCK)
