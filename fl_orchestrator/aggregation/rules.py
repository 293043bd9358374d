"""The aggregation rules (docs/protocol.md, section 3): exact, independent of order, streaming.

An update is an iterable of flat int16 blocks (a VectorReader's, or ``in_blocks`` of an array). All
updates of a call, and the base, must have the same block sizes. Only the current blocks are in
memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, BinaryIO, Protocol, assert_never

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.fixed_point import next_with_momentum
from fl_orchestrator.model.manifest import STATE_FRACTION_BITS, RuleSpec
from fl_orchestrator.model.protocol import BPS, MAX_UPDATES, MAX_WEIGHT
from fl_orchestrator.model.rules import TRIM, RuleKind, ServerStep

Int16 = NDArray[np.int16]
Update = Iterable[Int16]


class AggregationError(InputError):
    """Updates or weights that cannot be aggregated."""


class Rule(Protocol):
    """One rule of docs/protocol.md, section 3."""

    def aggregate(self, updates: Sequence[Update], weights: Sequence[int]) -> Iterator[Int16]:
        """Yield A block by block. Raises AggregationError."""
        ...


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """FedAvg: the weighted mean, rounded half up."""

    def aggregate(self, updates: Sequence[Update], weights: Sequence[int]) -> Iterator[Int16]:
        """Yield floor((2S + N) / 2N), S = sum of w q, N = sum of w, as blocks."""
        from fl_orchestrator.aggregation import kernels

        _check(updates, weights)
        total = sum(weights)
        padded = np.array([*weights, *[0] * kernels.AT_ONCE], np.int32)
        for blocks in _in_step(updates, [np.int16] * len(updates)):
            yield kernels.weighted_mean(blocks, padded, total)


@dataclass(frozen=True, slots=True)
class Median:
    """The lower median; weights have no influence."""

    def aggregate(self, updates: Sequence[Update], weights: Sequence[int]) -> Iterator[Int16]:
        """Yield the element of rank floor((M-1)/2), as blocks."""
        _check(updates, weights)
        middle = (len(updates) - 1) // 2
        return _mean_of_ranks(updates, middle, middle + 1)


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """The unweighted mean without the b smallest and the b largest values."""

    trim_bps: int

    def aggregate(self, updates: Sequence[Update], weights: Sequence[int]) -> Iterator[Int16]:
        """Yield the mean, rounded half up, of the ranks b..M-b-1, b = floor(trimBps M / 10000)."""
        _check(updates, weights)
        if not 0 <= self.trim_bps <= TRIM.most:
            raise AggregationError(f"trimBps must be 0 to {TRIM.most}, not {self.trim_bps}.")
        drop = self.trim_bps * len(updates) // BPS
        return _mean_of_ranks(updates, drop, len(updates) - drop)


def rule_for(spec: RuleSpec) -> Rule:
    """Return the rule that a manifest names."""
    match spec.kind:
        case RuleKind.WEIGHTED_MEAN:
            return WeightedMean()
        case RuleKind.MEDIAN:
            return Median()
        case RuleKind.TRIMMED_MEAN:
            return TrimmedMean(spec.trim_bps)
        case _:
            assert_never(spec.kind)


def load_kernels() -> None:
    """Load the compiled loops of rules and hashes, which takes seconds, before updates come."""
    from fl_orchestrator.aggregation import kernels  # noqa: F401
    from fl_orchestrator.model import keccak_kernels  # noqa: F401


def next_global(
    rule: Rule,
    base: Iterable[NDArray[np.int32]],
    updates: Sequence[Update],
    weights: Sequence[int],
    fraction_bits: int,
    server: ServerStep = ServerStep(),  # noqa: B008
) -> Iterator[NDArray[np.int32]]:
    """Yield the next global state block by block, without momentum: see `apply_steps`."""
    yield from apply_steps(base, rule.aggregate(updates, weights), fraction_bits, server)


def apply_steps(
    base: Iterable[NDArray[np.int32]],
    steps: Iterable[Int16],
    fraction_bits: int,
    server: ServerStep = ServerStep(),  # noqa: B008
) -> Iterator[NDArray[np.int32]]:
    """Yield G' = sat32(G + round(rate A 2^(24 - e))), from the blocks of G and of A."""
    from fl_orchestrator.aggregation import kernels

    shift = STATE_FRACTION_BITS - fraction_bits
    for state, step in _in_step([base, steps], [np.int32, np.int16]):
        moved = np.empty(state.size, np.int32)
        kernels.add_step(state, step, shift, server.learning_rate_bps, moved)
        yield moved


def apply_with_momentum(
    base: Iterable[NDArray[np.int32]],
    momentum: Iterable[NDArray[np.int32]],
    steps: Iterable[Int16],
    fraction_bits: int,
    server: ServerStep,
    aside: BinaryIO,
) -> Iterator[NDArray[np.int32]]:
    """Yield the blocks of the next model, then those of the next momentum.

    ``base`` and ``momentum`` are the blocks of the state's two halves. The next momentum waits in
    ``aside``, an empty temporary file, while the model is written: a step is computed once.
    """
    sizes = []
    sources: list[Iterable[NDArray[Any]]] = [base, momentum, steps]
    for state, moving, step in _in_step(sources, [np.int32, np.int32, np.int16]):
        following, moved = next_with_momentum(state, moving, step, fraction_bits, server)
        aside.write(moved.data)
        sizes.append(moved.nbytes)
        yield following
    aside.seek(0)
    for size in sizes:
        yield np.frombuffer(aside.read(size), np.int32)


def _mean_of_ranks(updates: Sequence[Update], low: int, high: int) -> Iterator[Int16]:
    from fl_orchestrator.aggregation import kernels

    network = kernels.selection_network(len(updates), low, high)
    rows = np.empty((len(updates), 0), np.int16)
    for blocks in _in_step(updates, [np.int16] * len(updates)):
        size = blocks[0].size
        if rows.shape[1] < size:
            # Add one cache line per row: rows at a power-of-two distance would evict each other.
            rows = np.empty((len(updates), size + 32), np.int16)
        for row, block in zip(rows, blocks, strict=True):
            row[:size] = block
        sums = np.zeros(size, np.int32)
        kernels.add_ranks(sums, rows, network, low, high)
        yield kernels.rounded_mean(sums, high - low)


def _in_step(
    sources: Sequence[Iterable[NDArray[Any]]], dtypes: Sequence[DTypeLike]
) -> Iterator[tuple[NDArray[Any], ...]]:
    types = [np.dtype(dtype) for dtype in dtypes]
    for blocks in zip_longest(*sources):
        size = None if blocks[0] is None else blocks[0].size
        # One plain loop: generators took as long as all else that is Python here.
        for block, dtype in zip(blocks, types, strict=True):
            if block is None or block.size != size:
                raise AggregationError("The updates and the base have blocks of different sizes.")
            if block.dtype != dtype:
                raise AggregationError("An update is not int16, or the base is not int32.")
        yield blocks


def _check(updates: Sequence[Any], weights: Sequence[int]) -> None:
    if not 1 <= len(updates) <= MAX_UPDATES:
        raise AggregationError(f"A rule takes 1 to {MAX_UPDATES} updates, not {len(updates)}.")
    if len(weights) != len(updates):
        raise AggregationError(f"There are {len(updates)} updates but {len(weights)} weights.")
    for weight in weights:
        if not 1 <= weight <= MAX_WEIGHT:
            raise AggregationError(f"The weight {weight} is not in 1..{MAX_WEIGHT}.")
