"""Accuracies and losses that a run or a party has left in its directory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fl_orchestrator.audit.history import HISTORY, History
from fl_orchestrator.dashboard.server.measures import Measures, Series
from fl_orchestrator.errors import FloError, InputError
from fl_orchestrator.printable import printable
from fl_orchestrator.roles.party.measurements import FILE, Measurements


class NoMeasures(InputError):
    """There is no record of accuracies where one was named."""


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
