"""`flo report --contributions`: of a recorded run and of a chain, on the caller's own data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.federation import SmallFederation
from support.flo import flo
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node

TRAINERS = """
from support.federation import CLASSES, rows_of
from support.quadratic import Linear
from fl_orchestrator.training.numpy_logistic import NumpyLogistic

def make_party(number, parties):
    return Linear(number, parties)

def make_judge():
    return Linear(99, 1)

def make_logistic():
    return NumpyLogistic(rows_of(50), CLASSES)

class Blind(Linear):
    def evaluate(self, weights, config):
        return 0.0, 0, {}

def make_blind():
    return Blind(99, 1)
"""
RUN = ("--parties", 7, "--rounds", 2, "--aggregators", 1, "--epochs", 2, "--learning-rate", 0.1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "mine.py"
    path.write_text(TRAINERS)
    return path


@pytest.fixture(scope="module")
def run(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("record") / "run"
    flo("demo", "--trainer", file, *RUN, "--out", directory, "--json").succeeded()
    return directory


def test_a_recorded_run_is_reported_and_measured_the_same_by_everybody(
    run: Path, file: Path, tmp_path: Path
) -> None:
    asked = ("report", run, "--contributions", "--trainer", f"{file}:make_judge")
    sampled = (*asked, "--permutations", 14, "--seed", 3)
    once, again = (flo(*sampled, "--json").succeeded().json for _ in range(2))
    found = once["contributions"]
    assert json.dumps(found) == json.dumps(again["contributions"])
    assert (found["seed"], found["permutations"], found["measure"]) == (3, 14, "loss")
    assert [one["method"] for one in found["rounds"]] == ["sampled"] * 2
    assert sum(one["shapley"] for one in found["parties"]) == pytest.approx(found["gained"])
    assert found["rows"] == 20 + 99
    assert found["dataDigest"] is None
    assert found["leftOut"] == []
    assert [one["recomputed"] for one in once["lineage"][1:]] == ["equal"] * 2
    counts = ("drawn", "committed", "revealed", "included", "leftOut", "missedReveals")
    assert {tuple(one[c] for c in counts) for one in once["reliability"]} == {(2, 2, 2, 2, 0, 0)}

    page = tmp_path / "report.html"
    flo(*asked, "--measure=-mae", "--out", page).succeeded()
    text = page.read_text()
    assert "<h2>Contributions</h2>" in text
    assert "by the mae, where less is better" in text
    assert f"flo verify {run}" in text
    assert "--contributions --seed 0 --permutations 100 --measure=-mae" in text
    assert "the trainer does not say their digest" in text
    assert all(one["party"] in text for one in found["parties"])


def test_a_federation_on_a_chain_is_measured_on_the_rows_of_whoever_asks(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = SmallFederation(tmp_path)
    world.run_round(world.everybody())
    # The third party misses the second round.
    world.run_round([world.party(0), world.party(1), world.aggregator(0)], 2)
    monkeypatch.setattr(connect, "reach", lambda *_: Node(world.chain.web3))
    place = ("--store", f"file://{tmp_path}/store", "--deployments", f"{tmp_path}/deployments")
    asked = ("report", *place, "--contributions", "--trainer", f"{file}:make_logistic", "--json")
    found = flo(*asked).succeeded().json
    assert found["contributions"]["rows"] == 24
    assert len(found["contributions"]["dataDigest"]) == 64
    absent = world.parties[2].address
    rounds = {one["party"]: one["rounds"] for one in found["contributions"]["parties"]}
    assert rounds == {key.address: 2 - (key.address == absent) for key in world.parties}
    did = {one["party"]: one for one in found["reliability"]}
    assert (did[absent]["drawn"], did[absent]["included"]) == (2, 1)
    assert did[absent]["missedCommits"] == 1
    # An update that is gone takes its round out, and says so.
    gone = found["lineage"][1]["updates"][0]["cid"]
    for path in (tmp_path / "store").rglob(f"*{gone}*"):
        path.unlink()
    rest = flo(*asked).succeeded().json["contributions"]
    assert [one["round"] for one in rest["rounds"]] == [2]
    assert [one["round"] for one in rest["leftOut"]] == [1]
    assert gone in rest["leftOut"][0]["reason"]
    flo(*(a for a in asked if a != place[1] and a != "--store")).refused(2, "--store")


def test_a_private_federation_is_refused_with_what_sums_allow(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = SmallPrivateFederation(tmp_path)
    monkeypatch.setattr(connect, "reach", lambda *_: Node(world.chain.web3))
    place = ("--store", f"file://{tmp_path}/store", "--deployments", f"{tmp_path}/deployments")
    asked = ("report", *place, "--contributions", "--trainer", f"{file}:make_logistic")
    refused = flo(*asked, "--out", tmp_path / "report.html")
    refused.refused(2, "only their sum is public", "what the chain tells of each party")
    assert not (tmp_path / "report.html").exists()


def test_what_is_missing_is_a_sentence(run: Path, file: Path) -> None:
    asked = ("report", run, "--contributions", "--json")
    flo(*asked).refused(2, "Give --trainer")
    flo(*asked, "--trainer", f"{file}:make_blind").refused(2, "no validation rows")
    flo(*asked, "--trainer", f"{file}:make_judge", "--measure", "auc").refused(2, "loss, mae")
    flo(*asked, "--trainer", f"{file}:make_logistic").refused(2, "dense/kernel")
    flo("report", run, "--seed", 1).refused(2, "--contributions")
    flo("report", run.parent, "--json").refused(2, "history.json")


def test_a_run_of_a_data_set_brings_its_test_set(tmp_path: Path) -> None:
    options = ("--parties", 3, "--rounds", 1, "--aggregators", 1)
    flo("demo", *options, "--out", tmp_path / "run", "--json").succeeded()
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    found = flo("report", tmp_path / "run", "--contributions", "--json").succeeded().json
    measured = found["contributions"]
    assert -measured["rounds"][0]["all"] == history["rounds"][0]["loss"]
    assert measured["gained"] > 0
    assert len(measured["dataDigest"]) == 64
