"""Trackers of a simulation: they get the chain's events and what each round's model scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fl_orchestrator.audit.history import RoundEntry
from fl_orchestrator.simulation.simulation import Simulation
from fl_orchestrator.tracking.by_name import Opener
from fl_orchestrator.tracking.several import Trackers, place_of

_ROLE: Final = "simulation"


@contextmanager
def tracked(
    simulation: Simulation, directory: Path, openers: Mapping[str, Opener]
) -> Iterator[Callable[[RoundEntry], None]]:
    """Open trackers by their names; yields what to call after each round."""
    trackers = Trackers(
        openers,
        simulation.federation,
        simulation.deployed_at,
        place_of(simulation.federation, _ROLE, directory),
        keep=False,
    )

    def after(entry: RoundEntry) -> None:
        trackers.step()
        found = {"loss": entry.loss, "accuracy": entry.accuracy, **entry.metrics}
        known = {name: value for name, value in found.items() if value == value}
        if known:
            trackers.evaluated(entry.round, known)

    try:
        yield after
    finally:
        trackers.close()
