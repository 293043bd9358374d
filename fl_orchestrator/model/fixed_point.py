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
from fl_orchestrator.model.protocol import MAX_WEIGHT, UPDATE_MAX

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
class EncodedUpdate:
    """``vector`` is int16, flat; ``tensors`` says how each tensor's changes fit into it."""

    vector: NDArray[np.int16]
    tensors: tuple[TensorEncoding, ...]

    @property
    def clipped(self) -> float:
        """The fraction of the values that were out of range."""
        return sum(tensor.clipped for tensor in self.tensors) / len(self.vector)

    @property
    def coarse(self) -> tuple[str, ...]:
        """The names of the tensors whose changes all round to zero: their scale is too coarse."""
        return tuple(tensor.name for tensor in self.tensors if tensor.is_coarse)


def genesis_state(layout: Layout, weights: Sequence[NDArray[Any]]) -> NDArray[np.int32]:
    """Return G = rint(w * 2^(24 + o_l)) of float weights, one array per tensor.

    Raises WeightsError for other shapes or types, NotFiniteError for NaN and infinity, and
    OutOfRange where G would saturate, because training would then start from a different model.
    """
    state = np.empty(layout.parameters, np.int32)
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

    The float64 product is exact; the cast to float32 is the only rounding, and can neither
    underflow nor overflow: 2^-120 <= |view| <= 2^71 or it is zero.
    """
    weights = []
    for tensor, values in zip(layout.tensors, layout.split(state), strict=True):
        view = np.empty(tensor.size, np.float32)
        flat = values.reshape(-1)
        for block in _blocks(tensor.size):
            view[block] = _view(flat[block], tensor)
        weights.append(view.reshape(tensor.shape))
    return weights


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
    vector = np.empty(layout.parameters, np.int16)
    encodings = []
    bases = [base.reshape(-1) for base in layout.split(state)]
    for (tensor, flat), base in zip(_flattened(layout, local), bases, strict=True):
        scale = 2.0 ** (fraction_bits + tensor.offset)
        changed = kept = clipped = 0
        for block in _blocks(tensor.size):
            values = _finite(flat[block].astype(np.float64), tensor)
            values -= _view(base[block], tensor)
            changed += int(np.count_nonzero(values))
            with np.errstate(over="ignore"):  # overflow to infinity is clipped below
                values *= scale
            np.rint(values, out=values)
            kept += int(np.count_nonzero(values))
            clipped += int(np.count_nonzero(np.abs(values) > UPDATE_MAX))
            np.clip(values, -UPDATE_MAX, UPDATE_MAX, out=values)
            vector[tensor.start : tensor.stop][block] = values
        encodings.append(TensorEncoding(tensor.name, tensor.size, changed, changed - kept, clipped))
    return EncodedUpdate(vector, tuple(encodings))


def saturated_tensors(layout: Layout, state: NDArray[np.int32]) -> tuple[str, ...]:
    """The names of the tensors that have a value at a limit of the int32 range.

    Such a value may have been clamped there.
    """
    return saturated_in(layout, [state])


def saturated_in(layout: Layout, blocks: Iterable[NDArray[np.int32]]) -> tuple[str, ...]:
    """`saturated_tensors` for a state that is given as flat blocks, in their order."""
    starts = np.array([tensor.start for tensor in layout.tensors])
    found: set[int] = set()
    first = 0
    for block in blocks:
        if block.size and (block.max() == _INT32.max or block.min() == _INT32.min):
            places = np.flatnonzero((block == _INT32.max) | (block == _INT32.min)) + first
            # If several tensors start at the same position, all but the last are empty.
            found.update((np.searchsorted(starts, places, side="right") - 1).tolist())
        first += block.size
    return tuple(layout.tensors[index].name for index in sorted(found))


def next_state(
    state: NDArray[np.int32], aggregate: NDArray[np.integer[Any]], fraction_bits: int
) -> NDArray[np.int32]:
    """Return G' = sat32(G + A * 2^(24 - e)) of a block or a vector; A is the rule's result."""
    moved = aggregate.astype(np.int64)
    moved <<= STATE_FRACTION_BITS - fraction_bits
    moved += state
    np.clip(moved, _INT32.min, _INT32.max, out=moved)
    return moved.astype(np.int32)


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
                "Convert them to float32.",
            )
        yield tensor, array.reshape(-1)


def _blocks(size: int) -> Iterator[slice]:
    for start in range(0, size, _BLOCK):
        yield slice(start, start + _BLOCK)
