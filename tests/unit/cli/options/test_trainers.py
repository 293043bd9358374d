"""Whose code runs: a trainer that only the working directory's flo.toml names needs a yes, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from support.flo import finish, flo, start_flo

from fl_orchestrator.cli.options import trainers

TRAINER = """
from pathlib import Path
Path("ran").touch()
def make_trainer():
    raise RuntimeError("far enough")
"""


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that somebody else has written."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    there = tmp_path / "there"
    there.mkdir()
    (there / "their.py").write_text(TRAINER)
    (there / "flo.toml").write_text('[party]\ntrainer = "their.py"\n')
    monkeypatch.chdir(there)


def answer(monkeypatch: pytest.MonkeyPatch, yes: bool) -> list[str]:
    """Be at a terminal and give this answer; what was asked."""
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return yes

    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr(trainers, "sys", type("sys", (), {"stdin": Terminal, "stderr": Terminal}))
    return asked


@pytest.mark.parametrize("command", ["check", "run"])
def test_code_that_only_the_directory_names_is_not_run_unasked(
    tmp_path: Path, command: str
) -> None:
    shown = flo("party", command).refused(2, "names code to run", "their.py", "--config")
    assert str(tmp_path / "there" / "flo.toml") in shown.err
    assert not Path("ran").exists()


def test_it_is_refused_in_a_process_without_a_terminal_too() -> None:
    finish(start_flo("party", "check")).refused(2, "names code to run")
    assert not Path("ran").exists()


def test_a_settings_file_that_is_named_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    flo("--config", "flo.toml", "party", "check").refused(5, "far enough")
    monkeypatch.setenv("FLO_CONFIG", "flo.toml")
    flo("party", "check").refused(5, "far enough")
    assert not trainers._trusted()


def test_a_trainer_that_is_typed_is_trusted() -> None:
    flo("party", "check", "--trainer", "their.py").refused(5, "far enough")
    assert Path("ran").exists()


def test_a_yes_is_asked_for_once_and_says_which_file_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        asked = answer(patch, yes=True)
        flo("party", "check").refused(5, "far enough")
    (question,) = asked
    assert str(tmp_path / "there" / "flo.toml") in question
    assert "their.py" in question
    # And then without a terminal, as a service would run it; also when the file was edited.
    Path("flo.toml").write_text('# Edited.\n[party]\ntrainer = "their.py"\n')
    flo("party", "check").refused(5, "far enough")


def test_a_yes_does_not_hold_for_another_directory_or_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        answer(patch, yes=True)
        flo("party", "check").refused(5)
    (tmp_path / "there" / "other.py").write_text(TRAINER)
    Path("flo.toml").write_text('[party]\ntrainer = "other.py"\n')
    flo("party", "check").refused(2, "other.py")
    (tmp_path / "elsewhere").mkdir()
    for name in ("their.py", "flo.toml"):
        (tmp_path / "elsewhere" / name).write_bytes((tmp_path / "there" / name).read_bytes())
    monkeypatch.chdir(tmp_path / "elsewhere")
    flo("party", "check").refused(2, "names code to run")


def test_a_no_runs_nothing_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, yes=False)
    for _ in range(2):
        flo("party", "check").refused(2, "was not run")
    assert len(asked) == 2
    assert not Path("ran").exists()


@pytest.mark.parametrize("content", ["", "[", "5", '["x"]', '{"a": 1}', "\xff"])
def test_a_damaged_record_of_answers_trusts_nothing(content: str) -> None:
    record = Path.home() / ".flo" / "trusted.json"
    record.parent.mkdir(parents=True)
    record.write_text(content)
    flo("party", "check").refused(2, "names code to run")


def test_without_a_home_directory_it_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(Path, "expanduser", homeless)
    asked = answer(monkeypatch, yes=True)
    for _ in range(2):
        flo("party", "check").refused(5, "far enough")
    assert len(asked) == 2


def test_an_escape_code_in_a_trainers_name_does_not_act_on_the_terminal() -> None:
    Path("flo.toml").write_text('[party]\ntrainer = "\\u001b[2Jtheir.py"\n')
    assert "\x1b" not in flo("party", "check").refused(2, r"\x1b[2J").err


def test_the_record_is_one_that_a_person_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, yes=True)
    flo("party", "check").refused(5)
    record = json.loads((Path.home() / ".flo" / "trusted.json").read_text())
    assert record == [[str(Path("flo.toml").resolve()), str(Path("their.py").resolve())]]
