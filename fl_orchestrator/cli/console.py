"""What all commands share: the consoles, money and times in words, errors and interrupts."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from fl_orchestrator.errors import FloError
from fl_orchestrator.units import ether as ether

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

_PIPED_WIDTH: Final = 160

# Piped output has no width of its own: tables must not cut addresses.
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
err = Console(stderr=True, highlight=False)


class Interrupted(FloError):
    """The person at the keyboard stopped the command."""

    exit_code = 130


@contextlib.contextmanager
def interruptible(sentence: str) -> Iterator[None]:
    """Turn Ctrl-C into an error that says what is left and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted.", sentence) from None


def print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value))


def say(text: str, console: Console = out) -> None:
    """Print a sentence, with markup: a terminal breaks it between words, a pipe gets one line."""
    console.print(text, soft_wrap=not console.is_terminal)


def print_pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns; a long value is never broken."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        out.print(f"{name:<{width}}  {value}", soft_wrap=True, markup=False)


def short(text: str) -> str:
    """An address, hash or CID: shortened on a terminal, whole when piped."""
    if not out.is_terminal or len(text) <= 16:
        return text
    return f"{text[:8]}…{text[-6:]}"


def duration(seconds: float) -> str:
    """A duration for people: 95 s, 12 min, 3 h 20 min, 7 d."""
    if seconds < 100:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (0 if days else minutes, "min")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
