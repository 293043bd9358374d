"""`flo --help`: at once, without the libraries that take seconds, and with right examples."""

from __future__ import annotations

import ast
import resource
import shlex
import subprocess
import sys

import pytest
from support.commands import command_at, commands
from support.flo import flo
from typer.main import get_command

import fl_orchestrator
from fl_orchestrator.artifacts import CONTRACTS_VERSION
from fl_orchestrator.cli.groups import summary
from fl_orchestrator.cli.main import app

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
# These take a tenth of a second or more each, and help needs none of them.
NEEDLESS = (*SLOW, "rich", "structlog", "pydantic", "asyncio", "urllib3")
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


MODULES = """
import sys
from fl_orchestrator.cli.main import main
sys.argv = ["flo", *{command!r}, "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
print([name for name in {needless!r} if name in sys.modules])
print(sorted(name for name in sys.modules if name.startswith("fl_orchestrator.")))
"""
# What every help may import of the package; a noun's also its own commands and what they share.
COMMON = {
    *("fl_orchestrator.cli", "fl_orchestrator.cli.config", "fl_orchestrator.cli.groups"),
    *("fl_orchestrator.cli.main", "fl_orchestrator.cli.passwords", "fl_orchestrator.cli.site"),
    *("fl_orchestrator.cli.streams", "fl_orchestrator.errors", "fl_orchestrator.printable"),
    *(
        "fl_orchestrator.files",
        "fl_orchestrator.members",
        "fl_orchestrator.members.connection",
        "fl_orchestrator.model",
        "fl_orchestrator.model.protocol",
    ),
}


def test_help_loads_no_library_that_takes_seconds() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = HELP.format(commands=[(), *commands()], slow=SLOW)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 5  # of all commands together


def imported_by_help(*command: str) -> tuple[list[str], set[str]]:
    """What is imported of what help does not need, and the package's own modules."""
    script = MODULES.format(command=command, needless=NEEDLESS)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    needless, own = map(ast.literal_eval, done.stdout.splitlines()[-2:])
    return needless, set(own)


def test_help_imports_no_command() -> None:
    needless, own = imported_by_help()
    assert (needless, own - COMMON, COMMON - own) == ([], set(), set())


@pytest.mark.parametrize("noun", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_the_help_of_a_noun_imports_that_noun_alone(noun: str) -> None:
    needless, own = imported_by_help(noun)
    assert needless == []
    # Nothing but the command line itself: what a command does, it imports when it does it.
    light = {"json_text", "files", "model", "units"}
    assert {name.split(".")[1] for name in own - COMMON} <= {"cli", *light}
    others = {"demo", "up", "verify", "rounds", "keys", "contracts"} - {noun, f"{noun}s"}
    assert not {name.rpartition(".")[2] for name in own} & others


def test_the_summaries_are_what_the_commands_say_of_themselves() -> None:
    root = get_command(app)
    assert dict(root.summaries()) == {  # type: ignore[attr-defined]
        name: summary(command.help)
        for name, command in root.commands.items()  # type: ignore[attr-defined]
    }


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
    shown = flo("--version").succeeded().out
    assert shown == f"flo {fl_orchestrator.__version__}, contracts {CONTRACTS_VERSION}\n"


def test_a_command_that_is_none_is_refused() -> None:
    flo("dmeo").refused(2, "No such command 'dmeo'")
    flo("party", "submit").refused(2, "Missing argument 'weights'")
