"""Files with several names: nobody writes to them, and nobody depends on who deletes them."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from structlog.testing import capture_logs
from support.disk import bytes_on_disk, overwrite

from fl_orchestrator.content import shared as module
from fl_orchestrator.content.shared import SharedFiles, link_own, make_read_only

NAMES = re.compile(r"[a-z]+-\d+")
NAME = "update-1"
CONTENT = b"numbers" * 1000


@pytest.fixture
def shared(tmp_path: Path) -> SharedFiles:
    return SharedFiles(tmp_path / "shared", NAMES)


def made(path: Path, content: bytes = CONTENT) -> Path:
    path.write_bytes(content)
    return path


def inode(path: Path) -> int:
    return path.stat().st_ino


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_one_role_gives_another_takes_without_a_copy(
    shared: SharedFiles, tmp_path: Path
) -> None:
    one, other = made(tmp_path / "one"), tmp_path / "other"
    shared.give(NAME, one)
    assert shared.take(NAME, other)
    assert inode(one) == inode(other)
    assert bytes_on_disk(tmp_path) == len(CONTENT)


def test_what_was_not_given_cannot_be_taken(shared: SharedFiles, tmp_path: Path) -> None:
    assert not shared.take(NAME, tmp_path / "other")
    assert names(tmp_path) == []


def test_equal_files_that_two_roles_made_become_one(shared: SharedFiles, tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    shared.give(NAME, one)
    shared.give(NAME, other)
    assert inode(one) == inode(other)
    assert other.read_bytes() == CONTENT
    assert bytes_on_disk(tmp_path) == len(CONTENT)
    assert names(tmp_path) == ["one", "other", "shared"]


@pytest.mark.parametrize("wrong", [b"", CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:]])
def test_a_checked_file_replaces_a_damaged_one(
    shared: SharedFiles, tmp_path: Path, wrong: bytes
) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    shared.give(NAME, one)
    overwrite(one, wrong)
    shared.give(NAME, other)
    assert (tmp_path / "shared" / NAME).read_bytes() == CONTENT
    # Who has the damaged one keeps what is its own.
    assert one.read_bytes() == wrong


def test_a_given_file_cannot_be_written_to_by_any_name(shared: SharedFiles, tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), tmp_path / "other"
    one.chmod(0o640)
    shared.give(NAME, one)
    assert shared.take(NAME, other)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (one, other, tmp_path / "shared" / NAME)]
    assert modes == [0o440] * 3


def test_what_nobody_uses_any_more_is_forgotten(shared: SharedFiles, tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), tmp_path / "other"
    shared.give(NAME, one)
    assert shared.take(NAME, other)
    for path in (one, other):
        shared.forget_unused()
        assert names(tmp_path / "shared") == [NAME]
        path.unlink()
    shared.forget_unused()
    assert names(tmp_path / "shared") == []


def test_files_that_are_not_its_own_are_never_forgotten(
    shared: SharedFiles, tmp_path: Path
) -> None:
    shared.give(NAME, made(tmp_path / "one"))
    (tmp_path / "shared" / "thesis.tex").touch()
    (tmp_path / "shared" / "update-2").symlink_to(tmp_path / "one")
    shared.forget_unused()
    assert names(tmp_path / "shared") == ["thesis.tex", NAME, "update-2"]


def test_what_a_crash_left_is_forgotten(shared: SharedFiles, tmp_path: Path) -> None:
    shared.give(NAME, made(tmp_path / "one"))
    (tmp_path / "shared" / f".new-{'0' * 32}").touch()
    shared.forget_unused()
    assert names(tmp_path / "shared") == [NAME]


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_other_users_may_write_to_is_not_taken(
    shared: SharedFiles, tmp_path: Path, mode: int
) -> None:
    shared.give(NAME, made(tmp_path / "one"))
    (tmp_path / "shared" / NAME).chmod(mode)
    assert not shared.take(NAME, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_another_users_file_is_not_taken(
    shared: SharedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.give(NAME, made(tmp_path / "one"))
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "one").stat().st_uid + 1)
    assert not shared.take(NAME, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_link_in_the_place_of_a_file_is_not_taken(shared: SharedFiles, tmp_path: Path) -> None:
    secret = made(tmp_path / "secret")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / NAME).symlink_to(secret)
    assert not shared.take(NAME, tmp_path / "other")
    assert not (tmp_path / "other").is_symlink()
    shared.give(NAME, made(tmp_path / "one", b"other numbers"))
    assert secret.read_bytes() == CONTENT


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSPC, errno.EMLINK, errno.EPERM])
def test_where_no_link_can_be_made_each_role_keeps_its_own(
    shared: SharedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: Any, **_more: Any) -> None:
        raise OSError(number, os.strerror(number))

    one = made(tmp_path / "one")
    monkeypatch.setattr(os, "link", refused)
    with capture_logs() as logs:
        shared.give(NAME, one)
    assert one.read_bytes() == CONTENT
    assert not shared.take(NAME, tmp_path / "other")
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
        "a file is not shared"
    ]


def test_files_on_another_file_system_are_not_linked(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system")
    there = made(other / f"flo-{tmp_path.name}-{os.getpid()}")
    try:
        assert not link_own(there, tmp_path / "here")
        assert not (tmp_path / "here").exists()
    finally:
        there.unlink()


def test_many_roles_that_give_and_forget_at_once_end_with_one_right_file(
    shared: SharedFiles, tmp_path: Path
) -> None:
    ready = threading.Barrier(8)

    def role(number: int) -> bytes:
        home = tmp_path / f"home-{number}"
        home.mkdir()
        ready.wait()
        for turn in range(20):
            own = made(home / f"own-{turn}")
            shared.give(NAME, own)
            shared.forget_unused()
            if shared.take(NAME, home / f"taken-{turn}"):
                assert (home / f"taken-{turn}").read_bytes() == CONTENT
        return own.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(role, range(8))) == {CONTENT}
    assert names(tmp_path / "shared") == [NAME]


def test_only_the_right_to_write_is_taken(tmp_path: Path) -> None:
    path = made(tmp_path / "one")
    path.chmod(0o755)
    make_read_only(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o555


def test_a_file_that_many_roles_need_is_made_once(shared: SharedFiles, tmp_path: Path) -> None:
    ready, made_by = threading.Barrier(5), []

    def role(number: int) -> bytes:
        path = tmp_path / f"own-{number}"

        def make() -> None:
            made_by.append(number)
            made(path)

        ready.wait()
        shared.place(NAME, path, lambda there: there.read_bytes() == CONTENT, make)
        return path.read_bytes()

    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(role, range(5))) == {CONTENT}
    assert len(made_by) == 1
    assert len({inode(tmp_path / f"own-{number}") for number in range(5)}) == 1


def test_a_wrong_shared_file_is_made_anew_and_replaces_nobodys(
    shared: SharedFiles, tmp_path: Path
) -> None:
    path = made(tmp_path / "own", b"what was in use before")
    shared.give(NAME, made(tmp_path / "other", b"wrong"))
    shared.place(
        NAME, path, lambda there: there.read_bytes() == CONTENT, lambda: replace(path, CONTENT)
    )
    assert (tmp_path / "other").read_bytes() == b"wrong"
    assert (tmp_path / "shared" / NAME).read_bytes() == path.read_bytes() == CONTENT


def replace(path: Path, content: bytes) -> None:
    made(path.with_name("new"), content).replace(path)


def test_a_role_that_hangs_stops_no_other(
    shared: SharedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.2)
    path = tmp_path / "own"
    (tmp_path / "shared").mkdir()
    with FileLock(tmp_path / "shared" / ".update.lock"), capture_logs() as logs:
        shared.place(NAME, path, lambda there: True, lambda: replace(path, CONTENT))
    assert path.read_bytes() == CONTENT
    warned = [log["event"] for log in logs if log["log_level"] == "warning"]
    assert warned == ["a file is made beside another role's"]
