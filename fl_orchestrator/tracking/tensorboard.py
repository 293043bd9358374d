"""TensorBoard, by tensorboardX: its writer does not import TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from fl_orchestrator.tracking.event import Event
from fl_orchestrator.tracking.scalars import ScalarTracker


class TensorBoardTracker(ScalarTracker):
    """Writes event files into a directory: one point for each round, at the chain's time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(directory), write_to_disk=True)

    def write(self, event: Event, step: int, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step, walltime=event.time)

    def note(self, event: Event, text: str) -> None:
        self._writer.add_text(event.kind, text, event.round, walltime=event.time)

    def deliver(self, events: Sequence[Event]) -> None:
        super().deliver(events)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
