"""Chooses the scales of a new federation's updates by what one training changes.

An update's value is an int16 of ``e + o_l`` fractional bits (docs/protocol.md, section 3). Too many
bits clip large changes; too few round small ones away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.model.fixed_point import UPDATE_MAX
from fl_orchestrator.model.manifest import LEAST_OFFSET, MOST_OFFSET, STATE_FRACTION_BITS

DEFAULT_FRACTION_BITS: Final = 15
#: Other sites and later rounds may change a value this many times as much as the one measured.
HEADROOM: Final = 4
#: Weights may grow to this many times the largest one measured.
GROWTH: Final = 16
#: And to what so many rounds of the measured changes add up to: a running mean or variance with
#: momentum 0.99 moves by a hundredth of its way in the first step, and goes on.
GROWTH_ROUNDS: Final = 512
# A tensor gets an offset of its own when that saves at least this many bits of its changes.
_WORTH_BITS: Final = 4


@dataclass(frozen=True, slots=True)
class Scaling:
    """``e`` of the federation, and ``o_l`` of each tensor."""

    fraction_bits: int
    offsets: tuple[int, ...]


def choose_scaling(
    before: Sequence[NDArray[Any]],
    after: Sequence[NDArray[Any]],
    max_clipped: float,
    fraction_bits: int | None = None,
) -> Scaling:
    """The largest e up to 24, unless it is given, and offsets, that clip at most that fraction.

    Of each tensor, at most ``max_clipped`` of the changes from ``before`` to ``after``, enlarged by
    `HEADROOM`, are out of range. Offsets are 0 but where a tensor's changes are much smaller than
    the others', or its weights or changes too large: the state has room for `GROWTH` times the
    weights and for `GROWTH_ROUNDS` times the changes. A tensor that did not change says nothing.
    """
    fits = [
        _most_bits(np.abs(new.astype(np.float64) - old), max_clipped)
        for old, new in zip(before, after, strict=True)
    ]
    room = [_most_offset(old, new) for old, new in zip(before, after, strict=True)]
    offsets = [min(0, most) for most in room]
    if fraction_bits is None:
        known = [
            bits - offset for bits, offset in zip(fits, offsets, strict=True) if bits is not None
        ]
        fraction_bits = min(max(min(known, default=DEFAULT_FRACTION_BITS), 0), STATE_FRACTION_BITS)
    for i, bits in enumerate(fits):
        if bits is None:
            continue
        slack = bits - fraction_bits - offsets[i]
        if slack < 0 or slack >= _WORTH_BITS:
            offsets[i] = max(min(bits - fraction_bits, room[i]), LEAST_OFFSET)
    return Scaling(fraction_bits, tuple(offsets))


def _most_bits(changes: NDArray[np.float64], max_clipped: float) -> int | None:
    """The most fractional bits with which all changes but the largest few are in range."""
    flat = changes.reshape(-1)
    kept = flat.size - int(max_clipped * flat.size)
    if kept == 0:
        return None
    largest = float(np.partition(flat, kept - 1)[kept - 1]) * HEADROOM
    return None if largest == 0 else math.floor(math.log2(UPDATE_MAX / largest))


def _most_offset(before: NDArray[Any], after: NDArray[Any]) -> int:
    """The largest offset with which the weights, grown, are within an int32 of 24 + o_l bits."""
    weight = max(float(np.abs(array).max(initial=0)) for array in (before, after))
    change = float(np.abs(after.astype(np.float64) - before).max(initial=0))
    largest = max(GROWTH * weight, GROWTH_ROUNDS * change)
    if largest == 0:
        return MOST_OFFSET
    bits = math.floor(math.log2((2**31 - 1) / largest)) - STATE_FRACTION_BITS
    return min(max(bits, LEAST_OFFSET), MOST_OFFSET)
