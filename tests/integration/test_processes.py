"""A federation of processes makes the same models as one in a single process."""

from __future__ import annotations

from pathlib import Path

from support.processes import deployed, roots, run_rounds, simulated, small_model, unhurried

from fl_orchestrator.service.local.federation import Plan

ROUNDS = 3
PLAN = Plan(parties=4, aggregators=2, seed=11)


def test_processes_and_a_simulation_make_the_same_bits(tmp_path: Path, checkout: Path) -> None:
    model, terms = small_model(PLAN.parties), unhurried(PLAN.parties)
    expected, secret_of = simulated(tmp_path / "simulation", PLAN, model, terms, ROUNDS)
    anvil = checkout / "node_modules/.bin/anvil"
    with deployed(
        tmp_path / "processes", anvil, PLAN, model, terms, secret_of=secret_of
    ) as federation:
        run_rounds(federation, ROUNDS, seconds=300)
        assert roots(federation) == expected
