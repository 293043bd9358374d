"""The directory of a run: an earlier run makes place for the next, anything else stays."""

from pathlib import Path

import pytest

from fl_orchestrator.audit.history import BLOCKS, HISTORY, STORE, UnreadableRun
from fl_orchestrator.audit.run_directory import (
    MARKER,
    ForeignDirectory,
    check_recorded,
    check_run_directory,
    start_run,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory as a run leaves it."""
    directory = tmp_path / "run"
    start_run(directory)
    (directory / STORE / "pinned").mkdir(parents=True)
    (directory / STORE / "pinned" / "content").write_text("content")
    for name in (HISTORY, BLOCKS, f".{HISTORY}.new"):
        (directory / name).write_text("record")
    return directory


def test_a_run_starts_in_a_new_and_in_an_empty_directory(tmp_path: Path) -> None:
    start_run(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [MARKER]
    (tmp_path / "empty").mkdir()
    start_run(tmp_path / "empty")
    assert [path.name for path in (tmp_path / "empty").iterdir()] == [MARKER]


def test_a_run_takes_the_place_of_an_earlier_one(run: Path) -> None:
    start_run(run)
    assert [path.name for path in run.iterdir()] == [MARKER]


def test_what_a_link_in_a_run_points_to_stays(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("precious")
    (run / "models").symlink_to(tmp_path / "elsewhere")
    start_run(run)
    assert [path.name for path in run.iterdir()] == [MARKER]
    assert (tmp_path / "elsewhere" / "file").read_text() == "precious"


@pytest.mark.parametrize("name", ["notes.txt", ".git", "history.json.bak", "tmpabc"])
def test_a_run_with_anything_else_is_left_alone(run: Path, name: str) -> None:
    (run / name).write_text("precious")
    before = sorted(run.rglob("*"))
    for refuses in (check_run_directory, start_run):
        with pytest.raises(ForeignDirectory, match=f"holds {name}, which no demo wrote"):
            refuses(run)
    assert sorted(run.rglob("*")) == before


def test_a_directory_without_the_mark_is_no_run(run: Path) -> None:
    (run / MARKER).unlink()
    before = sorted(run.rglob("*"))
    with pytest.raises(ForeignDirectory, match="which no demo wrote"):
        start_run(run)
    assert sorted(run.rglob("*")) == before


def test_a_mark_that_is_a_link_is_none_and_is_not_written_through(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    (run / MARKER).unlink()
    (run / MARKER).symlink_to(tmp_path / "file")
    with pytest.raises(ForeignDirectory, match="which no demo wrote"):
        start_run(run)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_or_a_broken_link_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(ForeignDirectory, match="is a file"):
            start_run(path)


def test_a_run_without_a_record_has_been_stopped_early(run: Path, tmp_path: Path) -> None:
    check_recorded(run)
    check_recorded(tmp_path)
    (run / HISTORY).unlink()
    with pytest.raises(UnreadableRun, match="stopped before its first record"):
        check_recorded(run)


def test_a_look_records_nothing_to_verify(tmp_path: Path) -> None:
    start_run(tmp_path)
    (tmp_path / "look.png").write_bytes(b"a picture")
    with pytest.raises(UnreadableRun, match="keeps both stores and no history"):
        check_recorded(tmp_path)
