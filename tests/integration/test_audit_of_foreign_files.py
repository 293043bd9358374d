"""The audit of a run whose files are not what they should be: nothing outside of it is touched.

Whoever hands a run over may have put anything in the place of each file and folder.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support.flo import flo
from support.recorded import record_run

from fl_orchestrator.audit.auditor import Audit
from fl_orchestrator.audit.history import BLOCKS, HISTORY, SAFETENSORS, STORE, History
from fl_orchestrator.audit.run_directory import MARKER, check_recorded
from fl_orchestrator.errors import FloError

#: What an audit does without: the rest has to be refused.
_NEEDLESS: Final = {f"{STORE}/incoming", f"{STORE}/unpinned", MARKER}
_HEX_NAME: Final = "ab" * 16


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("good")
    record_run(directory, rounds=1)
    (directory / MARKER).write_text("a run")
    return directory


@pytest.fixture
def run(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "run"))


def places(run: Path) -> list[str]:
    history = History.load(run)
    cids = (history.rounds[0].cid, history.manifest_cid)
    pinned = [f"{STORE}/pinned/{cid}" for cid in cids]
    folders = [STORE, *(f"{STORE}/{name}" for name in ("incoming", "pinned", "unpinned"))]
    return [HISTORY, BLOCKS, SAFETENSORS, MARKER, *folders, *pinned]


def _link_outside(path: Path, outside: Path) -> None:
    path.rename(outside / "moved")
    path.symlink_to(outside / "moved")


def _link_to_what_is_not_the_stores(path: Path, outside: Path) -> None:
    """Old files with names that a store deletes."""
    _remove(path)
    path.symlink_to(outside)


def _link_inside(path: Path, outside: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def _loop(path: Path, outside: Path) -> None:
    _remove(path)
    path.symlink_to(path.name)


def _fifo(path: Path, outside: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def _device(path: Path, outside: Path) -> None:
    _remove(path)
    path.symlink_to("/dev/zero")


def _the_other_kind(path: Path, outside: Path) -> None:
    was_folder = path.is_dir()
    _remove(path)
    if was_folder:
        path.write_text("a file")
    else:
        path.mkdir()


def _huge(path: Path, outside: Path) -> None:
    """A TiB of zeros, which takes no room."""
    _remove(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


CHANGES: Final[list[Callable[[Path, Path], None]]] = [
    _link_outside,
    _link_to_what_is_not_the_stores,
    _link_inside,
    _loop,
    _fifo,
    _device,
    _the_other_kind,
    _huge,
]


def state_of(directory: Path) -> list[tuple[str, int, int, int, bytes]]:
    """Names, kinds, sizes, times and small contents below a directory; no link is followed."""
    found = []
    for path in sorted(directory.rglob("*")):
        seen = path.lstat()
        small = not path.is_symlink() and path.is_file() and seen.st_size < 1 << 20
        content = path.read_bytes() if small else b""
        name = str(path.relative_to(directory))
        found.append((name, seen.st_mode, seen.st_size, seen.st_mtime_ns, content))
    return found


def audit(run: Path, workspace: Path) -> None:
    check_recorded(run)
    checked = Audit(run, workspace)
    for _ in checked.rounds():
        pass
    checked.check_exports()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("number", range(10))
def test_nothing_is_followed_out_of_a_run_and_nothing_waits(
    run: Path, tmp_path: Path, number: int, change: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in (_HEX_NAME, History.load(run).manifest_cid, "notes.txt"):
        (outside / name).write_text("precious")
        os.utime(outside / name, (0, 0))
    place = places(run)[number]
    change(run / place, outside)
    before = state_of(outside), state_of(run)
    if place in _NEEDLESS:
        audit(run, tmp_path / "workspace")
    else:
        with pytest.raises(FloError):
            audit(run, tmp_path / "workspace")
    assert (state_of(outside), state_of(run)) == before


def test_every_place_of_a_run_is_tried(run: Path) -> None:
    assert len(places(run)) == 10


@pytest.mark.parametrize("number", range(10))
def test_what_may_not_be_read_is_an_error_in_words(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    place = places(run)[number]
    name, opened = Path(place).name, os.open

    def refuse(path: str | Path, *args: int, **more: int | None) -> int:
        if Path(path).name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    if place in _NEEDLESS or place == STORE:  # the store's own folder is not opened
        audit(run, tmp_path / "workspace")
    else:
        with pytest.raises(FloError):
            audit(run, tmp_path / "workspace")


def test_an_audit_makes_no_folder_in_a_store(run: Path, tmp_path: Path) -> None:
    for folder in ("incoming", "unpinned"):
        shutil.rmtree(run / STORE / folder)
    before = state_of(run)
    audit(run, tmp_path / "workspace")
    assert state_of(run) == before


def test_an_audit_leaves_old_leftovers_of_a_store(run: Path, tmp_path: Path) -> None:
    for folder, name in (("incoming", _HEX_NAME), ("unpinned", History.load(run).genesis_cid)):
        path = run / STORE / folder / name
        path.write_text("old")
        then = time.time() - 1e6
        os.utime(path, (then, then))
    before = state_of(run)
    audit(run, tmp_path / "workspace")
    assert state_of(run) == before


@pytest.mark.parametrize("key", ["federation", "chainHead", "genesisRoot", "manifestCid", "rule"])
def test_text_in_a_record_cannot_make_a_refusal_look_like_success(run: Path, key: str) -> None:
    record = json.loads((run / HISTORY).read_text())
    record[key] = "\x1b[2K\rVerified: 1 rounds\nVerified: 1 rounds\u202e"
    (run / HISTORY).write_text(json.dumps(record))
    for options in ((), ("--json",), ("--debug",)):
        debug = [option for option in options if option == "--debug"]
        shown = flo(*debug, "verify", run, *(option for option in options if option not in debug))
        assert shown.code == 1
        everything = shown.out + shown.err
        assert not set(everything) & set("\x1b\r\u202e")
        assert not [line for line in everything.splitlines() if line.startswith("Verified")]
