"""A site's own loss and metrics over the rounds, in a file that stays in the party's directory.

They are for people: no decision depends on them, and a file that is lost or damaged costs only the
view of the past.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import NOT_FINITE, to_json
from fl_orchestrator.log import get_logger

if TYPE_CHECKING:
    from fl_orchestrator.training.trainer import Metrics

_log = get_logger(__name__)

FILE: Final = "measurements.jsonl"
#: Above this size the older half of the file is dropped: thousands of rounds.
_MAX_FILE_BYTES: Final = 4 << 20
#: So many metrics of one training or evaluation are kept.
_MOST_METRICS: Final = 64
_LONGEST_NAME: Final = 100


@dataclass(slots=True)
class RoundMeasurements:
    """What was measured at this site in a round; without values, where nothing was.

    ``trained`` is what `fit` reported of ``rows`` rows. ``evaluated`` is the round's global model
    on the site's validation rows; with ``faults`` it was not taken into use.
    """

    round: int
    trained: Metrics = field(default_factory=dict)
    rows: int = 0
    evaluated: Metrics = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    revoked: bool = False


class Measurements:
    """The file of one party. Failing to write it is logged, and ends nothing."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE

    def trained(self, round_number: int, metrics: Metrics, rows: int) -> None:
        self._append({"round": round_number, "trained": _bounded(metrics), "rows": rows})

    def evaluated(self, round_number: int, metrics: Metrics, faults: tuple[str, ...]) -> None:
        found = {"round": round_number, "evaluated": _bounded(metrics), "faults": list(faults)}
        self._append({**found, "revoked": False})

    def revoked(self, round_number: int) -> None:
        self._append({"round": round_number, "revoked": True})

    def rounds(self) -> list[RoundMeasurements]:
        """What was measured, by rounds. Of a round that was measured again, the last values."""
        found: dict[int, RoundMeasurements] = {}
        for values in self._entries():
            number = values.pop("round")
            entry = found.setdefault(number, RoundMeasurements(number))
            for name, value in values.items():
                setattr(entry, name, value)
        return [found[number] for number in sorted(found)]

    def _entries(self) -> Iterator[dict[str, Any]]:
        """The entries that can be read: the last line may be half written."""
        try:
            with self._path.open("rb") as file:
                lines = file.read(2 * _MAX_FILE_BYTES).splitlines()
        except OSError:
            return
        for line in lines:
            try:
                yield _checked(from_json(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue

    def _append(self, entry: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A line that a crash has cut off must not take the next one with it.
            with self._path.open("ab") as file:
                file.write(f"\n{to_json(entry)}".encode())
                size = file.tell()
            if size > _MAX_FILE_BYTES:
                kept = self._path.read_bytes()[-(_MAX_FILE_BYTES // 2) :]
                write_whole(self._path, kept[kept.find(b"\n") :].decode())
        except (OSError, ValueError) as error:
            _log.warning("measurements are not kept", file=str(self._path), reason=str(error))


def _bounded(metrics: Metrics) -> Metrics:
    return {name[:_LONGEST_NAME]: value for name, value in list(metrics.items())[:_MOST_METRICS]}


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """An entry with its types. Raises ValueError, TypeError, KeyError or AttributeError."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "round": int,
        "trained": _metrics,
        "rows": int,
        "evaluated": _metrics,
        "faults": lambda faults: [str(fault) for fault in faults],
        "revoked": bool,
    }
    found = {name: kind(values[name]) for name, kind in kinds.items() if name in values}
    found["round"] = int(values["round"])
    return found


def _metrics(values: dict[str, Any]) -> Metrics:
    return {
        str(name): math.nan if value is None else float(value)
        for name, value in values.items()
        if name != NOT_FINITE
    }
