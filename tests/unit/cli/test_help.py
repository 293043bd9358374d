"""`flo --help`: at once, without the libraries that take seconds, and with right examples."""

from __future__ import annotations

import resource
import shlex
import subprocess
import sys

import pytest
from support.commands import command_at, commands
from support.flo import flo

import fl_orchestrator

SLOW = (
    "tensorflow",
    "keras",
    "web3",
    "eth",
    "eth_account",
    "eth_tester",
    "numba",
    "numpy",
    "sklearn",
    "matplotlib",
)
HELP = """
import sys
from fl_orchestrator.cli.main import main
for command in {commands!r}:
    sys.argv = ["flo", *command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, command
print([name for name in {slow!r} if name in sys.modules])
"""


def test_help_loads_no_library_that_takes_seconds() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = HELP.format(commands=[(), *commands()], slow=SLOW)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 5  # of all commands together


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_an_example_that_can_be_typed(path: tuple[str, ...]) -> None:
    command = command_at(path)
    examples = [
        line.strip().removeprefix("Example: ")
        for line in command.help.splitlines()
        if line.strip().startswith("Example: ")
    ]
    assert len(examples) == 1
    words = shlex.split(examples[0])
    assert tuple(words[: len(path) + 1]) == ("flo", *path)
    command.make_context("flo", words[len(path) + 1 :])
    assert all(parameter.help for parameter in command.params if parameter.name != "help")


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = flo(*path, "--help").succeeded().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    # A cut option or value ends in an ellipsis; an example may have one in an address.
    assert not [line for line in shown.splitlines() if "…" in line and "Example" not in line]


def test_the_version_is_shown() -> None:
    assert flo("--version").succeeded().out == f"{fl_orchestrator.__version__}\n"


def test_a_command_that_is_none_is_refused() -> None:
    flo("dmeo").refused(2, "No such command 'dmeo'")
    flo("party", "submit").refused(2, "Missing argument 'weights'")
