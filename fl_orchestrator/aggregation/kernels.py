"""The compiled inner loops of the rules, on blocks that stay in the cache.

Imported only where a rule runs: numba takes a second to import.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

# Columns sorted at a time: 100 rows of them fit the L2 cache, 16 rows the L1.
_TILE: Final = 1024


@numba.njit(cache=True)
def accumulate(sums: NDArray[np.int32], block: NDArray[np.int16], weight: int) -> None:
    """sums += weight * block. Within int32: 100 updates * 255 * 2^15 < 2^30."""
    w = np.int32(weight)
    for i in range(sums.size):
        sums[i] += w * np.int32(block[i])


@numba.njit(cache=True)
def _rounded(
    sums: NDArray[np.int32], count: int, reciprocal: np.uint64, out: NDArray[np.int16]
) -> None:
    bias = 2 * count * 32_768 + count
    for i in range(sums.size):
        shifted = np.uint64(2 * np.int64(sums[i]) + bias)
        out[i] = np.int64((shifted * reciprocal) >> np.uint64(48)) - 32_768


def rounded_mean(sums: NDArray[np.int32], count: int) -> NDArray[np.int16]:
    out = np.empty(sums.size, np.int16)
    _rounded(sums, count, np.uint64(-(-(1 << 48) // (2 * count))), out)
    return out


def selection_network(size: int, low: int, high: int) -> NDArray[np.int64]:
    """Return the comparators (i, j), i < j, that put the ranks low..high-1 in their places.

    Batcher's merge exchange (Knuth, The Art of Computer Programming, 5.2.2, algorithm M), without
    the comparators that no wanted rank depends on.
    """
    comparators = []
    top = 1 << max(size - 1, 0).bit_length() - 1 if size > 1 else 0
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            comparators += [(i, i + d) for i in range(size - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    wanted = set(range(low, high))
    kept = []
    for i, j in reversed(comparators):
        if i in wanted or j in wanted:
            wanted |= {i, j}
            kept.append((i, j))
    return np.array(kept[::-1], np.int64).reshape(-1, 2)


@numba.njit(cache=True)
def _mean_of_ranks(
    rows: NDArray[np.int16],
    network: NDArray[np.int64],
    low: int,
    high: int,
    tile: NDArray[np.int16],
    sums: NDArray[np.int32],
) -> None:
    size = rows.shape[1]
    for start in range(0, size, tile.shape[1]):
        width = min(tile.shape[1], size - start)
        for k in range(rows.shape[0]):
            for c in range(width):
                tile[k, c] = rows[k, start + c]
        for n in range(network.shape[0]):
            upper = tile[network[n, 0]]
            lower = tile[network[n, 1]]
            for c in range(width):
                a, b = upper[c], lower[c]
                upper[c] = min(a, b)
                lower[c] = max(a, b)
        for c in range(width):
            sums[start + c] = 0
        for k in range(low, high):
            for c in range(width):
                sums[start + c] += tile[k, c]


def mean_of_ranks(rows: NDArray[np.int16], network: Any, low: int, high: int) -> NDArray[np.int16]:
    sums = np.empty(rows.shape[1], np.int32)
    tile = np.empty((rows.shape[0], _TILE), np.int16)
    _mean_of_ranks(rows, network, low, high, tile, sums)
    return rounded_mean(sums, high - low)
