"""Keccak-f[1600] of many states side by side, and the loops that feed it: see model/keccak.py.

Import this only where many hashes are computed: numba takes a second to import. Source: FIPS 202,
section 3; the padding is that of keccak256 (0x01 .. 0x80), not of SHA3-256.
"""

from typing import Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from fl_orchestrator.compiled import compiled, inlined

Words = NDArray[np.uint64]

_RATE: Final = 17  # words of a state that take input in each permutation
_HASH_WORDS: Final = 4
_PAIR_VALUES: Final = 2  # uint32 values in a word
_STATES: Final = 64
# Word w of state j is at _L * w + j. At a distance of 64, stores would delay loads of other words
# because their addresses agree in the last 12 bits.
_L: Final = 68
_FIRST_PADDING: Final = np.uint64(1)
_LAST_PADDING: Final = np.uint64(1 << 63)
_ROUND_CONSTANTS: Final = (
    *(0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000),
    *(0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009),
    *(0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A),
    *(0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003),
    *(0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A),
    *(0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008),
)
_CONSTANTS: Final = np.array(_ROUND_CONSTANTS, np.uint64)
# Rows may come from files: read-only, and at any address.
_ROWS: Final = types.Array(types.uint64, 2, "C", readonly=True, aligned=False)
_HASHES: Final = types.Array(types.uint64, 2, "C", aligned=False)


