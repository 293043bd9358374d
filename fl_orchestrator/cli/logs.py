"""Structured logs on stderr: warnings only by default, more with an option."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TextIO, cast

from fl_orchestrator import log as loggers
from fl_orchestrator.errors import InputError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.printable import printable, printable_lines, printable_value

_FORMATS: Final = ("text", "json")
_LEVELS: Final = ("debug", "info", "warning", "error")


class BadLogging(InputError):
    """There is no such level or format of logs."""


@dataclass(frozen=True, slots=True, weakref_slot=True)  # structlog keeps a lock for each stream
class _Tolerant:
    """A stream that drops what it cannot write: a full disk must not end the process that logs."""

    stream: TextIO

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()


def _made_printable(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Escape control characters in text from outside, which could act on the reader's terminal."""
    traceback = event.pop("exception", None)
    event = {printable(key): printable_value(value) for key, value in event.items()}
    if traceback is not None:
        event["exception"] = printable_lines(traceback, "  ")
    return event


def _taking(instead: Take) -> Callable[[Any, str, dict[str, Any]], dict[str, Any]]:
    def take(_logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        if method in _PRINTED:
            return event
        from structlog import DropEvent

        instead(event)
        raise DropEvent

    return take


def _telling(on_error: Take) -> Callable[[Any, str, dict[str, Any]], dict[str, Any]]:
    def tell(_logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        if method == "error":
            on_error(event)
        return event

    return tell


def _json_line(event: dict[str, Any], default: Any = repr, **_: Any) -> str:
    return to_json(event, default=default)


class _Printable(logging.Formatter):
    """The formatter for logs of libraries, which do not use structlog."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record), "  ")


def configure(debug: bool) -> None:
    """Log warnings and errors; with ``debug`` all levels. Logs never go to stdout."""
    _log_of_libraries()
    loggers.configure_when_used(functools.partial(log, "debug" if debug else "warning", "text"))


Take = Callable[[Mapping[str, Any]], None]
_PRINTED: Final = frozenset({"warning", "error", "critical", "exception"})


def log(level: str, kind: str, on_error: Take | None = None, instead: Take | None = None) -> None:
    """Log this level and higher ones to stderr, as text or as JSON lines. Raises BadLogging.

    ``on_error`` is called with each entry of level error. ``instead`` takes the entries below a
    warning, which are not printed then.
    """
    for name, value, known in (("level", level, _LEVELS), ("format", kind, _FORMATS)):
        if value not in known:
            raise BadLogging(f"There is no log {name} {value!r}.", f"Use {', '.join(known)}.")
    import structlog

    loggers.forget()
    # Tracebacks without local variables, because a variable may hold a key or a password.
    render: list[Any] = [
        structlog.processors.format_exc_info,
        _made_printable,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if kind == "text"
        else structlog.processors.JSONRenderer(serializer=_json_line),
    ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *((_telling(on_error),) if on_error else ()),
            *((_taking(instead),) if instead else ()),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Tolerant(sys.stderr))),
    )
    _log_of_libraries()


def _log_of_libraries() -> None:
    if not logging.root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
        logging.root.addHandler(handler)


def silence() -> None:
    """Log only critical errors."""
    import structlog

    loggers.forget()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
