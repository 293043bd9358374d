"""What the user's own code raises, in words: all of it for the user, no data in a log."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fl_orchestrator.errors import FloError, InputError, TrainingError

# The most characters of an error's text in a log. The text is also cut at the first quote, bracket,
# colon or digit, because a value of the data may follow.
_MOST_LOGGED: Final = 80
_VALUES: Final = re.compile(r"""['"`‘“\[({<:=|\n\r\t0-9]""")


class BadTrainerFile(InputError):
    """The file cannot be used, or its function does not return a trainer."""


class TrainerFailed(TrainingError):
    """A trainer raised an error, or returned an invalid model, loss or metric.

    The message may contain values of the site's data, because frameworks put them into their
    messages. So a log gets only ``summary``: the type of the error, the line, and the start of its
    text.
    """

    def __init__(self, message: str, hint: str | None, summary: str) -> None:
        super().__init__(message, hint)
        self._summary = summary

    @property
    def for_log(self) -> str:
        return self._summary


@contextlib.contextmanager
def users_code(what: str, source: Path, hint: str | None) -> Iterator[None]:
    """Run code of the user: all that it raises becomes TrainerFailed, except an interrupt.

    Also what is no Exception, as the panic of an extension in Rust or the end of the process:
    otherwise its text, which may contain values of the data, would end up in the log.
    """
    try:
        with _own_arguments(source):
            yield
    except (KeyboardInterrupt, BadTrainerFile):
        raise
    except BaseException as error:
        told = isinstance(error, FloError)  # its sentence is enough
        raise _failure(what, error, source, None if told else hint) from error


@contextlib.contextmanager
def _own_arguments(path: Path) -> Iterator[None]:
    """Set sys.argv as for a script; else an argparse in the user's code reads flo's options."""
    before, sys.argv = sys.argv, [str(path)]
    try:
        yield
    finally:
        sys.argv = before


def _failure(what: str, error: BaseException, source: Path, hint: str | None) -> TrainerFailed:
    """Wrap an error of the user's code, with the last line of the user's file in the traceback."""
    if isinstance(error, FloError):
        told, summary = error.message.rstrip("."), error.for_log.rstrip(".")
    else:
        told, summary = _named(error), _beginning(error)
    where = _line_in(source, error)
    return TrainerFailed(f"{what}: {told}{where}.", hint, f"{what}: {summary}{where}.")


def _line_in(source: Path, error: BaseException) -> str:
    mine = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == source.resolve()
    ]
    return f" ({source}, line {mine[-1].lineno})" if mine else f" ({source})"


def _beginning(error: BaseException) -> str:
    """The error's type and the start of its text, cut before a possible value of the data."""
    begun = _VALUES.split(_text(error), maxsplit=1)[0].strip()[:_MOST_LOGGED]
    return f"{type(error).__name__}: {begun} …" if begun else type(error).__name__


def _named(error: BaseException) -> str:
    text = _text(error).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception:  # an error of the user's own class
        return ""
