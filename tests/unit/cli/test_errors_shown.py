"""How the command line ends: a sentence and a code for whatever is raised."""

from __future__ import annotations

import errno
import sys

import pytest
import structlog
from support.flo import flo

from fl_orchestrator.cli import main as module
from fl_orchestrator.cli.console import interruptible
from fl_orchestrator.errors import (
    ChainError,
    ContentError,
    FloError,
    InputError,
    KeyStoreError,
    ToolchainError,
    TrainingError,
    VerificationError,
)


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What a command, `flo fail`, raises."""
    errors: list[BaseException] = []

    def fail() -> None:
        with interruptible("Type it again."):
            structlog.get_logger("test").info("about to fail")
            raise errors[0]

    monkeypatch.setattr(module.app, "registered_commands", [*module.app.registered_commands])
    module.app.command("fail")(fail)
    return errors


@pytest.mark.parametrize(
    ("category", "code"),
    [
        (FloError, 1),
        (VerificationError, 1),
        (InputError, 2),
        (ChainError, 3),
        (ContentError, 4),
        (TrainingError, 5),
        (KeyStoreError, 6),
        (ToolchainError, 7),
    ],
)
def test_every_category_has_its_exit_code_with_debug_too(
    raised: list[BaseException], category: type[FloError], code: int
) -> None:
    raised.append(category("It is [bold]wrong[/].", "Make it [right]."))
    shown = flo("fail").refused(code)
    assert shown.err == "Error: It is [bold]wrong[/].\nMake it [right].\n"
    debug = flo("--debug", "fail")
    assert debug.code == code
    assert "about to fail" in debug.err
    assert "Traceback (most recent call last)" in debug.err
    assert debug.err.endswith(shown.err)
    assert shown.out == debug.out == ""


def test_a_long_message_stays_on_one_line(raised: list[BaseException]) -> None:
    raised.append(InputError("word " * 100 + "end."))
    assert flo("fail").refused(2).err.count("\n") == 1


def test_a_full_disk_and_other_file_errors_are_no_defects(raised: list[BaseException]) -> None:
    raised.append(OSError(errno.ENOSPC, "No space left on device", "/srv/[x]"))
    shown = flo("fail").refused(4)
    assert shown.err.startswith("Error: /srv/[x]: No space left on device.\nCheck that")
    raised[0] = OSError("something else")
    flo("fail").refused(4, "something else")


def test_a_package_that_is_not_installed_is_named(raised: list[BaseException]) -> None:
    raised.append(ModuleNotFoundError("No module named 'eth_tester'", name="eth_tester"))
    command = f"{sys.executable} -m pip install 'fl-orchestrator[demo]'\n"
    assert flo("fail").refused(7, "eth_tester is not installed").err.endswith(command)


def test_a_command_to_copy_installs_into_the_python_that_runs(
    raised: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised.append(ModuleNotFoundError("No module named 'eth_tester'", name="eth_tester"))
    monkeypatch.setattr(sys, "executable", "/opt/our tools/bin/python")
    flo("fail").refused(7, "Install it with: '/opt/our tools/bin/python' -m pip install")


def test_a_defect_is_called_one(raised: list[BaseException]) -> None:
    raised.append(ZeroDivisionError("[1/0]"))
    shown = flo("fail")
    assert shown.code == 70
    assert shown.err == (
        "Unexpected error: ZeroDivisionError: [1/0]\n"
        "This is a defect of flo. Run it again with `flo --debug …` for the details.\n"
    )
    assert "ZeroDivisionError: [1/0]\n" in flo("--debug", "fail").err


def test_ctrl_c_has_its_own_code_and_says_what_to_do(raised: list[BaseException]) -> None:
    raised.append(KeyboardInterrupt())
    assert flo("fail").refused(130).err == "Error: Interrupted.\nType it again.\n"
