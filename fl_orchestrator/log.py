"""Loggers of structlog, which is imported when something is logged.

Its import takes longer than what most commands do, and most commands log nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

# What configures structlog; at most one, and none once it is done.
_waiting: Final[list[Callable[[], None]]] = []
# Of two threads that log first, one waits until the other has configured structlog.
_preparing: Final = threading.RLock()


class Logger:
    """A logger with the methods of structlog's: ``debug``, ``info``, ``warning`` and so on."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        prepare()
        import structlog

        return getattr(structlog.get_logger(self._name), method)


def get_logger(name: str) -> Logger:
    """The logger of a module."""
    return Logger(name)


def configure_when_used(configure: Callable[[], None]) -> None:
    """Have ``configure`` called before anything is logged; at once if structlog is loaded."""
    _waiting[:] = [configure]
    if "structlog" in sys.modules:
        prepare()


def prepare() -> None:
    """Configure structlog as was asked for, if that is not done yet."""
    if not _waiting:
        return
    with _preparing:
        for configure in _waiting[:]:
            configure()
        _waiting.clear()


def forget() -> None:
    """Forget what `configure_when_used` was given: structlog is configured in another way."""
    _waiting.clear()
