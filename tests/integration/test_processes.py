"""A federation of processes makes the same models as one in a single process."""

from __future__ import annotations

from pathlib import Path

from support.federation import CLASSES
from support.processes import deployed, run_rounds, small_model, unhurried

from fl_orchestrator.roles.simulation import Shape, Simulation
from fl_orchestrator.service.local.federation import Plan
from fl_orchestrator.training.numpy_logistic import NumpyLogistic

PARTIES, AGGREGATORS, ROUNDS, SEED = 4, 2, 3, 11


def test_processes_and_a_simulation_make_the_same_bits(tmp_path: Path, checkout: Path) -> None:
    model, terms = small_model(PARTIES), unhurried(PARTIES)
    trainers = [NumpyLogistic(rows, CLASSES) for rows in model.rows]
    shape = Shape(AGGREGATORS, ROUNDS, SEED, terms)
    simulation = Simulation(tmp_path / "simulation", model.manifest, model.weights, trainers, shape)
    simulated = [simulation.run_round() for _ in range(ROUNDS)]
    assert all(report.accepted and report.included == PARTIES for report in simulated)

    accounts = simulation.accounts
    secrets = {
        f"{role} {number}": bytes(signer._account.key)
        for role, signers in (("party", accounts.parties), ("aggregator", accounts.aggregators))
        for number, signer in enumerate(signers)
    }
    secrets |= {
        name: name.encode().rjust(32, b"\1") for name in ("owner 0", "keeper 0", "watcher 0")
    }
    with deployed(
        tmp_path / "processes",
        checkout / "node_modules/.bin/anvil",
        Plan(PARTIES, AGGREGATORS, seed=SEED),
        model,
        terms,
        secret_of=secrets.__getitem__,
    ) as federation:
        seen = run_rounds(federation, ROUNDS, seconds=300)
        models = [federation.chain.model(height) for height in range(1, ROUNDS + 1)]
    assert seen.head.height == ROUNDS
    assert [m.root for m in models] == [report.root for report in simulated]
    # A file names its federation, so its CID differs.
    assert len({m.cid for m in models}) == ROUNDS
