"""`flo manifest stats`: from a plan to the features of a manifest, in the clear and in private."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site, secret_of
from support.federation import small_manifest
from support.flo import finish, flo, start_flo

from fl_orchestrator import Aggregator, Connection, Keeper, LocalSigner, Party
from fl_orchestrator.model.manifest import read_manifest
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.simulation.run import NOT_EVALUATED, Labels, Run, shape_of
from fl_orchestrator.training.loading import load_function, load_trainer
from fl_orchestrator.training.preprocessing.statistics import (
    NAMES,
    StatisticsTrainer,
    statistics_of,
)
from fl_orchestrator.training.weights_file import load_weights

TRAINERS = """
import numpy as np
from fl_orchestrator.training.preprocessing.statistics import (
    Categories, Numbers, Plan, StatisticsTrainer,
)

NUMBERS = (Numbers("age", 0, 120), Numbers("pressure", 50, 250))
PLAN = Plan((*NUMBERS, Categories("sex", ("f", "m"))), 5000)
OTHER = Plan((Numbers("age", 0, 99),), 5000)

def site(number):
    draw = np.random.default_rng(number)
    rows = 40 + 300 * number
    return StatisticsTrainer(PLAN, {
        "age": draw.normal(60, 9, rows), "pressure": draw.normal(130, 15, rows),
        "sex": draw.choice(["f", "m", "x"], rows),
    })

def make_trainer():
    return site(0)

def other():
    return StatisticsTrainer(OTHER, {"age": [1.0]})

class Model:
    def fit(self, weights, config):
        return weights, 1, {}
    def evaluate(self, weights, config):
        return 0.0, 1, {}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stats.py"
    path.write_text(TRAINERS)
    return path


def made(file: Path, *options: str) -> Path:
    """The manifest of the federation of sums."""
    manifest = file.with_name("sums.json")
    written = ("--output", manifest, "--weights", file.with_name("sums.safetensors"))
    flo("manifest", "stats", "--trainer", file, "--create", *written, *options).succeeded()
    return manifest


def sites(file: Path, count: int) -> list[StatisticsTrainer]:
    site, _, _ = load_function(f"{file}:site", "site")
    return [site(number) for number in range(count)]


def pooled(count: int) -> tuple[float, float]:
    """The mean and the deviation of all ages."""
    draws = [np.random.default_rng(n).normal(60, 9, 40 + 300 * n) for n in range(count)]
    ages = np.concatenate(draws)
    return float(ages.mean()), float(ages.std())


@pytest.mark.parametrize("private", [False, True])
def test_one_round_sums_all_rows(file: Path, tmp_path: Path, private: bool) -> None:
    manifest = read_manifest(made(file, *["--private"] * private))
    plan = load_trainer(str(file)).plan
    first = load_weights(file.with_name("sums.safetensors"), plan.tensors)
    shape = shape_of(
        parties=4,
        participants=4,
        aggregators=4,
        rounds=1,
        seed=0,
        rule=RuleKind.WEIGHTED_MEAN,
        private=private,
    )
    (tmp_path / "run").mkdir()
    run = Run(
        tmp_path / "run",
        manifest,
        first,
        sites(file, 4),
        shape,
        Labels("sums", "own"),
        lambda _report, _weights: NOT_EVALUATED,
    )
    entry = run.run_round()
    assert (entry.included, entry.clipped) == (4, 0)
    weights = dict(zip(NAMES, run.simulation.head_weights(), strict=True))
    found = statistics_of(plan, weights, entry.included)
    mean, deviation = pooled(4)
    assert found.rows == found.numbers["age"].rows == sum(40 + 300 * n for n in range(4))
    assert found.numbers["age"].mean == pytest.approx(mean, abs=1e-4)
    assert found.numbers["age"].scale == pytest.approx(deviation, rel=1e-4)
    assert sum(found.categories["sex"].values()) == found.rows


@pytest.fixture
def site(tmp_path: Path, checkout: Path) -> Iterator[Site]:
    with anvil_node(checkout, tmp_path / "log") as node:
        yield Site(tmp_path, node)


