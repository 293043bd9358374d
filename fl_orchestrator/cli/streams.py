"""The process's standard streams, made safe for any text, and stdout reserved for the command.

What a trainer prints goes to stderr, so that ``--json`` prints one JSON object and nothing else.
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
# Replacements for characters that an encoding lacks; all others are escaped.
_PLAIN: Final = {"…": "...", "–": "-", "—": "-", "×": "x", "−": "-", "’": "'", "·": "."}

# The command's own stdout after `divert`, which makes the process's stdout write to stderr.
_own_stdout: TextIO | None = None


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Make the streams accept any text in any locale, and open those that are closed."""
    global _own_stdout
    codecs.register_error(_ERRORS, _replaced)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # The parent process has closed it.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
    try:
        yield
    finally:
        _own_stdout = None


def stdout() -> TextIO:
    """The stream for a command's own output."""
    return _own_stdout or sys.stdout


def divert() -> None:
    """Redirect what others print to stdout, also from C and at the exit, to stderr from now on."""
    global _own_stdout
    if _own_stdout is not None:
        return
    own: TextIO = sys.stdout
    own.flush()
    # Unless stdout is replaced, as in tests, redirect the file descriptor too.
    if own is sys.__stdout__ and own.fileno() == _STDOUT:
        descriptor = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        encoding = own.encoding
        own = open(descriptor, "w", encoding=encoding, errors=_ERRORS)  # noqa: SIM115, PTH123
    sys.stdout = sys.stderr
    _own_stdout = own


def flush() -> None:
    """Write what is left in the buffers. Raises OSError."""
    for stream in (stdout(), sys.stderr):
        with contextlib.suppress(ValueError):  # it was closed
            stream.flush()


def give_up() -> None:
    """Send all further output to the null device, so that flushing at exit does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in {stdout(), sys.stdout}:
        with contextlib.suppress(OSError, ValueError):  # not a real file, or closed
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    shown = "".join(_PLAIN.get(c) or c.encode("unicode_escape").decode("ascii") for c in found)
    return shown, error.end
