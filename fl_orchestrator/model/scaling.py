"""Chooses the scales of a new federation's updates from the changes of one local training.

An update's value is an int16 with ``e + o_l`` fractional bits (docs/protocol.md, section 3). With
too many bits, large changes are clipped; with too few, small changes round to zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.model.manifest import LEAST_OFFSET, MOST_OFFSET, STATE_FRACTION_BITS
from fl_orchestrator.model.protocol import UPDATE_MAX

DEFAULT_FRACTION_BITS: Final = 15
#: Changes at other sites and in later rounds may be this many times the measured ones.
HEADROOM: Final = 4
#: Weights may grow to this many times the largest one measured.
GROWTH: Final = 16
#: Weights may also grow by the measured change in each of this many rounds: a running mean or
#: variance with momentum 0.99 moves in the first step by only 1 % of its final change.
GROWTH_ROUNDS: Final = 512
# A tensor gets its own offset if its changes can use at least this many more fractional bits.
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
    """Choose the largest e up to 24 (or take ``fraction_bits``), and an offset for each tensor.

    ``before`` and ``after`` are the weights around one local training, one array per tensor. Of
    each tensor's changes, multiplied by `HEADROOM`, at most the fraction ``max_clipped`` is out of
    range. An offset is 0 unless the tensor's changes are much smaller than the others', or its
    weights or changes are too large: the state must hold `GROWTH` times the weights and
    `GROWTH_ROUNDS` times the changes. A tensor that did not change is ignored in the choice of e.
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
    """The most fractional bits that keep all but the fraction ``max_clipped`` in range.

    None if there are no such changes, or all are zero.
    """
    flat = changes.reshape(-1)
    kept = flat.size - int(max_clipped * flat.size)
    if kept == 0:
        return None
    largest = float(np.partition(flat, kept - 1)[kept - 1]) * HEADROOM
    return None if largest == 0 else math.floor(math.log2(UPDATE_MAX / largest))


def _most_offset(before: NDArray[Any], after: NDArray[Any]) -> int:
    """The largest o_l with which the weights, grown, fit an int32 with 24 + o_l fractional bits."""
    weight = max(float(np.abs(array).max(initial=0)) for array in (before, after))
    change = float(np.abs(after.astype(np.float64) - before).max(initial=0))
    largest = max(GROWTH * weight, GROWTH_ROUNDS * change)
    if largest == 0:
        return MOST_OFFSET
    bits = math.floor(math.log2((2**31 - 1) / largest)) - STATE_FRACTION_BITS
    return min(max(bits, LEAST_OFFSET), MOST_OFFSET)
