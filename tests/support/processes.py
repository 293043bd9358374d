"""A federation of real processes, for tests that compare it with another one, or disturb it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web3 import Web3

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.types import ENDED, Observation
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.roles.masked.terms import PrivateTerms
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.service.local.federation import LocalFederation, Model, Plan
from fl_orchestrator.service.local.programs import anvil
from fl_orchestrator.service.local.supervisor import Supervisor
from fl_orchestrator.simulation.options import Options, manifest_for
from fl_orchestrator.simulation.simulation import Shape, Simulation
from fl_orchestrator.training import datasets
from fl_orchestrator.training.keras import KerasTrainer
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights
from fl_orchestrator.training.tasks import partition_dataset, task_named
from fl_orchestrator.training.trainer import Trainer
from support.federation import CLASSES, FEATURES, rows_of, small_manifest


def small_model(parties: int, **manifest: Any) -> Model:
    """The tests' logistic regression, with rows for each party."""
    rows = [rows_of(party) for party in range(parties)]
    return Model(small_manifest(**manifest), initial_weights(FEATURES, CLASSES), rows, CLASSES)


_KERAS_TRAINER = """\
from pathlib import Path

import numpy as np

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasTrainer
from fl_orchestrator.training.tasks import task_named


def make_trainer():
    data = np.load(Path(__file__).parent / "data.npz", allow_pickle=False)
    model = task_named({dataset!r}).keras_model({seed})
    return KerasTrainer(model, Rows(data["x"], data["y"]))
"""


def keras_model(dataset: str, parties: int, seed: int) -> tuple[Model, list[Trainer]]:
    """A task of the package with an even partition, and the trainers of all parties."""
    task = task_named(dataset)
    keras = task.keras_model(seed)
    rows = partition_dataset(task, datasets.load(dataset), "iid", parties, seed).parties
    manifest = manifest_for(task, keras, Options(dataset, parties, seed=seed))
    source = _KERAS_TRAINER.format(dataset=dataset, seed=seed)
    model = Model(manifest, keras.initial_weights, rows, task.outputs, source)
    return model, [KerasTrainer(keras, row) for row in rows]


def unhurried(parties: int, **changes: Any) -> Terms:
    """Terms by which every party is drawn, and phases end when all are done, not by their time."""
    settings = {
        "max_parties": parties,
        "participants": parties,
        "commit_period": 900,
        "reveal_period": 900,
        "attest_period": 900,
        "challenge_period": 600,
        "answer_period": 300,
        **changes,
    }
    return Terms(**settings)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A federation on a running chain, whose processes are not started yet."""

    local: LocalFederation
    chain: Federation
    store: ContentStore
    rpc: str

    def observe(self) -> Observation:
        return self.chain.observe(self.local.keeper.address)


@contextmanager
def deployed(
    directory: Path,
    program: Path,
    plan: Plan,
    model: Model,
    terms: Terms,
    *,
    stores: Sequence[str] = (),
    private: PrivateTerms | None = None,
    **options: Any,
) -> Iterator[Deployed]:
    """Run Anvil with a federation on it; further options are those of LocalFederation.

    With ``private`` terms it is a private one.
    """
    with ExitStack() as stack:
        local = LocalFederation(directory, plan, **options)
        rpc = stack.enter_context(anvil(program, directory / "chain"))
        web3: Web3 = connect(rpc)
        web3.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]
        urls = stores or [(directory / "store").as_uri()]
        chain = local.deploy(web3, urls[0], model, terms, private)
        web3.provider.make_request("evm_setIntervalMining", [1])  # type: ignore[arg-type]
        local.write_sites(chain, rpc, urls, model)
        yield Deployed(local, chain, open_store(urls[0]), rpc)


def simulated(
    directory: Path,
    plan: Plan,
    model: Model,
    terms: Terms,
    rounds: int,
    trainers: Sequence[Trainer] = (),
) -> tuple[list[bytes], Callable[[str], bytes]]:
    """The roots of ``rounds`` rounds of the same federation in this process, and its private keys.

    Every round includes all parties. ``trainers`` are logistic regressions unless given.
    """
    trainers = trainers or [NumpyLogistic(rows, CLASSES) for rows in model.rows]
    shape = Shape(plan.aggregators, rounds, plan.seed, terms)
    simulation = Simulation(directory, model.manifest, model.weights, trainers, shape)
    reports = [simulation.run_round() for _ in range(rounds)]
    assert all(report.accepted and report.included == plan.parties for report in reports)
    accounts = simulation.accounts
    secrets = {
        f"{role} {number}": bytes(signer._account.key)
        for role, signers in (("party", accounts.parties), ("aggregator", accounts.aggregators))
        for number, signer in enumerate(signers)
    }

    def secret_of(name: str) -> bytes:
        return secrets.get(name) or hashlib.sha256(name.encode()).digest()

    return [report.root for report in reports], secret_of


def roots(federation: Deployed) -> list[bytes]:
    """The roots of the accepted models."""
    height = federation.observe().head.height
    return [federation.chain.model(h).root for h in range(1, height + 1)]


def run_rounds(federation: Deployed, rounds: int, seconds: float) -> Observation:
    """Run all processes until ``rounds`` rounds have ended; return the last observation."""
    local = federation.local
    last = federation.observe().current.round + rounds
    children = [
        m.child(*(("--rounds", str(rounds)) if m is local.keeper else ())) for m in local.members()
    ]
    supervisor, deadline = Supervisor(children), time.monotonic() + seconds
    supervisor.start()
    try:
        while (seen := federation.observe()).current.round < last or (
            seen.current.phase not in ENDED
        ):
            supervisor.watch()
            assert time.monotonic() < deadline, f"{seen.current} after {seconds} s"
            time.sleep(0.5)
    finally:
        supervisor.stop()
    assert all(child.starts == 1 for child in children), "a process died"
    return seen