def test_the_command_writes_the_features_of_another_manifest(site: Site, file: Path) -> None:
    d = site.directory
    sums = made(file)
    model = d / "manifest.json"
    create = ("--manifest", sums, "--weights", d / "sums.safetensors", "--parties", 2)
    names = ("hospital", "clinic", "university")
    keys = {name: site.key(name) for name in (*names, "owner", "keeper")}
    with site.node.mining_at_once():
        owned = (*keys["owner"], *site.on_chain())
        flo("federation", "create", *create, "--store", site.store_url, *owned).succeeded()
        for name, role in zip(names, ("party", "party", "aggregator"), strict=True):
            flo("federation", "admit", site.address(name), "--role", role, *owned).succeeded()
    read = (*site.on_chain(), "--store", site.store_url, "--trainer", file)
    flo("manifest", "stats", *read).refused(2, "No round was accepted yet")

    def here(name: str) -> Connection:
        return Connection(
            rpc=site.node.url,
            federation=site.federation.address,
            store=site.store_url,
            key=LocalSigner.from_secret(secret_of(name)),
            home=d / "home",
        )

    one, two = sites(file, 2)
    with (
        Party(here("hospital"), one) as hospital,
        Party(here("clinic"), two) as clinic,
        Aggregator(here("university")) as university,
        Keeper(here("keeper")) as keeper,
    ):
        with site.node.mining_at_once():
            for member in (hospital, clinic, university):
                member.register()
        running = [
            threading.Thread(target=university.run),
            threading.Thread(target=clinic.run, args=(1,)),
            threading.Thread(target=keeper.run, args=(1,)),
        ]
        for thread in running:
            thread.start()
        hospital.run(rounds=1)
        for thread in running[1:]:
            thread.join()
        university.stop()
        running[0].join()
    shown = flo("manifest", "stats", *read, "--json").succeeded().json
    mean, deviation = pooled(2)
    assert (shown["updates"], shown["rows"]) == (2, 380)
    assert shown["numbers"]["age"]["mean"] == pytest.approx(mean, abs=1e-4)
    before = small_manifest()
    written = flo("manifest", "stats", *read, "--manifest", model).succeeded()
    assert "380 rows at 2 sites, recomputed and equal" in written.out
    after = read_manifest(model)
    assert after.features is not None
    assert after.features.scale[0] == pytest.approx(deviation, rel=1e-4)
    assert len(after.features.mean) == 2
    assert json.loads(after.to_bytes()) == {
        **json.loads(before.to_bytes()),
        "features": json.loads(after.to_bytes())["features"],
    }
    other = (*read[:-1], f"{file}:other")
    flo("manifest", "stats", *other).refused(2, "does not sum what this trainer's plan says")


def test_the_typed_commands_work_in_a_private_federation(site: Site, file: Path) -> None:
    """As docs/trainers.md shows them: a process for each member, and the sites' own files."""
    d = site.directory
    made(file, "--private")
    parties, seats = ("hospital", "clinic", "university"), ("first", "second", "third")
    keys = {name: site.key(name) for name in (*parties, *seats, "owner", "keeper")}
    create = ("--manifest", d / "sums.json", "--weights", d / "sums.safetensors", "--parties", 3)
    owned = (*keys["owner"], *site.on_chain())
    with site.node.mining_at_once():
        flo(
            "federation", "create", "--private", *create, "--store", site.store_url, *owned
        ).succeeded()
        for role, names in (("party", parties), ("aggregator", seats)):
            accounts = [site.address(name) for name in names]
            flo("federation", "admit", *accounts, "--role", role, *owned).succeeded()
            for name in names:
                home = ("--home", d / "home")
                flo(role, "register", *keys[name], *site.on_chain(), *home).succeeded()
    processes = []
    for number, name in enumerate(parties):
        own = d / f"{name}.py"
        own.write_text(f"{TRAINERS}\n\ndef own():\n    return site({number})\n")
        run = ("party", "run", *site.working(name), "--trainer", f"{own}:own", "--rounds", "1")
        processes.append(start_flo(*run))
    seated = [start_flo("aggregator", "run", *site.working(name)) for name in seats]
    try:
        processes.append(start_flo("keeper", "run", *site.working("keeper"), "--rounds", "1"))
        for process in processes:
            finish(process, timeout=240).succeeded()
    finally:
        for process in (*processes, *seated):
            process.terminate()
            process.communicate()
    read = (*site.on_chain(), "--store", site.store_url, "--trainer", file)
    shown = flo("manifest", "stats", *read, "--json").succeeded().json
    mean, deviation = pooled(3)
    assert (shown["updates"], shown["rows"]) == (3, 1_020)
    assert shown["numbers"]["age"]["mean"] == pytest.approx(mean, abs=1e-4)
    written = flo("manifest", "stats", *read, "--manifest", d / "manifest.json").succeeded()
    assert "1,020 rows at 3 sites, recomputed and equal" in written.out
    features = read_manifest(d / "manifest.json").features
    assert features is not None
    assert features.scale[0] == pytest.approx(deviation, rel=1e-4)
    # What the store has of single sites is masked.
    stored = [path.read_bytes() for path in (d / "store").rglob("*") if path.is_file()]
    assert not any(b'"kind":"update"' in each for each in stored)
    assert sum(b'"kind":"masked"' in each for each in stored) >= 3


def test_what_is_no_plan_is_refused(file: Path, tmp_path: Path) -> None:
    flo("manifest", "stats", "--create").refused(2, "--trainer")
    refused = flo("manifest", "stats", "--trainer", f"{file}:Model", "--create")
    refused.refused(2, "no StatisticsTrainer")
    made(file)
    again = flo(
        "manifest", "stats", "--trainer", file, "--create", "--output", tmp_path / "sums.json"
    )
    again.refused(2, "exists already")
