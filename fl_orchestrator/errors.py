"""The root of every error that a user may see.

Each module defines its own errors next to the code that raises them and derives them from one of
the categories below, which fix the exit code of the command line.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any


def install_hint(extra: str) -> str:
    """How to add an extra of this package to the Python that runs."""
    return f"Install it with: {pip_install(f'fl-orchestrator[{extra}]')}"


def pip_install(requirement: str) -> str:
    """The command that adds a package to the Python that runs.

    Where `flo` is started from an environment that is not active, `pip` alone is another one's.
    """
    python = shlex.quote(sys.executable or "python")
    return f"{python} -m pip install {shlex.quote(requirement)}"


class FloError(Exception):
    """An expected failure: one sentence on what was wrong, and one on what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    @property
    def for_log(self) -> str:
        """The text for a log. Subclasses may leave out what only the user at a terminal may see."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, between processes: the arguments of a subclass are its own matter."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[FloError], arguments: tuple[Any, ...], state: dict[str, Any]) -> FloError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class VerificationError(FloError):
    """A recorded model, update or root is not what the protocol says."""

    exit_code = 1


class InputError(FloError):
    """An argument, a file or a setting that a person gave is unusable."""

    exit_code = 2


class ChainError(FloError):
    """The chain cannot be reached, refused a transaction, or is not the expected one."""

    exit_code = 3


class ContentError(FloError):
    """Content is missing, malformed, too large, or cannot be stored."""

    exit_code = 4


class TrainingError(FloError):
    """Local training or its data failed."""

    exit_code = 5


class KeyStoreError(FloError):
    """A key file cannot be read, or its password is wrong."""

    exit_code = 6


class ToolchainError(FloError):
    """A compiler or another program that the command needs is missing or failed."""

    exit_code = 7
