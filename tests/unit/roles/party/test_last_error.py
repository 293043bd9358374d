"""A trainer's last error: whole in a private file, and a summary for the log."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fl_orchestrator.roles.party.last_error import FILE, keep_error
from fl_orchestrator.training.failures import TrainerFailed


def failure(text: str = "Smith, 1954\ud800") -> TrainerFailed:
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise TrainerFailed(f"fit failed: {error}.", None, "fit failed: ValueError.") from error
    except TrainerFailed as failed:
        return failed


def test_the_whole_error_is_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        logged = keep_error(home, failure())
    finally:
        os.umask(before)
    path = home / FILE
    assert logged == f"fit failed: ValueError. All of it is in {path}."
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = path.read_text()
    assert r"ValueError: Smith, 1954\ud800" in kept
    assert "Traceback" in kept


def test_the_last_error_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for text in ("first", "second"):
        keep_error(tmp_path, failure(text))
    kept = (tmp_path / FILE).read_text()
    assert "second" in kept
    assert "first" not in kept
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    (tmp_path / FILE).symlink_to(tmp_path / "outside")
    keep_error(tmp_path, failure())
    assert (tmp_path / "outside").read_text() == "precious"
    assert not (tmp_path / FILE).is_symlink()


def test_a_full_disk_is_said_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    logged = keep_error(tmp_path, failure())
    assert logged.startswith("fit failed: ValueError. All of it could not be written to")
    assert "Smith" not in logged