@inlined
def _rol(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@inlined
def _plane(s: Words, at: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    return s[at], s[_L + at], s[_L * 2 + at], s[_L * 3 + at], s[_L * 4 + at]


@inlined
def _store_plane(
    s: Words, at: int, b0: np.uint64, b1: np.uint64, b2: np.uint64, b3: np.uint64, b4: np.uint64
) -> None:
    s[at] = b0 ^ (~b1 & b2)
    s[_L + at] = b1 ^ (~b2 & b3)
    s[_L * 2 + at] = b2 ^ (~b3 & b4)
    s[_L * 3 + at] = b3 ^ (~b4 & b0)
    s[_L * 4 + at] = b4 ^ (~b0 & b1)


@inlined
def _round(s: Words, constant: np.uint64) -> None:
    """One round of all states. The loop over states becomes vector instructions.

    One round takes a second to compile; 24 rounds written out would take a minute.
    """
    for j in range(_STATES):
        a0, a1, a2, a3, a4 = _plane(s, j)
        a5, a6, a7, a8, a9 = _plane(s, _L * 5 + j)
        a10, a11, a12, a13, a14 = _plane(s, _L * 10 + j)
        a15, a16, a17, a18, a19 = _plane(s, _L * 15 + j)
        a20, a21, a22, a23, a24 = _plane(s, _L * 20 + j)
        c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20
        c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21
        c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22
        c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23
        c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24
        d0 = c4 ^ _rol(c1, 1)
        d1 = c0 ^ _rol(c2, 1)
        d2 = c1 ^ _rol(c3, 1)
        d3 = c2 ^ _rol(c4, 1)
        d4 = c3 ^ _rol(c0, 1)
        b0, b1, b2 = a0 ^ d0, _rol(a6 ^ d1, 44), _rol(a12 ^ d2, 43)
        b3, b4 = _rol(a18 ^ d3, 21), _rol(a24 ^ d4, 14)
        _store_plane(s, j, b0, b1, b2, b3, b4)
        s[j] ^= constant
        b0, b1, b2 = _rol(a3 ^ d3, 28), _rol(a9 ^ d4, 20), _rol(a10 ^ d0, 3)
        b3, b4 = _rol(a16 ^ d1, 45), _rol(a22 ^ d2, 61)
        _store_plane(s, _L * 5 + j, b0, b1, b2, b3, b4)
        b0, b1, b2 = _rol(a1 ^ d1, 1), _rol(a7 ^ d2, 6), _rol(a13 ^ d3, 25)
        b3, b4 = _rol(a19 ^ d4, 8), _rol(a20 ^ d0, 18)
        _store_plane(s, _L * 10 + j, b0, b1, b2, b3, b4)
        b0, b1, b2 = _rol(a4 ^ d4, 27), _rol(a5 ^ d0, 36), _rol(a11 ^ d1, 10)
        b3, b4 = _rol(a17 ^ d2, 15), _rol(a23 ^ d3, 56)
        _store_plane(s, _L * 15 + j, b0, b1, b2, b3, b4)
        b0, b1, b2 = _rol(a2 ^ d2, 62), _rol(a8 ^ d3, 55), _rol(a14 ^ d4, 39)
        b3, b4 = _rol(a15 ^ d0, 41), _rol(a21 ^ d1, 2)
        _store_plane(s, _L * 20 + j, b0, b1, b2, b3, b4)


@compiled(types.void(types.uint64[::1]))
def _permute(s: Words) -> None:
    for constant in _CONSTANTS:
        _round(s, constant)


@compiled(types.void(_ROWS, types.boolean, _HASHES))
def hash_rows(rows: Words, padded: bool, hashes: Words) -> None:
    """Write keccak256 of each row to ``hashes``, of shape (n, 4).

    If ``padded``, the last word of each row already ends with the first byte of the padding.
    """
    count, width = rows.shape
    blocks = max(1, (width + (0 if padded else 1) + _RATE - 1) // _RATE)
    s = np.empty(25 * _L, np.uint64)
    for first in range(0, count, _STATES):
        states = min(_STATES, count - first)
        s[:] = 0
        for block in range(blocks):
            low, high = block * _RATE, min((block + 1) * _RATE, width)
            for w in range(high - low):
                for j in range(states):
                    s[_L * w + j] ^= rows[first + j, low + w]
            if block == blocks - 1:
                for j in range(states):
                    if not padded:
                        s[_L * (width - low) + j] ^= _FIRST_PADDING
                    s[_L * (_RATE - 1) + j] ^= _LAST_PADDING
            _permute(s)
        for j in range(states):
            for w in range(_HASH_WORDS):
                hashes[first + j, w] = s[_L * w + j]


@inlined
def _swapped(word: np.uint64) -> np.uint64:
    """Reverse the bytes of a word."""
    word = (word >> np.uint64(32)) | (word << np.uint64(32))
    odd, even = np.uint64(0xFFFF0000FFFF0000), np.uint64(0x0000FFFF0000FFFF)
    word = ((word & odd) >> np.uint64(16)) | ((word & even) << np.uint64(16))
    odd, even = np.uint64(0xFF00FF00FF00FF00), np.uint64(0x00FF00FF00FF00FF)
    return ((word & odd) >> np.uint64(8)) | ((word & even) << np.uint64(8))


@inlined
def _fill(s: Words, seed: Words, block: int) -> None:
    """Set state j to the padded input seed || uint256(block + j)."""
    s[:] = 0
    for j in range(_STATES):
        for w in range(_HASH_WORDS):
            s[_L * w + j] = seed[w]
        s[_L * (2 * _HASH_WORDS - 1) + j] = _swapped(np.uint64(block + j))
        s[_L * (2 * _HASH_WORDS) + j] = _FIRST_PADDING
        s[_L * (_RATE - 1) + j] = _LAST_PADDING


@compiled(types.void(types.uint32[::1], _ROWS, types.int64, types.int64))
def add_streams(values: NDArray[np.uint32], seeds: Words, added: int, first: int) -> None:
    """Add the streams of the first ``added`` seeds to the values, and subtract those of the others.

    ``values[i]`` takes number ``first + i`` of each stream. All streams are added to a block of
    values before the next block, so that the values are loaded and stored once.
    """
    s = np.empty(25 * _L, np.uint64)
    per_hash = _HASH_WORDS * _PAIR_VALUES
    stream = np.empty(_STATES * per_hash, np.uint32)
    start = 0
    while start < values.size:
        block, skipped = divmod(first + start, per_hash)
        part = values[start : min(start + stream.size - skipped, values.size)]
        for n in range(seeds.shape[0]):
            _fill(s, seeds[n], block)
            _permute(s)
            for j in range(_STATES):
                for w in range(_HASH_WORDS):
                    word = _swapped(s[_L * w + j])
                    at = j * per_hash + w * _PAIR_VALUES
                    stream[at] = np.uint32(word >> np.uint64(32))
                    stream[at + 1] = np.uint32(word & np.uint64(0xFFFFFFFF))
            if n < added:
                for i in range(part.size):
                    part[i] += stream[skipped + i]
            else:
                for i in range(part.size):
                    part[i] -= stream[skipped + i]
        start += part.size
