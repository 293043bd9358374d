"""The journal: an entry is whole or not there, and a damaged one is never used."""

import itertools
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from support.observations import SOME_CID

from fl_orchestrator.chain.types import Update
from fl_orchestrator.model.digests import commitment
from fl_orchestrator.roles.party import journal as module
from fl_orchestrator.roles.party.journal import DamagedJournal, Journal, OpenCommitment
from fl_orchestrator.roles.vectors import Origin

ORIGIN = Origin(5, "0x" + "ab" * 20)
UPDATE = Update("0x" + "11" * 20, 7, b"\1" * 32, SOME_CID, b"\2" * 32)
CONTENT = b"an update's bytes"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(directory: Path) -> Journal:
    return Journal(directory, ORIGIN)


def save(journal: Journal, directory: Path, round_number: int = 3) -> OpenCommitment:
    file = directory.parent / "update"
    file.write_bytes(CONTENT)
    return journal.save(round_number, UPDATE, file)


def test_an_entry_comes_back_as_it_was_saved(journal: Journal, directory: Path) -> None:
    saved = save(journal, directory)
    assert journal.load(3) == saved
    assert Journal(directory, ORIGIN).load(3) == saved
    assert saved.path.read_bytes() == CONTENT
    assert saved.update == UPDATE
    assert saved.commitment == commitment(
        chain_id=5,
        federation=ORIGIN.federation,
        round_number=3,
        party=UPDATE.party,
        root=UPDATE.root,
        cid=UPDATE.cid,
        weight=7,
        salt=UPDATE.salt,
    )


def test_there_is_no_entry_before_one_is_saved(journal: Journal, directory: Path) -> None:
    assert journal.load(3) is None
    save(journal, directory)
    assert journal.load(2) is None
    assert journal.load(4) is None


def test_a_later_entry_of_the_same_round_replaces_the_first(
    journal: Journal, directory: Path
) -> None:
    save(journal, directory)
    file = directory.parent / "other"
    file.write_bytes(b"other")
    again = journal.save(3, Update(UPDATE.party, 8, b"\3" * 32, SOME_CID, b"\4" * 32), file)
    assert journal.load(3) == again
    assert again.path.read_bytes() == b"other"


def test_an_entry_is_for_its_owner_only(journal: Journal, directory: Path) -> None:
    entry = save(journal, directory).path.parent
    assert stat.S_IMODE(entry.stat().st_mode) == 0o700


def test_every_file_is_on_disk_before_the_entry_has_its_name(
    journal: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    entry = directory / "round-3"

    def record(path: Path) -> None:
        synced.append((path.name, entry.exists()))

    monkeypatch.setattr(module, "sync", record)
    save(journal, directory)
    assert synced == [
        ("update.safetensors", False),
        ("commitment.json", False),
        (".round-3.new", False),
        ("journal", True),
    ]


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_an_interrupted_save_leaves_no_entry_and_can_be_repeated(
    journal: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    calls = 0

    def interrupt(_: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > stop_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "sync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save(journal, directory)
    restarted = Journal(directory, ORIGIN)
    assert restarted.load(3) is None
    assert restarted.load(3) != save(restarted, directory) == restarted.load(3)


def test_what_an_interruption_left_is_removed_with_the_old_entries(
    journal: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "sync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save(journal, directory)
    assert list(directory.iterdir()) != []
    journal.forget_before(4)
    assert list(directory.iterdir()) == []


def test_entries_of_earlier_rounds_are_forgotten(journal: Journal, directory: Path) -> None:
    for round_number in (1, 2, 10):
        save(journal, directory, round_number)
    (directory / "round-1.backup").mkdir()
    journal.forget_before(10)
    assert journal.load(1) is journal.load(2) is None
    assert journal.load(10) is not None
    assert (directory / "round-1.backup").is_dir()


def entry_with(directory: Path, **changes: Any) -> None:
    file = directory / "round-3" / "commitment.json"
    preimage = json.loads(file.read_text())
    file.write_text(json.dumps({**preimage, **changes}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *itertools.product(("weight", "root"), (None, [], {}, "", "zz")),
        ("weight", 8),
        ("weight", -1),
        ("weight", 256),
        ("weight", "7"),
        ("root", "00" * 32),
        ("root", "00" * 31),
        ("salt", "00" * 32),
        ("party", "0x" + "22" * 20),
        ("party", "nobody"),
        ("party", None),
        ("cid", "not a cid"),
        ("cid", None),
        ("commitment", "00" * 32),
        ("commitment", None),
    ],
)
def test_a_changed_field_is_damage(
    journal: Journal, directory: Path, field: str, value: Any
) -> None:
    save(journal, directory)
    entry_with(directory, **{field: value})
    with pytest.raises(DamagedJournal, match="round-3 is damaged"):
        journal.load(3)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"5", b"{}", b"null", b"[" * 100_000, b"{" * 5]
)
def test_a_preimage_that_is_something_else_is_damage(
    journal: Journal, directory: Path, content: bytes
) -> None:
    save(journal, directory)
    (directory / "round-3" / "commitment.json").write_bytes(content)
    with pytest.raises(DamagedJournal) as damage:
        journal.load(3)
    assert damage.value.hint is not None
    assert "backup" in damage.value.hint


@pytest.mark.parametrize("name", ["commitment.json", "update.safetensors"])
def test_a_missing_file_is_damage(journal: Journal, directory: Path, name: str) -> None:
    save(journal, directory)
    (directory / "round-3" / name).unlink()
    with pytest.raises(DamagedJournal):
        journal.load(3)


def test_an_entry_of_another_round_or_federation_is_damage(
    journal: Journal, directory: Path
) -> None:
    save(journal, directory)
    shutil.copytree(directory / "round-3", directory / "round-4")
    with pytest.raises(DamagedJournal):
        journal.load(4)
    with pytest.raises(DamagedJournal):
        Journal(directory, Origin(6, ORIGIN.federation)).load(3)
