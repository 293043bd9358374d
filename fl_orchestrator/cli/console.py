"""What all commands share: the consoles, amounts and durations in words, errors and interrupts.

All output goes through this module, which escapes control characters in text from outside.
"""

from __future__ import annotations

import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from fl_orchestrator.cli import streams
from fl_orchestrator.errors import FloError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.printable import printable
from fl_orchestrator.units import ether as ether

if TYPE_CHECKING:
    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


#: The seconds of a day.
DAY_SECONDS: Final = 86_400


class _Screen:
    """A Rich console that is created at its first use: importing Rich takes longer than `--help`.

    It has all attributes of a console, so that Rich accepts it as one.
    """

    def __init__(self, stderr: bool) -> None:
        self._stderr = stderr
        self._console: Console | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def __enter__(self) -> Any:
        return self._made().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._made().__exit__(*error)

    def _made(self) -> Console:
        if self._console is None:
            from fl_orchestrator.cli.screen import Screen

            self._console = Screen(stderr=self._stderr)
        return self._console


out = cast("Console", _Screen(stderr=False))
err = cast("Console", _Screen(stderr=True))


def quiet_if(json_output: bool) -> Console:
    """The console for people, which prints nothing if the command prints JSON."""
    if not json_output:
        return out
    from rich.console import Console

    return Console(quiet=True)


class Interrupted(FloError):
    """The user stopped the command with Ctrl-C."""

    exit_code = 130


@contextlib.contextmanager
def interruptible(sentence: str) -> Iterator[None]:
    """Turn Ctrl-C into an Interrupted error, whose hint ``sentence`` says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Interrupted.", sentence) from None


def print_json(value: dict[str, Any]) -> None:
    stream = streams.stdout()
    stream.write(to_json(value) + "\n")
    stream.flush()


def say(text: str, console: Console = out) -> None:
    """Print a sentence with markup: wrapped between words on a terminal, one line in a pipe."""
    console.print(text, soft_wrap=not console.is_terminal)


def print_line(text: str) -> None:
    """Print a text without markup as one line; unlike `say`, it does not import Rich."""
    stream = streams.stdout()
    stream.write(printable(text) + "\n")
    stream.flush()


def safe(value: object) -> str:
    """Escape text from outside, such as a file name, for a sentence with markup."""
    from rich.markup import escape

    return escape(printable(str(value)))


def print_pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns; a long value is never wrapped."""
    rows = [(printable(name), printable(value)) for name, value in rows]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        out.print(f"{name:<{width}}  {value}", soft_wrap=True, markup=False)


def short(text: str) -> str:
    """An address, hash or CID: shortened on a terminal, complete in a pipe."""
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


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show what a command does while it does it; the yielded function shows something else.

    It is shown on a terminal only: without one, Rich is not imported for it.
    """
    if not sys.stderr.isatty():
        yield _show_nothing
        return
    with err.status(what) as status:
        yield status.update


def _show_nothing(_what: str) -> None:
    """What a pipe gets to see of the work."""


@contextlib.contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar, and when it will end; each call of the yielded function advances it.

    Nothing is shown in a pipe.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        *(SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn()),
        TextColumn("{task.fields[end]}"),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total, end="")
        start, done = time.time(), 0

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(task, advance=1, end=end_in_words(start, time.time(), done, total))

        yield advance


def end_in_words(start: float, now: float, done: int, total: int) -> str:
    """When work that began at ``start`` will end, if the rest takes as long as what is done.

    All times are in seconds since 1970; the words have the local time.
    """
    left = (now - start) * max(0, total - done) / done
    end = datetime.datetime.fromtimestamp(now + left)  # noqa: DTZ006 (a person's own clock)
    day = f"{end:%Y-%m-%d} " if left >= DAY_SECONDS else ""
    return f"{duration(left)} left, until {day}{end:%H:%M}"
