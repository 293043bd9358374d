"""`flo demo` and `flo verify` from end to end, as a user has them; all that needs TensorFlow.

Every run is tiny: three parties, two aggregators, two rounds of breast cancer.
"""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site
from pydantic_core import from_json
from safetensors.numpy import load_file
from support.disk import disk_with_room_for, overwrite
from support.flo import Finished, finish, flo, start_flo

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.fixed_point import float_view
from fl_orchestrator.model.manifest import MAX_MANIFEST_BYTES, Manifest
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, read_vector

TINY = ["--parties", "3", "--aggregators", "2", "--rounds", "2"]
SAMPLED = ["--parties", "4", "--participants", "2", "--aggregators", "1", "--rounds", "2"]


def demo(directory: Path, *options: str) -> Finished:
    return flo("demo", *TINY, *options, "--out", directory)


def history_of(directory: Path) -> Any:
    return from_json((directory / "history.json").read_bytes())


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "run [1]"


@pytest.fixture(scope="module")
def said(directory: Path) -> list[str]:
    """What the demo that ran in ``directory`` printed."""
    return demo(directory).succeeded().out.splitlines()


@pytest.fixture(scope="module")
def run(directory: Path, said: list[str]) -> Path:
    """The directory of a run; tests only read it."""
    assert said
    return directory


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


# ---------------------------------------------------------------------- what a demo leaves


def test_a_demo_tells_of_every_round_and_of_what_it_was_good_for(
    run: Path, said: list[str]
) -> None:
    rounds = history_of(run)["rounds"]
    lines = [line.split() for line in said if line.split()[:1] in (["1"], ["2"])]
    assert lines == [
        [
            str(r["round"]),
            "3",
            "3",
            f"{r['accuracy']:.3f}",
            f"{r['loss']:.3f}",
            f"{r['gas']:,}",
            r["root"],
            r["cid"],
        ]
        for r in rounds
    ]
    text = "\n".join(said)
    for words in ("a party alone (mean)", "the federation", "all data pooled", "Total gas: "):
        assert words in text
    assert said[-1] == f"Check all of it yourself: flo verify {shlex.quote(str(run))}"
    assert all(line == line.rstrip() for line in said)


def test_the_directory_of_a_demo_holds_its_record_its_curves_and_its_models(run: Path) -> None:
    assert {entry.name for entry in run.iterdir()} == {
        ".flo-run",
        "aggregators",
        "blocks.jsonl",
        "curves.png",
        "deployments",
        "history.json",
        "model.keras",
        "model.safetensors",
        "models",
        "parties",
        "store",
    }
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    history = history_of(run)
    assert history["complete"] is True
    assert [r["accepted"] for r in history["rounds"]] == [True, True]
    assert history["gasTotal"] > sum(r["gas"] for r in history["rounds"])


def test_the_models_of_a_demo_are_its_head_to_the_bit(run: Path) -> None:
    import keras

    history, store = history_of(run), LocalStore(run / "store")
    with store.get(Cid.parse(history["manifestCid"]), MAX_MANIFEST_BYTES) as stream:
        manifest = Manifest.from_bytes(stream.read())
    meta = VectorMeta(VectorKind.GLOBAL, history["chainId"], history["federation"].lower(), 2)
    with store.get(Cid.parse(history["rounds"][-1]["cid"]), 1 << 20) as stream:
        state = read_vector(stream, manifest.layout, meta)[1]
    assert "0x" + tree_of(manifest.layout, state).root.hex() == history["rounds"][-1]["root"]

    head = float_view(manifest.layout, state)
    exported = load_file(run / "model.safetensors")
    model = keras.models.load_model(run / "model.keras", safe_mode=True)
    for tensor, values, weights in zip(manifest.tensors, head, model.get_weights(), strict=True):
        assert exported[tensor.name].tobytes() == values.tobytes()
        assert weights.tobytes() == values.tobytes()
    assert exported.keys() == {tensor.name for tensor in manifest.tensors}


def test_one_seed_gives_one_result_and_another_gives_another(run: Path, tmp_path: Path) -> None:
    again = demo(tmp_path / "again", "--json").succeeded()
    assert len(again.out.splitlines()) == 1
    assert again.err == ""
    history = history_of(run)
    head = history["rounds"][-1]
    seconds = again.json.pop("seconds")
    assert 0 < seconds < 600
    assert {k: v for k, v in again.json.items() if k != "seconds"} == {
        "dataset": "breast-cancer",
        "private": False,
        "model_sha256": history["exports"]["model.safetensors"],
        "seed": 0,
        "accuracy": history["comparison"]["accuracy"],
        "accuracy_alone_mean": history["comparison"]["accuracyAloneMean"],
        "accuracy_pooled": history["comparison"]["accuracyPooled"],
        "head_root": head["root"],
        "head_cid": head["cid"],
        "rounds": 2,
        "rounds_accepted": 2,
        "gas_total": history["gasTotal"],
    }
    assert history_of(tmp_path / "again") == history
    other = demo(tmp_path / "other", "--json", "--seed", "1", "--rounds", "1").succeeded()
    assert other.json["head_root"] != history["rounds"][0]["root"]


