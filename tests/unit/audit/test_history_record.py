"""The record of a run: what was saved is loaded, and anything else is refused in words."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from fl_orchestrator import files
from fl_orchestrator.audit import history as module
from fl_orchestrator.audit.history import (
    HISTORY,
    Comparison,
    DamagedRun,
    History,
    RoundEntry,
    UnreadableRun,
    file_sha256,
)
from fl_orchestrator.json_text import word_for

ROOT = "0x" + "ab" * 32
ENTRY = RoundEntry(
    round=1,
    accepted=True,
    drawn=3,
    committed=3,
    included=2,
    accuracy=0.5,
    loss=1.25,
    clipped=0.0,
    gas=1000,
    gas_by_call={"commit": 600, "reveal": 400},
    root=ROOT,
    cid="bafkreiexample",
)
RUN = History(
    dataset="digits",
    partition="iid",
    rule="median",
    seed=7,
    parties=3,
    aggregators=1,
    participants=3,
    chain_id=5,
    federation="0x" + "Cd" * 20,
    chain_head=ROOT,
    genesis_root=ROOT,
    genesis_cid="bafkreigenesis",
    manifest_cid="bafkreimanifest",
    rounds=(ENTRY,),
    comparison=Comparison(accuracy=0.9, accuracy_alone_mean=0.7, accuracy_pooled=0.95),
    gas_total=12_345,
    exports={"model.safetensors": ROOT},
    complete=True,
)


def as_json() -> Any:
    return json.loads(RUN.model_dump_json())


def write(directory: Path, content: Any) -> Path:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (directory / HISTORY).write_bytes(data)
    return directory


def test_a_run_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    RUN.save(tmp_path)
    assert History.load(tmp_path) == RUN
    assert [path.name for path in tmp_path.iterdir()] == [HISTORY]


def test_a_run_without_rounds_is_a_run(tmp_path: Path) -> None:
    started = RUN.model_copy(update={"rounds": (), "comparison": None, "complete": False})
    started.save(tmp_path)
    assert History.load(tmp_path) == started


def test_the_keys_are_those_that_scripts_read(tmp_path: Path) -> None:
    RUN.save(tmp_path)
    saved = json.loads((tmp_path / HISTORY).read_text())
    assert saved["chainHead"] == ROOT
    assert saved["rounds"][0]["gasByCall"] == {"commit": 600, "reveal": 400}
    assert saved["comparison"]["accuracyAloneMean"] == 0.7


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_run_that_diverged_is_still_readable(tmp_path: Path, value: float) -> None:
    """And by everybody: JSON has no word for it but null."""
    diverged = RUN.model_copy(update={"rounds": (ENTRY.model_copy(update={"loss": value}),)})
    diverged.save(tmp_path)
    saved = json.loads((tmp_path / HISTORY).read_text(), parse_constant=pytest.fail)
    assert saved["rounds"][0]["loss"] is None
    assert saved["rounds"][0]["not_finite"] == {"loss": word_for(value)}
    assert math.isnan(History.load(tmp_path).rounds[0].loss)


def test_an_interrupted_save_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RUN.save(tmp_path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RUN.model_copy(update={"rounds": ()}).save(tmp_path)
    assert History.load(tmp_path) == RUN
    monkeypatch.undo()
    RUN.model_copy(update={"rounds": ()}).save(tmp_path)
    assert History.load(tmp_path).rounds == ()


def test_a_file_is_replaced_only_when_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append("sync")
        fsync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        events.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    files.write_whole(path, "new")
    assert events == ["sync", "replace", "sync"]
    assert path.read_text() == "new"


def test_a_link_in_the_place_of_the_temporary_file_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    (tmp_path / ".file.new").symlink_to(tmp_path / "outside")
    files.write_whole(tmp_path / "file", "new")
    assert (tmp_path / "outside").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "new"


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRun, match="cannot be read: No such file") as refusal:
        History.load(tmp_path)
    assert refusal.value.hint == "Give the --out directory of a run."


def test_a_directory_in_the_place_of_the_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / HISTORY).mkdir()
    with pytest.raises(UnreadableRun, match="cannot be read"):
        History.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"null",
        b"5",
        b"[]",
        b"{}",
        b"[" * 200_000,
        b'{"rounds":' * 100_000,
        b"1" * 10_000,
    ],
    ids=lambda content: str(content[:12]),
)
def test_what_is_not_a_record_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DamagedRun, match="is not the record of a run"):
        History.load(write(tmp_path, content))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("seed",), "7"),
        (("seed",), 7.5),
        (("parties",), None),
        (("rounds",), {}),
        (("rounds", 0, "round"), "1"),
        (("rounds", 0, "accepted"), 1),
        (("rounds", 0, "loss"), "NaN"),
        (("rounds", 0, "root"), None),
        (("rounds", 0, "gasByCall"), {"commit": "1"}),
        (("rounds", 0, "surprise"), 1),
        (("comparison", "accuracy"), "high"),
        (("exports", "model.keras"), 5),
        (("surprise",), 1),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    run = as_json()
    place = run
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    expected = f"round 1: {path[2]}" if path[0] == "rounds" and len(path) > 2 else path[0]
    with pytest.raises(DamagedRun, match=expected):
        History.load(write(tmp_path, run))


def test_a_root_that_is_none_is_left_to_the_auditor(tmp_path: Path) -> None:
    """One flipped bit makes a letter of a digit; the auditor says in which round."""
    run = as_json()
    run["rounds"][0]["root"] = ROOT[:-1] + "q"
    assert History.load(write(tmp_path, run)).rounds[0].root.endswith("q")


def test_an_enormous_record_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_HISTORY_BYTES", 1000)
    with pytest.raises(DamagedRun, match="too large"):
        History.load(write(tmp_path, b" " * 1001))


def test_the_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == (
        "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
