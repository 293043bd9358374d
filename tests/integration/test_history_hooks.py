"""A hook on accepted rounds over real contracts, where a watcher revokes a wrong model."""

from __future__ import annotations

from pathlib import Path

from fl_orchestrator.attacks.collusion import (
    await_judgement,
    corrupt,
    go_on,
    run_fraudulent_round,
    run_honest_round,
)
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.contract.history import HistoryFollower, HistoryHook
from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.simulation.options import Options


class Tracker(HistoryHook):
    """Keeps the models of the history as it is told of them, and the rounds in their order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.models: list[ModelView] = []

    def on_accepted(self, model: ModelView) -> None:
        self.told.append(f"+{model.round}")
        self.models.append(model)

    def on_revoked(self, model: ModelView) -> None:
        self.told.append(f"-{model.round}")
        assert self.models.pop() == model


def test_a_hook_of_a_simulation_sees_a_wrong_model_accepted_revoked_and_replaced(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path / "run", Options("digits", 3, 3, 3), watchers=1)
    federation = scene.federation
    tracker, late = Tracker(), Tracker()
    scene.simulation.follow(tracker)
    run_honest_round(scene, print)
    for number in range(3):
        corrupt(scene, number)
    fraud = run_fraudulent_round(scene)
    assert tracker.told == ["+1", "+2"]
    HistoryFollower(federation, tmp_path / "cursor.json").deliver(late)
    assert await_judgement(scene, fraud, print)
    assert tracker.told == ["+1", "+2", "-2"]
    go_on(scene, print)
    assert tracker.told == ["+1", "+2", "-2", "+3"]
    assert tracker.models == [federation.model(height) for height in (1, 2)]

    # One that was away meanwhile, and was started again, says the same.
    HistoryFollower(federation, tmp_path / "cursor.json").deliver(late)
    assert late.told == tracker.told
