"""Watchers in a simulated federation: they take turns with everybody else."""

from __future__ import annotations

from pathlib import Path

from support.accounts import balance_of
from support.federation import CLASSES, FEATURES, consortium, small_manifest, trainers

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.watcher.watcher import Watcher
from fl_orchestrator.simulation.simulation import Shape, Simulation
from fl_orchestrator.training.numpy_logistic import initial_weights


def simulation(directory: Path, watchers: int, rounds: int = 2) -> Simulation:
    return Simulation(
        directory,
        small_manifest(),
        initial_weights(FEATURES, CLASSES),
        trainers(2),
        Shape(2, rounds, 0, consortium(2), watchers=watchers),
    )


def test_watchers_leave_honest_rounds_as_they_are(tmp_path: Path) -> None:
    watched, alone = simulation(tmp_path / "1", 2), simulation(tmp_path / "2", 0)
    for _ in range(2):
        with_watchers, without = watched.run_round(), alone.run_round()
        assert (with_watchers.root, with_watchers.gas) == (without.root, without.gas)
    assert watched.settle() == alone.settle()
    assert watched.observe().final_height == 2
    roles = [watched.watcher(number) for number in range(2)]
    for number, role in enumerate(roles):
        before = balance_of(watched.federation.web3, watched.accounts.watchers[number].address)
        assert isinstance(role, Watcher)
        while role.step().action:
            pass
        assert (role.alerts, role.busy) == ((), False)
        after = balance_of(watched.federation.web3, watched.accounts.watchers[number].address)
        assert before == after
    assert watched.observe().current.phase is Phase.ACCEPTED
