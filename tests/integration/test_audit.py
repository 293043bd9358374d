"""The audit of a recorded run: it believes nothing, and names the place of what was changed."""

from __future__ import annotations

import dataclasses
import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.abi import function_signature_to_4byte_selector
from support.disk import overwrite
from support.federation import small_manifest
from support.recorded import record_run

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.audit import auditor
from fl_orchestrator.audit.auditor import Audit, WrongRecord
from fl_orchestrator.audit.history import (
    BLOCKS,
    HISTORY,
    SAFETENSORS,
    STORE,
    DamagedRun,
    History,
    UnreadableRun,
    file_sha256,
)
from fl_orchestrator.chain.contract.code import found
from fl_orchestrator.chain.deployment import migrate
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.vector_file import VectorKind, in_blocks
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.manifests import manifest_cid

LAYOUT = small_manifest().layout
# The kernel has eight values, the bias two; each is padded to 256.
PLACES = {0: "0 (dense/kernel[0, 0])", 7: "7 (dense/kernel[3, 1])", 9: "257 (dense/bias[1])"}
Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[History]]:
    """A run of two rounds, and its history after each of them."""
    directory = tmp_path_factory.mktemp("good")
    return directory, record_run(directory, rounds=2)


@pytest.fixture
def good(recorded: tuple[Path, list[History]]) -> Path:
    return recorded[0]


@pytest.fixture
def run(good: Path, tmp_path: Path) -> Path:
    """A copy of a good run, to be spoilt."""
    return Path(shutil.copytree(good, tmp_path / "run"))


def audit(directory: Path, tmp_path: Path) -> list[Result]:
    checked = Audit(directory, tmp_path / "workspace")
    rounds = list(checked.rounds())
    checked.check_exports()
    return rounds


def refusal(directory: Path, tmp_path: Path) -> str:
    with pytest.raises(WrongRecord) as refused:
        audit(directory, tmp_path)
    assert refused.value.exit_code == 1
    return refused.value.message


def flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    overwrite(path, data)


def stored(run: Path, cid: str) -> Path:
    place = LocalStore(run / STORE).locate(Cid.parse(cid))
    assert place is not None
    return place


def model_of(run: Path, round_number: int) -> Path:
    history = History.load(run)
    cid = history.genesis_cid if round_number == 0 else history.rounds[round_number - 1].cid
    return stored(run, cid)


def updates_of(run: Path, round_number: int) -> list[Path]:
    """The update files of a round, by their metadata."""
    marker = f'"kind":"update","round":"{round_number}"'.encode()
    files = sorted((run / STORE / "pinned").iterdir())
    return [path for path in files if marker in path.read_bytes()[:400]]


