"""Accuracies and losses, of whoever publishes them: nothing proves them.

The page says whose they are.
"""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from fl_orchestrator.audit.history import HISTORY, History
from fl_orchestrator.errors import FloError, InputError
from fl_orchestrator.printable import printable
from fl_orchestrator.roles.party.measurements import FILE, Measurements

_MOST_METRICS: Final = 6
_MOST_NAME: Final = 32


@dataclass(slots=True)
class Series:
    """Measures of models by round. ``whose`` says whose they are, ``lines`` are constants."""

    whose: str
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    lines: dict[str, float] = field(default_factory=dict)


class NoMeasures(InputError):
    """There is no record of accuracies where one was named."""


class Measures(Protocol):
    """Somebody's measures; `series` is called after every block."""

    def series(self) -> Series: ...


class RunMeasures:
    """Those of a run of `flo demo` or `simulate`, from its history.json.

    Only for the federation that the history is of.
    """

    def __init__(self, directory: Path, federation: str) -> None:
        self._directory = directory
        self._federation = federation
        self._read: tuple[float, Series] = (0.0, Series(""))

    def series(self) -> Series:
        try:
            changed = (self._directory / HISTORY).stat().st_mtime
            if changed != self._read[0]:
                self._read = changed, self._load()
        except (OSError, FloError):
            return self._read[1]
        return self._read[1]

    def _load(self) -> Series:
        history = History.load(self._directory)
        if history.federation.lower() != self._federation.lower():
            return Series("")
        found = Series(f"the run in {printable(str(self._directory))}, on its test set")
        for entry in history.rounds:
            found.points[entry.round] = {"accuracy": entry.accuracy, "loss": entry.loss}
        if history.comparison is not None:
            found.lines["a party alone"] = history.comparison.accuracy_alone_mean
            found.lines["pooled data"] = history.comparison.accuracy_pooled
        return found


def measures_in(directory: Path, federation: str) -> Measures:
    """The measures in the directory of a run, or of a party. Raises NoMeasures."""
    if (directory / HISTORY).is_file():
        return RunMeasures(directory, federation)
    if (directory / FILE).is_file():
        return SiteMeasures(directory)
    raise NoMeasures(
        f"{directory} has no record of accuracies: neither {HISTORY} nor {FILE}.",
        "Name the --out directory of a run, or a party's own directory below its --home.",
    )


class SiteMeasures:
    """Those of a party's own validation data, as its process leaves them in its directory."""

    def __init__(self, home: Path) -> None:
        self._file = home / FILE
        self._measured = Measurements(home)
        self._series = Series(f"party {printable(home.name)}, on its own validation rows")
        self._changed = 0.0

    def series(self) -> Series:
        with contextlib.suppress(OSError):
            changed = self._file.stat().st_mtime
            if changed != self._changed:
                self._changed = changed
                found = {e.round: e.evaluated for e in self._measured.rounds() if e.evaluated}
                self._series = Series(self._series.whose, found)
        return self._series


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
