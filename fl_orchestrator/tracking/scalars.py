"""The numbers of a round that trackers of experiments draw over rounds."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Final

from fl_orchestrator.tracking.event import Event, Kind
from fl_orchestrator.tracking.tracker import Tracker

_ROUND: Final = ("committed", "revealed", "included", "weight", "signers", "seconds", "height")
_MARKS: Final = {Kind.ROUND_VOID: "void", Kind.ROUND_REVOKED: "revoked"}


class ScalarTracker(Tracker, abc.ABC):
    """Reduces events to numbers by name, one step for each round; a subclass writes them.

    ``round/…`` are those of an accepted round, with 1 at ``round/void`` and ``round/revoked`` for
    those that had none; ``model/…`` are the metrics that this process measured.
    """

    @abc.abstractmethod
    def write(self, event: Event, step: int, numbers: Mapping[str, float]) -> None:
        """Write numbers, which are finite, at the step of a round."""

    @abc.abstractmethod
    def note(self, event: Event, text: str) -> None:
        """Write a text about a round."""

    def on_round_accepted(self, event: Event) -> None:
        self._write(event, {f"round/{name}": event.values.get(name) for name in _ROUND})

    def on_round_void(self, event: Event) -> None:
        self._mark(event)

    def on_round_revoked(self, event: Event) -> None:
        self._mark(event)
        self.note(event, f"Round {event.round} was proven wrong and revoked.")

    def on_evaluated(self, event: Event) -> None:
        self._write(event, {f"model/{name}": value for name, value in event.values.items()})

    def on_alert(self, event: Event) -> None:
        self.note(event, str(event.values.get("message", "")))

    def on_undone(self, event: Event) -> None:
        if event.values["was"] == Kind.ROUND_ACCEPTED:
            self.note(event, f"A reorganisation removed the accepted round {event.round}.")

    def _mark(self, event: Event) -> None:
        self._write(event, {f"round/{_MARKS[Kind(event.kind)]}": 1.0})

    def _write(self, event: Event, found: Mapping[str, object]) -> None:
        numbers = {
            name: float(value)
            for name, value in found.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        if numbers and event.round is not None:
            self.write(event, event.round, numbers)
