"""Noise on sums: each party adds a part of it to its update (docs/protocol.md, section 12.8).

The noise of a value is a Skellam variable, the difference of two Poisson variables: an integer, and
the sum of several is one again. So the noise of the parties that are included adds up to what the
manifest promises, whatever the others do. Source: Agarwal, Kairouz and Liu 2021, "The Skellam
Mechanism for Differentially Private Federated Learning".

A party's noise is a function of its secret of the round: after a restart it is the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.model.keccak import add_streams
from fl_orchestrator.privacy.keys import Label, derive

UInt32 = NDArray[np.uint32]

#: The probabilities of `_tail` are right to this relative error.
TABLE_ERROR: Final = 1e-12
# What is less probable than 2^-63 does not occur: that is about nine standard deviations.
_DEVIATIONS: Final = 12
_LEAST_TERMS: Final = 64
_DRAW_BITS: Final = 63


def noise_seed(z: bytes, round_number: int) -> bytes:
    """Return the seed of a party's noise, from the z that it drew for the round."""
    return derive(Label.NOISE, z, round_number)


def with_noise(
    blocks: Iterable[UInt32], seed: bytes, variance: float, total: int
) -> Iterator[UInt32]:
    """Add Skellam noise of this variance to each block in place, modulo 2^32, and yield it.

    ``blocks`` are the whole flat vector of ``total`` values, in order, each a contiguous writable
    array of uint32. Value n takes numbers 2n and 2n + 1 of the seed's stream. Raises ValueError for
    other arrays, and for a variance that is not positive.
    """
    first = 0
    for block in blocks:
        block += _skellam(seed, variance, first, block.size, total).view(np.uint32)
        first += block.size
        yield block


def within_norm(vector: NDArray[np.int16], norm: float) -> NDArray[np.int16]:
    """Return the vector, made shorter if its L2 norm is above ``norm``; the same otherwise.

    It keeps its direction but for rounding to the nearest integers. Raises ValueError unless
    ``norm`` is positive.
    """
    if not norm > 0:
        raise ValueError("a norm is positive")
    shorter, factor = vector, 1.0
    while (length := math.sqrt(_square(shorter))) > norm:
        # Rounding may add to the norm: then once more.
        factor *= norm / length * (1 - 1e-9)
        shorter = np.rint(vector * factor).astype(np.int16)
    return shorter


def _square(vector: NDArray[np.int16]) -> int:
    """The exact square of the L2 norm."""
    wide = vector.astype(np.int64)
    return int(np.dot(wide, wide))


def _skellam(seed: bytes, variance: float, first: int, count: int, total: int) -> NDArray[np.int32]:
    numbers = np.zeros(2 * count, np.uint32)
    add_streams(numbers, [seed], first=2 * first, total=2 * total)
    draws = numbers[::2].astype(np.uint64) << np.uint64(32) | numbers[1::2]
    tail = _tail(variance)
    # The value whose tail the draw falls into: as many as there are longer tails.
    shown = np.searchsorted(tail, draws >> np.uint64(1), side="right")
    magnitude = (tail.size - shown).astype(np.int32)
    return np.where(draws & np.uint64(1), -magnitude, magnitude)


@functools.lru_cache(maxsize=2)
def _tail(variance: float) -> NDArray[np.uint64]:
    """Return P(\\|X\\| >= k) * 2^63 for k from the largest down to 1: ascending.

    P(X = k) is e^-v I_k(v), with the modified Bessel function of the first kind. Its quotients
    follow from the recurrence I_(k-1) = I_(k+1) + (2k/v) I_k from far above downwards, which is
    stable (Abramowitz and Stegun, 9.6.26 and 9.12), and the sum of all probabilities is one.
    """
    if not 0 < variance < math.inf:
        raise ValueError("the variance of noise is positive")
    terms = _LEAST_TERMS + math.ceil(_DEVIATIONS * math.sqrt(variance))
    quotients = np.empty(terms)
    quotient = 0.0
    for k in range(terms, 0, -1):
        quotient = 1 / (2 * k / variance + quotient)
        quotients[k - 1] = quotient
    weights = np.exp(np.cumsum(np.log(quotients)))
    tails = 2 * np.cumsum(weights[::-1])
    scaled = tails / (1 + tails[-1]) * 2.0**_DRAW_BITS
    likely: NDArray[np.uint64] = scaled[scaled >= 1].astype(np.uint64)
    return likely