def change_history(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = run / HISTORY
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def change_block(run: Path, number: int, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change line ``number`` of the blocks; the genesis is line 0."""
    path = run / BLOCKS
    lines = path.read_text().splitlines()
    block = json.loads(lines[number])
    change(block)
    lines[number] = json.dumps(block)
    path.write_text("\n".join(lines) + "\n")


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


# A run that is right


def test_a_good_run_is_verified_and_left_as_it_was(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    history = History.load(run)
    rounds = audit(run, tmp_path)
    assert [(r.round, r.included) for r in rounds] == [(1, 0b11), (2, 0b11)]
    assert ["0x" + r.global_root.hex() for r in rounds] == [entry.root for entry in history.rounds]
    assert Audit(run, tmp_path / "again").head_root == history.rounds[-1].root
    assert contents(run) == before


def test_an_audit_needs_the_record_and_the_store_alone(run: Path, tmp_path: Path) -> None:
    for private in ("parties", "aggregators", "models", "deployments"):
        shutil.rmtree(run / private)
    assert len(audit(run, tmp_path)) == 2


def test_the_blocks_of_an_interrupted_round_do_not_matter(
    run: Path, tmp_path: Path, recorded: tuple[Path, list[History]]
) -> None:
    """The blocks are written before history.json, which has not come to the second round yet."""
    recorded[1][0].save(run)
    with (run / BLOCKS).open("r+b") as file:
        file.truncate(file.seek(-100, 2))
    assert [checked.round for checked in audit(run, tmp_path)] == [1]


# One bit of a stored file


@pytest.mark.parametrize(("round_number", "position"), [(0, 7), (1, 0), (1, 9), (2, 7)])
def test_a_flipped_bit_of_a_stored_model_is_named(
    run: Path, tmp_path: Path, round_number: int, position: int
) -> None:
    path = model_of(run, round_number)
    start = path.stat().st_size - LAYOUT.parameters * VectorKind.GLOBAL.dtype.itemsize
    flip(path, start + 4 * position + 2, bit=5)
    message = refusal(run, tmp_path)
    assert message.startswith(f"Round {round_number}: the stored model {path.name} was changed")
    assert message.endswith(f"the first wrong coordinate is {PLACES[position]}.")


@pytest.mark.parametrize(("round_number", "position"), [(1, 9), (2, 0)])
def test_a_flipped_bit_of_a_stored_update_is_named(
    run: Path, tmp_path: Path, round_number: int, position: int
) -> None:
    path = updates_of(run, round_number)[1]
    start = path.stat().st_size - LAYOUT.parameters * VectorKind.UPDATE.dtype.itemsize
    flip(path, start + 2 * position + 1, bit=7)
    message = refusal(run, tmp_path)
    assert message.startswith(f"Round {round_number}: the stored update {path.name} of 0x")
    assert message.endswith(f"was changed; the first wrong coordinate is {PLACES[position]}.")


@pytest.mark.parametrize("kind", ["model", "update"])
def test_a_flipped_bit_of_a_header_is_no_coordinate(run: Path, tmp_path: Path, kind: str) -> None:
    path = model_of(run, 1) if kind == "model" else updates_of(run, 1)[0]
    flip(path, 20)
    message = refusal(run, tmp_path)
    assert message.startswith("Round 1: ")
    assert "header" in message
    assert "no coordinate" in message


def test_a_changed_manifest_is_named(run: Path, tmp_path: Path) -> None:
    flip(stored(run, str(manifest_cid(small_manifest().digest))), 50)
    assert refusal(run, tmp_path).startswith("Round 0: the stored manifest was changed")


def test_any_flipped_bit_of_a_stored_file_or_block_is_refused(good: Path, tmp_path: Path) -> None:
    """A bit here and there, of every file that the chain has a root or a hash of."""
    chosen = random.Random(0)
    files = sorted((good / STORE / "pinned").iterdir())
    blocks = good / BLOCKS
    end = len(blocks.read_bytes()) - 1  # without the last line's end
    for number, original in enumerate([*files, blocks, blocks, blocks]):
        run = Path(shutil.copytree(good, tmp_path / f"run {number}"))
        path = run / original.relative_to(good)
        size = end if original == blocks else path.stat().st_size
        flip(path, chosen.randrange(size), bit=chosen.randrange(8))
        with pytest.raises(VerificationError, match=r"^Round [012]: "):
            audit(run, tmp_path / f"audit {number}")


# The exported model


@pytest.mark.parametrize("position", [7, 9])
def test_a_flipped_bit_of_the_exported_model_is_named(
    run: Path, tmp_path: Path, position: int
) -> None:
    path = run / SAFETENSORS
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    name = PLACES[position].partition("(")[2].partition("[")[0]
    tensor = next(tensor for tensor in LAYOUT.tensors if tensor.name == name)
    start, _ = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    flip(path, 8 + length + start + 4 * (position - tensor.start), bit=1)
    assert refusal(run, tmp_path) == (
        "Round 2: the exported model.safetensors was changed; "
        f"the first wrong coordinate is {PLACES[position]}."
    )


def test_an_exported_model_that_is_not_the_heads_is_named(run: Path, tmp_path: Path) -> None:
    """Although its sha256 is the recorded one."""
    path = run / SAFETENSORS
    flip(path, path.stat().st_size - 1)
    digest = file_sha256(path)
    change_history(run, lambda record: record.update(exports={SAFETENSORS: digest}))
    message = refusal(run, tmp_path)
    assert message.startswith("Round 2: the exported model.safetensors is wrong; the first wrong")


def test_an_exported_model_that_is_missing_or_foreign_is_refused(run: Path, tmp_path: Path) -> None:
    (run / SAFETENSORS).write_bytes(b"\x80\x04K\x01.")
    assert "was changed; it cannot be read" in refusal(run, tmp_path)
    (run / SAFETENSORS).unlink()
    assert refusal(run, tmp_path) == "Round 2: the exported model.safetensors is missing."
    change_history(run, lambda record: record.update(exports={"../../etc/passwd": "0x00"}))
    assert refusal(run, tmp_path) == "Round 2: the exported ../../etc/passwd is missing."


def test_a_complete_run_has_all_its_exports(run: Path, tmp_path: Path) -> None:
    change_history(run, lambda record: record.update(complete=True))
    assert "does not list the exported models" in refusal(run, tmp_path)


# history.json


@pytest.mark.parametrize(
    ("round_number", "digit", "bit"), [(1, 2, 0), (1, 65, 6), (2, 33, 1), (2, 65, 4)]
)
def test_a_flipped_bit_of_a_root_in_the_history_is_named(
    run: Path, tmp_path: Path, round_number: int, digit: int, bit: int
) -> None:
    def change(record: dict[str, Any]) -> None:
        entry = record["rounds"][round_number - 1]
        root = bytearray(entry["root"].encode())
        root[digit] ^= 1 << bit
        entry["root"] = root.decode()

    change_history(run, change)
    message = refusal(run, tmp_path)
    assert message.startswith(f"Round {round_number}: history.json has the root 0x")
    assert "no coordinate of the model is concerned" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"genesisRoot": "0x" + "00" * 32}, "Round 0: history.json has the root 0x00"),
        ({"genesisCid": "bafk"}, "Round 0: history.json has the CID bafk"),
        ({"manifestCid": "bafk"}, "Round 0: history.json has the manifest CID bafk"),
        ({"chainId": 1}, "Round 0: history.json has the chain id 1"),
        ({"chainHead": "0x" + "00" * 32}, "Round 2: no recorded block has the hash 0x00"),
        ({"chainHead": "zz"}, "Round 2: no recorded block has the hash zz"),
        ({"federation": "0x" + "00" * 20}, "Round 0: there is no federation at 0x00"),
        ({"federation": "zz"}, "Round 0: there is no federation at zz"),
        ({"rule": "median"}, "Round 0: history.json has the rule median, the chain weighted-mean"),
        ({"rounds": []}, "Round 2: history.json has the number of rounds 0, the chain 2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_history_that_is_not_the_chains_is_refused(
    run: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    change_history(run, lambda record: record.update(change))
    assert refusal(run, tmp_path).startswith(words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accepted": False}, "Round 2: history.json has the acceptance False, the chain True"),
        ({"round": 3}, "Round 2: history.json has the number 3, the chain 2"),
        ({"cid": "bafk"}, "Round 2: history.json has the CID bafk"),
        (
            {"included": 1},
            "Round 2: history.json has the number of included updates 1, the chain 2",
        ),
    ],
    ids=str,
)
def test_a_round_that_is_not_the_chains_is_refused(
    run: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    change_history(run, lambda record: record["rounds"][1].update(change))
    assert refusal(run, tmp_path).startswith(words)


def test_a_round_that_was_added_is_refused(run: Path, tmp_path: Path) -> None:
    change_history(run, lambda record: record["rounds"].append({**record["rounds"][1], "round": 3}))
    assert "Round 3: history.json has the acceptance True" in refusal(run, tmp_path)


# The recorded blocks


def block_numbers(run: Path, with_transactions: bool) -> list[int]:
    lines = (run / BLOCKS).read_text().splitlines()[1:]
    full = [bool(json.loads(line)["transactions"]) for line in lines]
    return [number for number, has in enumerate(full, start=1) if has is with_transactions]


@pytest.mark.parametrize(
    ("which", "place"), [(0, 0.0), (0, 0.7), (3, 0.05), (-2, 0.5), (-1, 0.01), (-1, 0.999)]
)
def test_a_flipped_bit_of_a_recorded_transaction_is_named(
    run: Path, tmp_path: Path, which: int, place: float
) -> None:
    number = block_numbers(run, True)[which]

    def change(block: dict[str, Any]) -> None:
        raw = bytearray.fromhex(block["transactions"][0][2:])
        raw[int(place * len(raw))] ^= 4
        block["transactions"][0] = "0x" + raw.hex()

    change_block(run, number, change)
    message = refusal(run, tmp_path)
    assert f": the recorded block {number} was changed;" in message
    assert message.startswith("Round 2: " if which < 0 else "Round 0: ")


@pytest.mark.parametrize(("empty", "seconds"), [(True, 1), (True, -1), (False, 1)])
def test_a_changed_time_of_a_block_is_named(
    run: Path, tmp_path: Path, empty: bool, seconds: int
) -> None:
    number = block_numbers(run, not empty)[-1]
    change_block(run, number, lambda b: b.update(timestamp=b["timestamp"] + seconds))
    message = refusal(run, tmp_path)
    assert message.startswith(f"Round 2: the recorded block {number} was changed; no coordinate")


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "1"},
        {"timestamp": -1},
        {"timestamp": 1 << 70},
        {"hash": "0x" + "00" * 32},
        {"hash": None},
        {"transactions": None},
        {"transactions": ["0x"]},
        {"transactions": ["0x00"]},
        {"transactions": ["0x02c0"]},
        {"transactions": ["0x00", "0x00"]},
        {"transactions": []},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_block_that_was_made_into_something_else_is_named(
    run: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    change_block(run, 2, lambda block: block.update(change))
    assert refusal(run, tmp_path).startswith("Round 0: the recorded block 2 was changed")


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[" * 100_000, b"\xff", b"{", b"5"], ids=lambda b: str(b[:8])
)
@pytest.mark.parametrize("number", [0, 2])
def test_a_line_that_is_no_block_is_named(
    run: Path, tmp_path: Path, line: bytes, number: int
) -> None:
    lines = (run / BLOCKS).read_bytes().splitlines()
    lines[number] = line
    (run / BLOCKS).write_bytes(b"\n".join(lines) + b"\n")
    what = "recorded genesis" if number == 0 else f"recorded block {number}"
    assert refusal(run, tmp_path).startswith(f"Round 0: the {what} was changed")


@pytest.mark.parametrize(
    "change",
    [{"time": 5}, {"time": "x"}, {"time": -1}, {"balances": {}}, {"balances": {"x": 5}}],
    ids=str,
)
def test_another_genesis_is_refused(run: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    change_block(run, 0, lambda genesis: genesis.update(change))
    assert refusal(run, tmp_path).startswith("Round 0: the recorded ")


def test_a_block_that_was_left_out_is_named(run: Path, tmp_path: Path) -> None:
    number = block_numbers(run, True)[-2]
    lines = (run / BLOCKS).read_text().splitlines()
    del lines[number]
    (run / BLOCKS).write_text("\n".join(lines) + "\n")
    assert refusal(run, tmp_path).startswith(f"Round 2: the recorded block {number} was changed")


def test_blocks_that_end_too_early_are_refused(run: Path, tmp_path: Path) -> None:
    lines = (run / BLOCKS).read_text().splitlines()[:-1]
    (run / BLOCKS).write_text("\n".join(lines) + "\n")
    assert refusal(run, tmp_path).startswith("Round 2: no recorded block has the hash 0x")


# Files that are not there, or cannot be read


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        (lambda run: model_of(run, 0), "Round 0: the model bafk"),
        (lambda run: model_of(run, 2), "Round 2: the stored model bafk"),
        (lambda run: updates_of(run, 2)[0], "Round 2: the update bafk"),
        (
            lambda run: stored(run, str(manifest_cid(small_manifest().digest))),
            "Round 0: the stored manifest was changed",
        ),
    ],
    ids=["genesis", "model", "update", "manifest"],
)
def test_a_missing_file_is_named(
    run: Path, tmp_path: Path, choose: Callable[[Path], Path], words: str
) -> None:
    choose(run).unlink()
    message = refusal(run, tmp_path)
    assert message.startswith(words)
    assert "not in the store" in message


@pytest.mark.parametrize("kind", ["genesis", "model", "update"])
def test_a_file_that_cannot_be_read_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = {
        "genesis": model_of(run, 0),
        "model": model_of(run, 1),
        "update": updates_of(run, 1)[0],
    }[kind]
    flip(path, path.stat().st_size - 1)

    def fail(*_: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(auditor, "flipped_bit", fail)
    monkeypatch.setattr(auditor, "first_difference", fail)
    message = refusal(run, tmp_path)
    assert message.startswith(f"Round {0 if kind == 'genesis' else 1}: the stored ")
    assert message.endswith("cannot be read: Permission denied.")


@pytest.mark.parametrize("name", [HISTORY, BLOCKS, STORE])
@pytest.mark.parametrize("instead", ["nothing", "something else"])
def test_what_is_no_run_is_refused(run: Path, tmp_path: Path, name: str, instead: str) -> None:
    path = run / name
    was_directory = path.is_dir()
    if was_directory:
        shutil.rmtree(path)
    else:
        path.unlink()
    if instead == "something else":
        if was_directory:
            path.touch()
        else:
            path.mkdir()
    with pytest.raises(UnreadableRun):
        audit(run, tmp_path)


def test_a_directory_that_is_not_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRun, match="cannot be read"):
        audit(tmp_path / "nowhere", tmp_path)


def test_a_history_that_is_something_else_is_refused(run: Path, tmp_path: Path) -> None:
    (run / HISTORY).write_text("{}")
    with pytest.raises(DamagedRun):
        audit(run, tmp_path)


# What the chain itself has accepted


def test_a_wrong_model_that_every_aggregator_signed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one unit, in one coordinate."""
    compute = Aggregator._compute

    def cheat(self: Aggregator, seen: Any, work: Any, included: int) -> Any:
        right = compute(self, seen, work, included)
        if right.round != 2:
            return right
        meta = self._origin.state(2)
        file = self._vectors.fetch(self._store, right.global_cid, right.global_root, meta)
        wrong = np.array(self._vectors.load(file))
        wrong[9] += 1
        file = self._vectors.write(meta, in_blocks(wrong))
        with file.path.open("rb") as stream:
            cid = cid_of(stream)
        return dataclasses.replace(right, global_root=file.root, global_cid=cid)

    monkeypatch.setattr(Aggregator, "_compute", cheat)
    directory = tmp_path / "run"
    directory.mkdir()
    record_run(directory, rounds=2)
    message = refusal(directory, tmp_path)
    assert message == (
        "Round 2: the model on-chain is not the rule applied to its updates; "
        f"the first wrong coordinate is {PLACES[9]}."
    )


def test_a_federation_that_links_another_library_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run may be right so far: the library would decide any dispute."""
    genuine = load_artifact("DisputeLogic")
    # The error of a dispute has another selector: nothing that a plain run executes.
    error = function_signature_to_4byte_selector("AlreadyAnswered()")
    assert error in genuine.runtime_code
    changed = dataclasses.replace(
        genuine,
        creation_code=genuine.creation_code.replace(error, b"\x01\x02\x03\x04"),
        runtime_code_hash=keccak256(genuine.runtime_code.replace(error, b"\x01\x02\x03\x04")),
    )
    artifacts = {"DisputeLogic": changed, "Federation": load_artifact("Federation")}
    directory = tmp_path / "run"
    directory.mkdir()
    with monkeypatch.context() as patched:
        for module in (migrate, found):
            patched.setattr(module, "load_artifact", artifacts.__getitem__)
        record_run(directory, rounds=1)
    assert "is linked to another DisputeLogic than its version's" in refusal(directory, tmp_path)
