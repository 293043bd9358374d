"""The log of a simulation: warnings and errors, unless the program says otherwise."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

import structlog

from fl_orchestrator import log


def log_warnings_only() -> None:
    """Log warnings and errors only, and to stderr, unless the program has configured structlog."""
    log.prepare()
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """`log_warnings_only` until the end of the block."""
    log.prepare()
    if structlog.is_configured():
        yield
        return
    log_warnings_only()
    try:
        yield
    finally:
        structlog.reset_defaults()
