"""The process's standard streams: what they may be, and what may be written to them.

stdout belongs to the command: what a trainer prints goes to stderr, so that ``--json`` is one JSON
object and nothing else.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Final, TextIO

_ERRORS: Final = "flo"
_STDOUT: Final = 1
_STDERR: Final = 2
# What stands for characters that an encoding lacks, before they are escaped.
_PLAIN: Final = {"…": "...", "–": "-", "—": "-", "×": "x", "−": "-", "’": "'", "·": "."}

# The command's own stdout, once the process's belongs to others.
_own_stdout: TextIO | None = None


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Streams that take any text, whatever the locale, and exist, even where they were closed."""
    global _own_stdout
    codecs.register_error(_ERRORS, _replaced)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # It was closed by whoever started this process.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
    try:
        yield
    finally:
        _own_stdout = None


def stdout() -> TextIO:
    """Where a command's own output goes."""
    return _own_stdout or sys.stdout


def divert() -> None:
    """From now on, what others print to stdout goes to stderr: also from C, and at the exit."""
    global _own_stdout
    if _own_stdout is not None:
        return
    own: TextIO = sys.stdout
    own.flush()
    # In a process of its own, the descriptor changes hands as well.
    if own is sys.__stdout__ and own.fileno() == _STDOUT:
        descriptor = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        encoding = own.encoding
        own = open(descriptor, "w", encoding=encoding, errors=_ERRORS)  # noqa: SIM115, PTH123
    sys.stdout = sys.stderr
    _own_stdout = own


def flush() -> None:
    """Write what is left. Raises OSError."""
    for stream in (stdout(), sys.stderr):
        with contextlib.suppress(ValueError):  # it was closed
            stream.flush()


def give_up() -> None:
    """Let whatever is still to be written go nowhere, so that the exit does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in {stdout(), sys.stdout}:
        with contextlib.suppress(OSError, ValueError):  # no real file, or closed
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    shown = "".join(_PLAIN.get(c) or c.encode("unicode_escape").decode("ascii") for c in found)
    return shown, error.end
