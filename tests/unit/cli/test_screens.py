"""What is printed: text from outside cannot act on the terminal it is shown on."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest
from rich.table import Table
from support.flo import flo

from fl_orchestrator.cli import console
from fl_orchestrator.cli import main as module
from fl_orchestrator.cli.console import (
    err,
    out,
    print_json,
    print_line,
    print_pairs,
    safe,
    say,
    working,
)
from fl_orchestrator.cli.screen import Screen
from fl_orchestrator.errors import VerificationError

HARMFUL = "\x1b[2K\rVerified:\u202e\x9b1m\x7f[bold]"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def harmless(shown: str) -> bool:
    """Whether nothing but Rich's own colours and cursor movements is in it."""
    return not any(code in shown for code in ("\x1b[2K\r", "\u202e", "\x9b", "\x7f", "\rV"))


def test_every_way_to_print_leaves_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Screen(stderr=False)
    table = Table("column", title=HARMFUL)
    table.add_row(HARMFUL)
    screen.print(f"[bold]a[/] {safe(HARMFUL)}")
    screen.print(HARMFUL, markup=False)
    screen.print(table)
    with screen.status("waiting") as status:
        status.update(HARMFUL.replace("[bold]", ""))
    shown = terminal.getvalue()
    assert harmless(shown)
    assert r"\x1b[2K" in shown
    assert "\x1b[1ma" in shown  # colours are still there
    assert "[bold]" in shown


def test_a_name_between_colons_stays_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    screen = Screen(stderr=False)
    table = Table("column")
    table.add_row("row:office:")
    say(f"{safe('mine.py:office')}: 4 parties", screen)
    screen.print("acc:fire:", markup=False)
    screen.print(table)
    for name in ("mine.py:office: 4 parties", "acc:fire:", "row:office:"):
        assert name in terminal.getvalue()


def test_work_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "err", Screen(stderr=True))
    with working("reading") as show:
        show("computing")
        deadline = time.monotonic() + 30  # Rich draws it several times a second.
        while "computing" not in terminal.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    monkeypatch.setattr(sys, "stderr", pipe)
    with working("reading") as show:
        show("computing")
    assert pipe.getvalue() == ""


def test_a_value_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs([("name", "first\nVerified: all"), ("other\n", HARMFUL)])
    say(f"{safe(chr(10) + 'Verified')} is written.")
    print_line(f"The file {HARMFUL} is written.")
    shown = capsys.readouterr().out
    assert shown.count("\n") == 4
    assert harmless(shown)


def test_json_has_no_character_that_acts_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": HARMFUL + "\n\ud800"})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert shown.isprintable() or shown[:-1].isprintable()


def test_the_screens_are_rich_consoles() -> None:
    for screen in (out, err):
        assert isinstance(screen.options.max_width, int)
        with screen:
            pass
    assert out.options.encoding


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_cannot_pass_for_success(monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    def fail() -> None:
        raise VerificationError(
            f"Round 1: the root is {HARMFUL}\nVerified: 1 rounds", "Or\nVerified"
        )

    monkeypatch.setattr(module.app, "registered_commands", [*module.app.registered_commands])
    module.app.command("fail")(fail)
    shown = (
        flo(*(["--debug"] if debug else []), "fail").refused(1)
        if not debug
        else flo("--debug", "fail")
    )
    assert shown.code == 1
    assert harmless(shown.err)
    lines = shown.err[shown.err.rindex("Error:") :].splitlines()
    assert not [line for line in lines if line.startswith("Verified")]
    assert r"\x1b[2K\rVerified:\u202e\x9b1m\x7f[bold]" in shown.err


def test_a_wrong_option_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    shown = flo("keys", "list", "--x\x1b[2J").refused(2)
    assert "\x1b" not in shown.err
    settings = tmp_path / "flo.toml"
    settings.write_text('confirmations = "\\u001b[2J"\n')
    shown = flo("--config", settings, "party", "status").refused(2)
    assert "\x1b" not in shown.err
