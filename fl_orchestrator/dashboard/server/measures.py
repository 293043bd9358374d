"""Accuracies and losses, of whoever publishes them: nothing proves them.

The page says whose they are.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from fl_orchestrator.printable import printable

_MOST_METRICS: Final = 6
_MOST_NAME: Final = 32


@dataclass(slots=True)
class Series:
    """Measures of models by round. ``whose`` says whose they are, ``lines`` are constants."""

    whose: str
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    lines: dict[str, float] = field(default_factory=dict)


class Measures(Protocol):
    """Somebody's measures; `series` is called after every block."""

    def series(self) -> Series: ...


class LiveMeasures:
    """Those that this process measures itself, as `flo up` and `flo demo` do."""

    def __init__(self, whose: str) -> None:
        self._series = Series(whose)
        self._lock = threading.Lock()

    def add(self, round_number: int, **values: float | None) -> None:
        with self._lock:
            known = {name: value for name, value in values.items() if value is not None}
            self._series.points[round_number] = known

    def series(self) -> Series:
        with self._lock:
            return Series(self._series.whose, dict(self._series.points), self._series.lines)


def measures_json(series: list[Series], last: int, after: int = 0) -> list[dict[str, Any]]:
    """Each series in columns: a value for each round after ``after``, or null."""
    found = []
    for one in series:
        if not one.points:
            continue
        names = list(dict.fromkeys(name for point in one.points.values() for name in point))
        columns = {
            printable(str(name))[:_MOST_NAME]: [
                _finite(one.points.get(number, {}).get(name))
                for number in range(after + 1, last + 1)
            ]
            for name in names[:_MOST_METRICS]
        }
        lines = {
            name: value for name, line in one.lines.items() if (value := _finite(line)) is not None
        }
        found.append({"whose": one.whose, "columns": columns, "lines": lines})
    return found


def _finite(value: Any) -> float | None:
    """A number for a curve; what a site writes may be anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(float(value), 6)
