"""The compiled inner loops of the rules, on blocks that fit the CPU cache.

Import this only where a rule runs: numba takes a second to import.
"""

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from fl_orchestrator.compiled import compiled
from fl_orchestrator.model.protocol import BPS

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Network = NDArray[np.int64]

#: Updates that `add_weighted` takes.
AT_ONCE: Final = 10
_LOWEST: Final = -(1 << 31)
_HIGHEST: Final = (1 << 31) - 1
# Columns sorted at a time: ten rows of this length fit the L1 cache, a hundred the L2 cache.
_TILE: Final = 1024
# Columns whose sums are made and divided at a time: they stay in the L1 cache.
_SUMS_TILE: Final = 4096
# Blocks from files are read-only, blocks in memory are not; this one signature accepts both.
_BLOCK: Final = types.Array(types.int16, 1, "C", readonly=True)
_TEN: Final = types.UniTuple(_BLOCK, AT_ONCE)  # type: ignore[no-untyped-call]
_SUMS: Final = types.int32[::1]
_DIVISOR: Final = (types.int32, types.uint32, types.uint32)  # see `_divisor`


@compiled(types.void(_SUMS, types.int32[::1], *[_BLOCK] * AT_ONCE))
def add_weighted(
    sums: Int32,
    w: Int32,
    q0: Int16,
    q1: Int16,
    q2: Int16,
    q3: Int16,
    q4: Int16,
    q5: Int16,
    q6: Int16,
    q7: Int16,
    q8: Int16,
    q9: Int16,
) -> None:
    """Add w[0] q0 + ... + w[9] q9 to the sums. int32 suffices: 100 * 255 * 2^15 < 2^30.

    It takes ten updates per pass, because to load and store the sums costs more than to add.
    """
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    w5, w6, w7, w8, w9 = w[5], w[6], w[7], w[8], w[9]
    for i in range(sums.size):
        low = w0 * np.int32(q0[i]) + w1 * np.int32(q1[i]) + w2 * np.int32(q2[i])
        low += w3 * np.int32(q3[i]) + w4 * np.int32(q4[i])
        high = w5 * np.int32(q5[i]) + w6 * np.int32(q6[i]) + w7 * np.int32(q7[i])
        sums[i] += low + high + w8 * np.int32(q8[i]) + w9 * np.int32(q9[i])


@compiled(types.void(_SUMS, types.int16[:, ::1], types.int64[:, ::1], types.int64, types.int64))
def add_ranks(sums: Int32, rows: Int16, network: Network, low: int, high: int) -> None:
    """Add to each sum the values of ranks low..high-1 in its column of ``rows``, reordering rows.

    A sorting network compares whole rows, so that minimum and maximum become vector instructions; a
    sort of each column would branch on every value.
    """
    for start in range(0, sums.size, _TILE):
        stop = min(start + _TILE, sums.size)
        for n in range(network.shape[0]):
            lower, upper = rows[network[n, 0], start:stop], rows[network[n, 1], start:stop]
            for c in range(lower.size):
                a, b = lower[c], upper[c]
                lower[c] = min(a, b)
                upper[c] = max(a, b)
        totals = sums[start:stop]
        for k in range(low, high):
            row = rows[k, start:stop]
            for c in range(row.size):
                totals[c] += row[c]


@compiled(types.void(_BLOCK, types.int64[::1], types.int64, types.int16[::1]))
def clip_chunks(block: Int16, ends: NDArray[np.int64], limit: int, clipped: Int16) -> None:
    """Copy a block to ``clipped``, with each chunk scaled down to a norm of at most ``limit``.

    ``ends`` are the ends of the chunks in the block. The quotient q L / s, with |q L| < 2^34 and s
    < 2^20, is exact: if it is no whole number it is at least 2^-20 away from the next one, and its
    double, below 2^15, is at most 2^-38 away from it. So both are truncated to the same integer.
    """
    start = 0
    for stop in ends:
        squares = np.int64(0)
        for i in range(start, stop):
            squares += np.int64(block[i]) * np.int64(block[i])
        if squares <= limit * limit:
            clipped[start:stop] = block[start:stop]
        else:
            norm = np.int64(np.sqrt(squares))  # below 2^20: at most one away from the root
            while norm * norm < squares:
                norm += 1
            while (norm - 1) * (norm - 1) >= squares:
                norm -= 1
            for i in range(start, stop):
                product = np.float64(np.int64(block[i]) * limit)
                clipped[i] = np.int16(product / np.float64(norm))
        start = stop


@compiled(types.void(_SUMS, *_DIVISOR, types.int16[::1]))
def _divide(sums: Int32, bias: int, reciprocal: int, shift: int, quotients: Int16) -> None:
    # Of 32 bits each, so that the product is one instruction.
    factor, places = np.uint64(reciprocal), np.uint64(shift)
    for i in range(sums.size):
        numerator = np.uint64(np.uint32(sums[i] + bias))
        quotients[i] = np.int32(np.uint32((numerator * factor) >> places)) - np.int32(32_768)


