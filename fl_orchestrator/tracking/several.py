"""All trackers of a process together: what a command's ``--track`` options ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.json_text import word_for
from fl_orchestrator.printable import printable
from fl_orchestrator.roles.base import Step
from fl_orchestrator.tracking.background import Tracking
from fl_orchestrator.tracking.by_name import Opener, Place
from fl_orchestrator.tracking.event import Kind, federation_id

_FOLDER: Final = "tracking"
_LONGEST: Final = 1_000
# What structlog adds to an entry, and what names the entry itself.
_NOT_DETAILS: Final = frozenset({"event", "level", "timestamp", "exc_info"})


class Trackers:
    """The trackers of one federation; a worker beside the process's roles.

    With ``keep`` each one's position is kept below the place's home, so that a restart goes on.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        federation: Federation,
        deployed_at: int,
        place: Place,
        *,
        keep: bool = True,
    ) -> None:
        def tracking(name: str, opener: Opener) -> Tracking:
            digest = hashlib.sha256(name.encode()).hexdigest()[:16]
            path = place.home / _FOLDER / f"{place.role}-{digest}.json"
            shown = printable(name.partition("?")[0])
            return Tracking(
                shown, lambda: opener(place), federation, deployed_at, path if keep else None
            )

        self._all = [tracking(name, opener) for name, opener in openers.items()]

    def __bool__(self) -> bool:
        return bool(self._all)

    def step(self) -> Step:
        """Give each tracker the next events. Raises what the chain raises."""
        for tracking in self._all:
            tracking.step()
        return Step()

    def evaluated(self, round_number: int, metrics: Mapping[str, Any]) -> None:
        """Report the metrics of a round's model that this process measured."""
        for tracking in self._all:
            tracking.report(Kind.EVALUATED, round_number, metrics)

    def logged(self, entry: Mapping[str, Any]) -> None:
        """Report an error of the log as an alert. The log has no secrets, rows or updates."""
        number = entry.get("round")
        details = {k: _plain(v) for k, v in entry.items() if k not in _NOT_DETAILS | {"round"}}
        values = {"message": str(entry.get("event", ""))[:_LONGEST], **details}
        for tracking in self._all:
            tracking.report(Kind.ALERT, number if isinstance(number, int) else None, values)

    def close(self) -> None:
        """Let each tracker take what is left, for a limited time."""
        for tracking in self._all:
            tracking.close()


def place_of(federation: Federation, role: str, home: Any) -> Place:
    return Place(federation_id(federation.chain_id, federation.address), role, home)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return word_for(value) or value
    return str(value)[:_LONGEST]
