"""Structured logs: quiet by default, on stderr when asked for."""

from __future__ import annotations

import contextlib
import logging
import sys
from dataclasses import dataclass
from typing import Any, Final, TextIO, cast

import structlog

from fl_orchestrator.errors import InputError

_FORMATS: Final = ("text", "json")
_LEVELS: Final = ("debug", "info", "warning", "error")


class BadLogging(InputError):
    """There is no such level or format of logs."""


@dataclass(frozen=True, slots=True, weakref_slot=True)  # structlog keeps a lock for each stream
class _Tolerant:
    """A stream that loses what it cannot write: a full disk must not end who logs that it is."""

    stream: TextIO

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()


def configure(debug: bool) -> None:
    """Log warnings and worse; with ``debug`` everything. Logs never go to stdout."""
    log("debug" if debug else "warning", "text")


def log(level: str, kind: str) -> None:
    """Log this level and worse to stderr, as text or as JSON lines. Raises BadLogging."""
    for name, value, known in (("level", level, _LEVELS), ("format", kind, _FORMATS)):
        if value not in known:
            raise BadLogging(f"There is no log {name} {value!r}.", f"Use {', '.join(known)}.")
    # Tracebacks without local variables: one may be a key or a password.
    render: list[Any] = [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
    if kind == "json":
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Tolerant(sys.stderr))),
    )


def silence() -> None:
    """Log nothing but what ends the command."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
