"""A line over rounds as SVG, which needs no script and prints well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WIDTH: Final = 640
_HEIGHT: Final = 120
_LEFT: Final = 44
_BOTTOM: Final = 18
_TOP: Final = 8


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawn curve: ``points`` for an SVG polyline, and what its axes say."""

    title: str
    points: str
    first: int
    last: int
    most: int
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    top: int = _TOP
    base: int = _HEIGHT - _BOTTOM


def curve(title: str, values: Sequence[tuple[int, int]]) -> Curve | None:
    """The curve of (round, value) pairs from zero up; None of fewer than two."""
    if len(values) < 2:
        return None
    first, last = values[0][0], values[-1][0]
    most = max(value for _, value in values) or 1
    height = _HEIGHT - _BOTTOM - _TOP
    points = [
        (
            _LEFT + (_WIDTH - _LEFT - 8) * (number - first) / (last - first),
            _TOP + height * (1 - value / most),
        )
        for number, value in values
    ]
    return Curve(title, " ".join(f"{x:.1f},{y:.1f}" for x, y in points), first, last, most)
