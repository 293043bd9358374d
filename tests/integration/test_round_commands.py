"""`flo round` and `flo model`: the outcome of rounds, and their models computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.disk import overwrite
from support.disputes import (
    accept_a_lie,
    off_by_one,
    run_watchers,
    submit_updates,
    submit_vectors,
    update_vector,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation, small_manifest
from support.flo import Finished, flo
from support.gateway import gateway, giving, serving

import fl_orchestrator
from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.errors import FloError
from fl_orchestrator.model.manifest import TensorSpec

Flo = Callable[..., Finished]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[SmallFederation], Flo]:
    """`flo` on the chain of a federation in this process, with its store."""

    def on(federation: SmallFederation) -> Flo:
        web3 = federation.chain.web3
        monkeypatch.setattr(connect, "reach", lambda *_: Node(web3))
        store = f"file://{federation.directory}/store"
        monkeypatch.setenv("FLO_STORE", store)
        monkeypatch.setenv("FLO_DEPLOYMENTS", str(federation.directory / "deployments"))
        return flo

    return on


def a_round(federation: SmallFederation, number: int) -> None:
    """A round that everybody takes part in, with its right model."""
    submit_updates(federation, number)
    assert federation.aggregator(0).step().action == "attest"


def a_void_round(federation: SmallFederation) -> None:
    """A round in which nobody commits."""
    federation.pass_until(federation.open_round().current.commit_end)


def a_round_with_a_copy(federation: SmallFederation, number: int) -> None:
    """The second party has the numbers of the first; the third commits and does not reveal."""
    vectors = [update_vector(federation, party, number) for party in (0, 0, 1)]
    submit_vectors(federation, number, vectors, [1, 2, 3])
    assert federation.aggregator(0).step().action == "attest"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    """Round 1 is final, 2 void, 3 has a copy, 4 is revoked since nobody showed its model."""
    federation = vector_federation(
        tmp_path_factory.mktemp("history"), updates=3, challenge_period=7_200
    )
    a_round(federation, 1)
    a_void_round(federation)
    a_round_with_a_copy(federation, 3)
    federation.pass_until(federation.observe().finalizable_at)
    federation.send(federation.outsider, federation.federation.finalize())
    submit_updates(federation, 4)
    accept_a_lie(federation, withhold=True)
    run_watchers(federation, watcher(federation))
    return federation


def test_rounds_are_listed_with_what_became_of_them(
    history: SmallFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    flo = on(history)
    rounds = flo("round", "list", "--json").succeeded().json["rounds"]
    assert [(r["round"], r["outcome"], r["base"], r["height"]) for r in rounds] == [
        (1, "final", 0, 1),
        (2, "void", 1, None),
        (3, "accepted", 1, 2),
        (4, "revoked", 3, 3),
    ]
    counts = ("committed", "counted", "duplicates", "included")
    assert [tuple(r[key] for key in counts) for r in rounds] == [
        (3, 3, 0, 3),
        (0, 0, 0, None),
        (3, 2, 1, 2),
        (3, 3, 0, 3),
    ]
    signer = history.aggregators[0].address
    assert [r["signers"] for r in rounds] == [[signer], [], [signer], [signer]]
    for entry, height in ((rounds[0], 1), (rounds[2], 2)):
        model = history.federation.model(height)
        assert (entry["root"], entry["cid"]) == ("0x" + model.root.hex(), str(model.cid))
    times = [at for r in rounds for at in (r["opened_at"], r["accepted_at"]) if at]
    assert times == sorted(times)
    assert times[-1] < history.chain.now

    listed = flo("round", "list").succeeded().out.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [
        [str(r["round"]), r["outcome"]] for r in rounds
    ]
    assert rounds[3]["root"] in listed[4]
    last = flo("round", "list", "--last", "1").succeeded().out.splitlines()
    assert last[1].split() == listed[4].split()


def test_a_round_is_shown_with_everybody_in_it(
    history: SmallFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    flo = on(history)
    shown = flo("round", "show", "3", "--json").succeeded().json
    parties = [key.address for key in history.parties]
    assert [(u["party"], u["weight"], u["included"]) for u in shown["updates"]] == [
        (parties[0], 1, True),
        (parties[2], 3, True),
    ]
    assert [d["party"] for d in shown["duplicates"]] == [parties[1]]
    assert shown["duplicates"][0]["root"] == shown["updates"][0]["root"]
    (result,) = shown["results"]
    assert (result["accepted"], result["included"]) == (True, [0, 1])
    assert (result["proven_wrong_by"], shown["demands"], shown["slashes"]) == (None, [], [])

    text = flo("round", "show", "3").succeeded().out
    whole = [*parties, result["root"], result["cid"], history.aggregators[0].address]
    assert not [value for value in whole if value not in text]
    lines = [line.split() for line in text.splitlines() if line.startswith("0x")]
    fates = {line[0]: line[1] for line in lines if line[0] in parties}
    assert fates == dict(zip(parties, ("included", "duplicate", "included"), strict=True))


def test_a_dispute_is_shown_with_its_end(
    history: SmallFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    flo = on(history)
    shown = flo("round", "show", "--json").succeeded().json
    assert (shown["round"], shown["outcome"]) == (4, "revoked")
    watching, signer = history.outsider.address, history.aggregators[0].address
    (demand,) = shown["demands"]
    assert (demand["demander"], demand["answerer"]) == (watching, None)
    assert shown["results"][0]["proven_wrong_by"] == watching
    (slash,) = shown["slashes"]
    assert (slash["account"], slash["role"]) == (signer, "aggregator")
    assert slash["burnt_wei"] * 2 == slash["amount_wei"]

    text = flo("round", "show", "4").succeeded().out
    assert f"proven wrong by {watching}" in text
    assert "nobody" in text
    assert "Slashed" in text


def test_an_open_round_is_shown_as_far_as_it_is(
    tmp_path: Path, on: Callable[[SmallFederation], Flo]
) -> None:
    federation = vector_federation(tmp_path / "new", updates=3)
    flo = on(federation)
    assert flo("round", "list").succeeded().out == "No round has been opened yet.\n"
    flo("round", "show").refused(2, "There is no round 0", "None was opened yet")
    federation.send(federation.keeper_key, federation.federation.open_round())
    assert flo("round", "show", "--json").succeeded().json["outcome"] == "seeding"
    for _ in range(2):
        federation.chain.mine()
    federation.send(federation.keeper_key, federation.federation.open_round())
    shown = flo("round", "show", "--json").succeeded().json
    assert (shown["outcome"], shown["base"], shown["root"]) == ("commit", 0, None)
    for wrong in ("2", "99999"):
        flo("round", "show", wrong).refused(2, f"There is no round {wrong}", "the last one is 1")
    flo("round", "list", "--last", "0").refused(2, "--last")
    flo("model", "get", "--round", "1").refused(2, "Round 1 is not over: it is in commit")


# ---------------------------------------------------------------------- models


def test_every_model_of_the_history_is_computed_again(
    history: SmallFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    flo = on(history)
    said = flo("model", "verify", "--all").succeeded().out.splitlines()
    roots = ["0x" + history.federation.model(height).root.hex() for height in (1, 2)]
    assert said == [
        f"round    {number}    {updates} updates  root {root}  recomputed and equal"
        for number, updates, root in zip((1, 3), (3, 2), roots, strict=True)
    ]
    checked = flo("model", "verify", "--json").succeeded().json
    assert checked["equal"] is True
    assert [entry["round"] for entry in checked["rounds"]] == [3]
    assert flo("model", "verify", "--round", "1").succeeded().out == said[0] + "\n"


@pytest.mark.parametrize(("packed", "coordinate"), [(False, 1026), (True, 995)])
def test_a_wrong_model_is_named_with_its_first_wrong_coordinate(
    tmp_path: Path, on: Callable[[SmallFederation], Flo], packed: bool, coordinate: int
) -> None:
    federation = vector_federation(tmp_path / "wrong", updates=3, aggregators=2, packed=packed)
    flo = on(federation)
    a_lie_in = federation.manifest.layout.tensors[1].start + 2
    submit_updates(federation)
    accept_a_lie(federation, off_by_one(a_lie_in))
    for arguments in (["--all"], [], ["--round", "1"]):
        flo("model", "verify", *arguments).refused(
            1,
            "Round 1: the model on-chain is not the rule applied to its updates",
            f"the first wrong coordinate is {coordinate} (tail[2])",
        )
    claimed = federation.store.locate(federation.federation.head().cid)
    assert claimed is not None
    claimed.unlink()
    flo("model", "verify").refused(1, "Round 1: ", "file is not available", "is not in the store")


def test_an_update_that_cannot_be_had_is_named(
    tmp_path: Path, on: Callable[[SmallFederation], Flo]
) -> None:
    federation = vector_federation(tmp_path / "lost", updates=3)
    flo = on(federation)
    a_round(federation, 1)
    update = federation.federation.revealed_updates(0)[1]
    place = federation.store.locate(update.cid)
    assert place is not None
    content = place.read_bytes()
    for damaged in (True, False):
        if damaged:
            overwrite(place, content[:-1] + b"\xff")
        else:
            place.unlink()
        flo("model", "verify").refused(1, "Round 1 cannot be computed again", str(update.cid))
    # A gateway that returns other bytes changes nothing; one that has the content does.
    elsewhere = LocalStore(tmp_path / "elsewhere")
    with gateway(giving(content + b"x")) as lying:
        flo("model", "verify", "--gateways", lying.url).refused(1, str(update.cid))
    with gateway(serving(elsewhere)) as empty:
        flo("model", "verify", "--gateways", empty.url).refused(1, str(update.cid))
    with gateway(giving(content)) as honest:
        flo("model", "verify", "--gateways", honest.url).succeeded()


def test_the_model_of_any_round_is_written_in_any_format(
    history: SmallFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    flo = on(history)
    got = flo("model", "get", "--output", tmp_path / "head.safetensors", "--json").succeeded().json
    head = history.federation.head()
    assert (got["round"], got["root"]) == (3, "0x" + head.root.hex())
    first = tmp_path / "first.npz"
    flo("model", "get", "--round", "1", "--output", first).succeeded()
    other = tmp_path / "genesis.npz"
    said = flo("model", "get", "--round", "0", "--output", other, "--format", "npz").succeeded().out
    assert said.startswith("The model of round 0, root 0x")
    names = [tensor.name for tensor in history.manifest.tensors]
    models = [load_file(tmp_path / "head.safetensors"), dict(np.load(first)), dict(np.load(other))]
    for model in models:
        assert set(model) == set(names)
    assert all((models[2][name] == 0.25).all() for name in names)
    assert not np.array_equal(models[0]["body"], models[1]["body"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--round", "2"], 2, "Round 2 is void"),
        (["--round", "4"], 2, "Round 4 was revoked"),
        (["--round", "5"], 2, "There is no round 5"),
        (["--round", "-1"], 2, "--round"),
        (["--round", "many"], 2, "--round"),
        (["--format", "pickle"], 2, "There is no format 'pickle'"),
        (["--output", "model.txt"], 2, "There is no format 'txt'"),
        (["--output", "model.npz", "--format", "safetensors"], 2, "does not end in .safetensors"),
        (["--format", "keras"], 2, "your trainer defines its layers"),
        (["--store", "nonsense"], 2, "'nonsense' is not understood"),
        (["--federation", "0x" + "11" * 20], 3, "no federation of this version"),
        (["--federation", "0x12"], 2, "'0x12' is not an address"),
    ],
    ids=str,
)
def test_a_model_that_there_is_not_is_refused(
    history: SmallFederation,
    on: Callable[[SmallFederation], Flo],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    on(history)("model", "get", *arguments).refused(code, words)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_verified_is_refused(
    history: SmallFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    flo = on(history)
    flo("model", "verify", "--round", "4").refused(2, "Round 4 was revoked", "proven wrong")
    flo("model", "verify", "--round", "0").refused(2, "Genesis is not computed from updates")
    flo("model", "verify", "--round", "1", "--all").refused(
        2, "--round and --all exclude each other"
    )
    empty = ["--store", f"file://{tmp_path}/empty"]
    flo("model", "verify", *empty).refused(4, "is not in the store")
    new = vector_federation(tmp_path / "new", updates=3)
    flo = on(new)
    for arguments in ([], ["--all"]):
        said = flo("model", "verify", *arguments).succeeded().out
        assert said == "No round has been accepted yet; the only model is genesis.\n"
    flo("model", "verify", "--round", "1").refused(2, "There is no round 1")
    assert json.loads(flo("model", "verify", "--all", "--json").out)["rounds"] == []


def test_a_trainer_without_a_keras_model_makes_no_keras_file(
    history: SmallFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    trainer = tmp_path / "mine.py"
    trainer.write_text(
        "class Mine:\n"
        "    def fit(self, weights, config): ...\n"
        "    def evaluate(self, weights, config): ...\n"
        "def make_trainer(): return Mine()\n"
    )
    get = ["model", "get", "--output", tmp_path / "m.keras", "--trainer"]
    on(history)(*get, trainer).refused(2, "returns a trainer that is not a KerasTrainer")
    on(history)(*get, tmp_path / "none.py").refused(2, "none.py does not exist")


def test_a_model_of_any_round_is_evaluated_on_the_sites_own_data(
    history: SmallFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    trainer = tmp_path / "mine.py"
    trainer.write_text(
        "class Mine:\n"
        "    def fit(self, weights, config): ...\n"
        "    def evaluate(self, weights, config):\n"
        "        return float(weights[0].mean()), 7, {'round': config['round']}\n"
        "class Other(Mine):\n"
        "    def initial_weights(self): return {'other': [1.0]}\n"
        "class Empty(Mine):\n"
        "    def evaluate(self, weights, config): raise NotImplementedError\n"
    )
    evaluate = ["model", "evaluate", "--trainer", f"{trainer}:Mine"]
    first = on(history)(*evaluate, "--round", "0", "--json").succeeded().json
    assert (first["round"], first["rows"], first["metrics"]) == (0, 7, {"loss": 0.25, "round": 0})
    head = on(history)(*evaluate).succeeded().out
    assert head.startswith("The model of round 3, root 0x")
    assert "on 7 rows" in head
    assert "loss" in head
    on(history)(*evaluate, "--round", "2").refused(2, "Round 2 is void")
    other = ["model", "evaluate", "--trainer", f"{trainer}:Other"]
    on(history)(*other).refused(2, "The trainer's tensor other (1,)")
    empty = ["model", "evaluate", "--trainer", f"{trainer}:Empty"]
    assert "no validation rows" in on(history)(*empty).succeeded().out


def test_a_federation_is_read_and_verified_from_python(history: SmallFederation) -> None:
    federation = fl_orchestrator.Federation(history.federation, history.store)
    assert federation.head().round == 3
    assert [model.round for model in federation.models()] == [0, 1, 3]
    names = [tensor.name for tensor in history.manifest.tensors]
    assert list(federation.weights(0)) == names
    assert all((array == 0.25).all() for array in federation.weights(0).values())
    assert [result.round for result in federation.verify()] == [1, 3]
    (last,) = federation.verify(3)
    assert last.global_root == federation.head().root
    with pytest.raises(FloError, match="Round 2 is void"):
        federation.weights(2)


def test_a_model_that_has_reached_the_end_of_its_range_is_shown_with_its_tensors(
    tmp_path: Path, on: Callable[[SmallFederation], Flo], monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = (
        TensorSpec(name="dense/kernel", shape=(4, 2), offset=7),
        TensorSpec(name="dense/bias", shape=(2,)),
    )
    first = [np.full((4, 2), 1 - 2.0**-24, np.float32), np.zeros(2, np.float32)]
    federation = SmallFederation(
        tmp_path, parties=1, manifest=small_manifest(tensors=tensors), weights=first
    )
    federation.run_round(federation.everybody())
    flo = on(federation)
    shown = flo("round", "show", "--json").succeeded().json
    assert shown["saturated"] == ["dense/kernel"]
    assert "saturated" in flo("round", "show").succeeded().out
    monkeypatch.setenv("FLO_STORE", f"file://{tmp_path}/empty")
    without = flo("round", "show", "--json").succeeded()
    assert without.json["saturated"] is None
    assert "The model was not looked into" in without.err
    monkeypatch.delenv("FLO_STORE")
    assert flo("round", "show", "--json").succeeded().json["saturated"] is None


def test_a_report_has_every_round_and_the_lineage_of_the_head(
    history: SmallFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    flo = on(history)
    found = flo("report", "--json").succeeded().json
    assert [one["status"] for one in found["rounds"]] == ["final", "void", "accepted", "revoked"]
    assert [(one["round"], one.get("recomputed")) for one in found["lineage"]] == [
        (0, None),
        (1, "equal"),
        (3, "equal"),
    ]
    assert {"Demanded", "FraudProven", "RoundRevoked"} <= {d["name"] for d in found["disputes"]}
    file = tmp_path / "report.html"
    said = flo("report", "--out", file).succeeded().out
    assert found["lineage_digest"] in said
    page = file.read_text()
    assert "All 2 models were computed again" in page
    assert "4 opened" in page
    assert found["federation"]["headRoot"] in page


def test_a_report_without_a_store_checks_no_model_and_says_so(
    history: SmallFederation,
    on: Callable[[SmallFederation], Flo],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flo = on(history)
    monkeypatch.delenv("FLO_STORE")
    flo("report", "--out", tmp_path / "report.html").succeeded()
    assert "2 could not be checked" in (tmp_path / "report.html").read_text()


def test_a_report_that_cannot_be_written_is_a_sentence(
    history: SmallFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    done = on(history)("report", "--out", tmp_path / "missing" / "report.html")
    done.refused(4, "report.html")