def test_one_seed_gives_one_result_with_a_sampled_draw_too(tmp_path: Path) -> None:
    runs = [
        flo("demo", *SAMPLED, "--rule", "median", "--json", "--out", tmp_path / name).succeeded()
        for name in ("first", "second")
    ]
    first, second = (history_of(tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert runs[0].json["head_root"] == runs[1].json["head_root"] == first["rounds"][-1]["root"]
    assert first["participants"] == 2
    assert "Verified: " in flo("verify", tmp_path / "first").succeeded().out


# ---------------------------------------------------------------------- checking it


def test_verify_recomputes_every_round_and_says_which_run_it_is(run: Path) -> None:
    history = history_of(run)
    roots = [r["root"] for r in history["rounds"]]
    checked = flo("verify", run, "--expect-head", roots[-1].upper().replace("0X", "0x"))
    lines = checked.succeeded().out.splitlines()
    assert lines[:2] == [
        f"round    {i}    3 updates  root {root}  recomputed and equal"
        for i, root in enumerate(roots, start=1)
    ]
    assert lines[2].startswith(f"Verified: 2 rounds, head {roots[-1]}, in ")
    identity = {
        "federation": history["federation"],
        "manifest_digest": "0x" + Cid.parse(history["manifestCid"]).digest.hex(),
        "genesis_root": history["genesisRoot"],
        "head_root": roots[-1],
    }
    assert [line.split()[-1] for line in lines[3:]] == list(identity.values())
    result = flo("verify", run, "--json").succeeded().json
    assert result.pop("seconds") < 60
    assert result == {"verified": True, "complete": True, "rounds": 2, **identity}

    flo("verify", run, "--expect-head", roots[0]).refused(1, f"its head is {roots[-1]}")


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    overwrite(path, content)


def model_of_round_1(directory: Path) -> Path:
    return directory / "store" / "pinned" / str(history_of(directory)["rounds"][0]["cid"])


def update_of_round_2(directory: Path) -> Path:
    for path in sorted((directory / "store" / "pinned").iterdir()):
        content = path.read_bytes()
        if b'"kind":"update"' in content and b'"round":"2"' in content:
            return path
    raise AssertionError("no update of round 2")


def final_model(directory: Path) -> Path:
    return directory / "model.safetensors"


# A vector has its tensors in the manifest's order, output/bias last; safetensors has another one.
# Each tensor starts at a multiple of 256.
@pytest.mark.parametrize(
    ("file", "round_number", "coordinate"),
    [
        (model_of_round_1, 1, "1024 (output/bias[0])"),
        (update_of_round_2, 2, "1024 (output/bias[0])"),
        (final_model, 2, "783 (output/kernel[15, 0])"),
    ],
)
def test_one_bit_in_a_stored_file_fails_with_its_round_and_coordinate(
    copy: Path, file: Callable[[Path], Path], round_number: int, coordinate: str
) -> None:
    flip(file(copy), -1)
    words = (f"Round {round_number}: ", f"the first wrong coordinate is {coordinate}.")
    flo("verify", copy).refused(1, *words)
    assert flo("verify", copy, "--json").refused(1, *words).out == ""


@pytest.mark.parametrize("bit", range(8))
def test_one_bit_in_a_root_of_the_history_fails_with_its_round(copy: Path, bit: int) -> None:
    history = copy / "history.json"
    root = history_of(copy)["rounds"][1]["root"].encode()
    flip(history, history.read_bytes().index(root) + 40, bit)
    refused = flo("verify", copy).refused(1)
    assert "ound 2" in refused.err or "not the record of a run" in refused.err


def test_one_bit_in_a_recorded_transaction_fails(copy: Path) -> None:
    blocks = copy / "blocks.jsonl"
    content = blocks.read_bytes()
    flip(blocks, content.rindex(b'"0x02') + 200)
    flo("verify", copy).refused(1, "Round ", "the recorded block")


def test_a_changed_keras_model_fails(copy: Path) -> None:
    flip(copy / "model.keras", 1000)
    flo("verify", copy).refused(1, "Round 2: the exported model.keras was changed")


def test_what_is_no_run_is_not_verified(tmp_path: Path) -> None:
    flo("verify", tmp_path / "none").refused(2, "cannot be read", "--out directory")
    flo("verify", tmp_path).refused(2, "cannot be read", "--out directory")
    (tmp_path / "history.json").write_text("{}")
    flo("verify", tmp_path).refused(1, "history.json is not the record of a run")


# ---------------------------------------------------------------------- where it goes


def test_a_directory_with_anything_else_is_left_alone(copy: Path, tmp_path: Path) -> None:
    (copy / "notes.txt").write_text("precious")
    before = sorted(copy.rglob("*"))
    demo(copy).refused(2, "holds notes.txt, which no demo wrote", "--out")
    assert sorted(copy.rglob("*")) == before

    (tmp_path / "mine" / "store").mkdir(parents=True)
    (tmp_path / "mine" / "history.json").write_text("{}")
    demo(tmp_path / "mine").refused(2, "holds history.json, which no demo wrote")
    assert (tmp_path / "mine" / "store").is_dir()

    (tmp_path / "file").write_text("precious")
    demo(tmp_path / "file").refused(2, "is a file")
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    demo(tmp_path / "link").refused(2, "is a file")


def test_an_earlier_run_stays_until_the_next_one_is_known_to_be_possible(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    crowd = ("--dataset", "digits", "--partition", "iid", "--parties", "120")
    for options, words in {
        ("--partition", "dirichlet:x"): "dirichlet:x",
        ("--partition", "column:hospital"): "hospital",
        ("--parties", "300"): "427 rows are too few for 300 parties",
        (*crowd,): "120 participants need room for 120",
        (*crowd, "--participants", "90"): "90 participants need room for 128",
    }.items():
        demo(copy, *options).refused(2, words)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with disk_with_room_for(10_000):
        refused = demo(tmp_path / "full")
    refused.refused(4, "File too large")
    assert refused.out.count("\n") < 10


def test_ctrl_c_leaves_a_readable_directory_and_the_demo_starts_over(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    process = start_flo("demo", *TINY, "--rounds", "1000", "--out", str(out))
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.split()[:1] == ["1"]:
            break
    process.send_signal(signal.SIGINT)
    stopped = finish(process)
    assert stopped.code == 130, "".join(said) + stopped.err
    assert stopped.err == (
        f"Error: Interrupted.\n{out} contains the record of the rounds so far: `flo verify {out}` "
        "checks it. Running the demo again starts from the beginning.\n"
    )
    lines = flo("verify", out).succeeded().out.splitlines()
    assert lines[-1] == (
        "The run was stopped before its end, so it has no comparison and no final model."
    )
    # Another process, the same seed: the same bits.
    assert history_of(run)["rounds"][0] == history_of(out)["rounds"][0]

    demo(out, "--rounds", "1", "--json").succeeded()
    assert history_of(out)["rounds"] == history_of(run)["rounds"][:1]
    assert history_of(out)["complete"] is True


def test_a_run_stopped_before_its_first_record_starts_over(tmp_path: Path) -> None:
    (tmp_path / ".flo-run").touch()
    (tmp_path / "parties").mkdir()
    flo("verify", tmp_path).refused(2, "was stopped before its first record")
    # It is accepted as the directory of a run; the options are not.
    demo(tmp_path, "--partition", "nonsense").refused(2, "nonsense")


# ---------------------------------------------------------------------- on a living chain


def test_deploying_a_task_gives_the_genesis_of_the_demo(
    run: Path, tmp_path: Path, checkout: Path
) -> None:
    with anvil_node(checkout, tmp_path / "anvil.log") as node, node.mining_at_once():
        site = Site(tmp_path, node)
        deployed = flo(
            *("federation", "create"),
            *("--dataset", "breast-cancer", "--parties", "3", "--store", site.store_url, "--json"),
            *site.key("owner"),
            *site.on_chain(),
        )
        assert deployed.succeeded().json["genesis_root"] == history_of(run)["genesisRoot"]
        assert np.isfinite(site.head_weights()["output/kernel"]).all()


def test_a_traceback_is_shown_with_debug_and_only_then(tmp_path: Path) -> None:
    plain = demo(tmp_path / "x", "--partition", "nonsense").refused(2, "nonsense")
    debug = flo("--debug", "demo", "--partition", "nonsense", "--out", tmp_path / "x")
    assert debug.code == 2
    assert debug.err.startswith("Traceback (most recent call last):")
    assert debug.err.endswith(plain.err)
