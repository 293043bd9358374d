"""Completion in shells: it is shown, installed, and knows commands and options."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.flo import flo

FLO = Path(sys.executable).parent / "flo"


def completed(line: str, directory: Path, shell: str = "bash") -> list[str]:
    """What the shell offers for the last word of a line."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    environment = {**os.environ, **asked, "_FLO_COMPLETE": f"complete_{shell}"}
    result = subprocess.run(
        [FLO], env=environment, cwd=directory, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.splitlines()


def in_bash(command: str, home: Path) -> str:
    """Run a command in a bash that has this home; flo finds out by its parent which shell it is."""
    path = f"{FLO.parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        # With a second command: else bash would become flo.
        ["bash", "--norc", "-c", f"{command}; exit $?"],
        env={**os.environ, "HOME": str(home), "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_commands_and_options_are_offered(tmp_path: Path) -> None:
    assert completed("flo fed", tmp_path) == ["federation"]
    assert {"create", "migrate", "show"} <= set(completed("flo federation ", tmp_path))
    assert completed("flo party run --privacy-b", tmp_path) == ["--privacy-budget"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_show_what_a_command_does(tmp_path: Path, shell: str) -> None:
    (line,) = completed("flo feder", tmp_path, shell)
    assert "federation" in line
    assert "Create a federation" in line


def test_a_damaged_settings_file_does_not_disturb_it(tmp_path: Path) -> None:
    (tmp_path / "flo.toml").write_text("= no TOML")
    assert completed("flo fed", tmp_path) == ["federation"]


def test_it_is_shown_for_the_shell_that_asks(tmp_path: Path) -> None:
    shown = in_bash("flo --show-completion", tmp_path)
    assert "complete -o default -F _flo_completion flo" in shown
    assert list(tmp_path.iterdir()) == []


def test_it_is_installed_and_then_works_in_a_new_shell(tmp_path: Path) -> None:
    said = in_bash("flo --install-completion", tmp_path)
    assert "bash completion installed" in said
    installed = in_bash(
        f"source {shlex.quote(str(tmp_path / '.bashrc'))}; COMP_WORDS=(flo keys n); COMP_CWORD=2;"
        " _flo_completion flo; printf '%s\\n' \"${COMPREPLY[@]}\"",
        tmp_path,
    )
    assert installed == "new\n"


def test_help_names_it() -> None:
    shown = flo("--help").succeeded().out
    assert "--install-completion" in shown
    assert "--install-completion" not in flo("party", "--help").succeeded().out
