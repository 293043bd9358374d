"""The aggregation rules (docs/protocol.md, section 3): exact, independent of order, streaming.

An update is an iterable of flat int16 blocks (a VectorReader's, or ``in_blocks`` of an array); all
updates of a call, and the base, are cut into blocks alike. Only the current blocks are in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.fixed_point import next_state
from fl_orchestrator.model.manifest import RuleSpec

MAX_UPDATES: Final = 100
MAX_WEIGHT: Final = 255

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
        for blocks in _in_step(updates):
            sums = np.zeros(blocks[0].size, np.int32)
            for k in range(0, len(blocks), 4):
                # Updates beyond the last are any block with the weight 0.
                four = (*blocks[k : k + 4], *blocks[:1] * 3)[:4]
                kernels.add_weighted(sums, four, (*weights[k : k + 4], 0, 0, 0)[:4])
            yield kernels.rounded_mean(sums, total)


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
    """The unweighted mean of what is left without the b smallest and the b largest."""

    trim_bps: int

    def aggregate(self, updates: Sequence[Update], weights: Sequence[int]) -> Iterator[Int16]:
        """Yield the mean, rounded half up, of the ranks b..M-b-1, b = floor(trimBps M / 10000)."""
        _check(updates, weights)
        if not 0 <= self.trim_bps < 5000:
            raise AggregationError(f"trimBps must be 0 to 4999, not {self.trim_bps}.")
        drop = self.trim_bps * len(updates) // 10_000
        return _mean_of_ranks(updates, drop, len(updates) - drop)


def rule_for(spec: RuleSpec) -> Rule:
    """Return the rule that a manifest names."""
    if spec.kind == "median":
        return Median()
    if spec.kind == "trimmed-mean":
        return TrimmedMean(spec.trim_bps)
    return WeightedMean()


def next_global(
    rule: Rule,
    base: Iterable[NDArray[np.int32]],
    updates: Sequence[Update],
    weights: Sequence[int],
    fraction_bits: int,
) -> Iterator[NDArray[np.int32]]:
    """Yield the next global state G' = sat32(G + A * 2^(24 - e)) block by block."""
    moves = rule.aggregate(updates, weights)
    for state, move in zip(base, moves, strict=True):
        if state.size != move.size:
            raise AggregationError("The base and the updates are not cut into blocks alike.")
        yield next_state(state, move, fraction_bits)


def _mean_of_ranks(updates: Sequence[Update], low: int, high: int) -> Iterator[Int16]:
    from fl_orchestrator.aggregation import kernels

    network = kernels.selection_network(len(updates), low, high)
    rows = np.empty((len(updates), 0), np.int16)
    for blocks in _in_step(updates):
        size = blocks[0].size
        if rows.shape[1] < size:
            # One cache line more: rows a power of two apart would evict each other.
            rows = np.empty((len(updates), size + 32), np.int16)
        for row, block in zip(rows, blocks, strict=True):
            row[:size] = block
        sums = np.zeros(size, np.int32)
        kernels.add_ranks(sums, rows, network, low, high)
        yield kernels.rounded_mean(sums, high - low)


def _in_step(updates: Sequence[Update]) -> Iterator[tuple[Int16, ...]]:
    for blocks in zip(*updates, strict=True):
        if any(block.size != blocks[0].size or block.dtype != np.int16 for block in blocks):
            raise AggregationError("The updates are not int16 blocks cut alike.")
        yield blocks


def _check(updates: Sequence[Any], weights: Sequence[int]) -> None:
    if not 1 <= len(updates) <= MAX_UPDATES:
        raise AggregationError(f"{len(updates)} updates: a rule takes 1 to {MAX_UPDATES}.")
    if len(weights) != len(updates):
        raise AggregationError(f"{len(updates)} updates have {len(weights)} weights.")
    for weight in weights:
        if not 1 <= weight <= MAX_WEIGHT:
            raise AggregationError(f"The weight {weight} is not in 1..{MAX_WEIGHT}.")