@functools.lru_cache(maxsize=16)
def _divisor(count: int) -> tuple[int, int, int]:
    """The bias, the reciprocal and the shift by which `_divide` divides by N = ``count``.

    floor((2S + N) / 2N) = floor((S + floor(N/2)) / N). Division by an invariant N is a
    multiplication: floor(x / N) = floor(x m / 2^k) with m = ceil(2^k / N), exactly, while 0 <= x
    and x (m N - 2^k) < 2^k (Granlund and Montgomery, 1994). Adding 2^15 N to x makes it
    non-negative and the quotient 2^15 too large; then x < 2^16 N < 2^31, because N <= 25,500. With
    k = 16 + 2 c and N <= 2^c, c being the least, m N - 2^k < N makes it exact; and m < 2^32,
    because N > 2^(c-1) and c <= 15.
    """
    shift = 16 + 2 * (count - 1).bit_length()
    return 32_768 * count + count // 2, -((-1 << shift) // count), shift


def rounded_mean(sums: Int32, count: int) -> Int16:
    """Return floor((2S + N) / 2N) for each sum S of N = ``count`` <= 25,500 int16 values."""
    quotients = np.empty(sums.size, np.int16)
    _divide(sums, *_divisor(count), quotients)
    return quotients


@compiled(types.void(_SUMS, types.int32[::1], *_DIVISOR, types.int16[::1], _TEN))
def _last_ten(
    sums: Int32,
    w: Int32,
    bias: int,
    reciprocal: int,
    shift: int,
    mean: Int16,
    q: tuple[Int16, ...],
) -> None:
    """Add ten updates to the sums, which are empty if there were none before, and divide.

    So the sums of a tile are divided while they are in the cache.
    """
    tile = np.empty(_SUMS_TILE, np.int32)
    for a in range(0, mean.size, _SUMS_TILE):
        b = min(a + _SUMS_TILE, mean.size)
        if sums.size:
            part = sums[a:b]
        else:
            part = tile[: b - a]
            part[:] = 0
        first = (q[0][a:b], q[1][a:b], q[2][a:b], q[3][a:b], q[4][a:b])
        add_weighted(part, w, *first, q[5][a:b], q[6][a:b], q[7][a:b], q[8][a:b], q[9][a:b])
        _divide(part, bias, reciprocal, shift, mean[a:b])


def weighted_mean(blocks: Sequence[Int16], weights: Int32, count: int) -> Int16:
    """Return floor((2S + N) / 2N), S = sum of w q, for a block of each update.

    N = ``count`` is the sum of the weights, of which there are `AT_ONCE` more, zeros.
    """
    mean = np.empty(blocks[0].size, np.int16)
    last = (len(blocks) - 1) // AT_ONCE * AT_ONCE
    sums = np.zeros(mean.size if last else 0, np.int32)
    for k in range(0, last, AT_ONCE):
        add_weighted(sums, weights[k : k + AT_ONCE], *blocks[k : k + AT_ONCE])
    # After the last update, fill up with any block; its weight is 0.
    q = (*blocks[last:], *[blocks[0]] * AT_ONCE)[:AT_ONCE]
    _last_ten(sums, weights[last : last + AT_ONCE], *_divisor(count), mean, q)
    return mean


@compiled(
    types.void(
        types.Array(types.int32, 1, "C", readonly=True), _BLOCK, types.int64, types.int64, _SUMS
    )
)
def add_step(state: Int32, step: Int16, shift: int, bps: int, moved: Int32) -> None:
    """Write sat32(G + round(rate A 2^shift)) of a block: see `next_state`, which is its equal.

    It reads and writes each value once. ``bps`` is the rate in basis points, below 2^20; ``shift``
    is at most 24, so that the product stays below 2^61.
    """
    for i in range(state.size):
        move = np.int64(step[i]) << shift
        if bps != BPS:
            move = (2 * bps * move + BPS) // (2 * BPS)
        moved[i] = min(max(state[i] + move, _LOWEST), _HIGHEST)


def selection_network(size: int, low: int, high: int) -> Network:
    """Return the comparators (i, j), i < j, that move the ranks low..high-1 to their places.

    This is Batcher's merge exchange (Knuth, The Art of Computer Programming, 5.2.2, algorithm M)
    without the comparators that do not affect these ranks. Returns int64 of shape (comparators, 2).
    """
    comparators: list[tuple[int, int]] = []
    top = 1 << (size - 1).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            comparators += [(i, i + d) for i in range(size - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    wanted = set(range(low, high))
    kept: list[tuple[int, int]] = []
    for i, j in reversed(comparators):
        if i in wanted or j in wanted:
            wanted |= {i, j}
            kept.append((i, j))
    return np.array(kept[::-1], np.int64).reshape(-1, 2)
