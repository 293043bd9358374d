"""Runs an HTTP service in a thread: a relay beside its keeper, or a dashboard."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from fl_orchestrator.errors import ChainError, InputError
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

_CONNECTIONS: Final = 256
_IDLE_SECONDS: Final = 10
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5
_HEADER_BYTES: Final = 16 << 10


class CannotListen(InputError):
    """The address to listen on does not belong to this machine, or is in use."""


@contextmanager
def serving(app: ASGIApp, host: str, port: int) -> Iterator[str]:
    """Serve an application and yield its URL. Port 0 is any free port. Raises CannotListen.

    It uses plain HTTP. TLS, and protection against deliberately slow clients, belong into a reverse
    proxy on this machine. The clients' addresses that such a proxy reports (X-Forwarded-For) are
    trusted.
    """
    _log_by_structlog(logging.getLogger("uvicorn"))
    with closing(_listen(host, port)) as listener:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=["127.0.0.1", "::1"],
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_STOP_SECONDS,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://{_shown(host)}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS + _START_SECONDS)


class _Forward(logging.Handler):
    """Forwards the log of another library to this process's own log."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.error(
            "HTTP service failed", reason=record.getMessage().strip(), exc_info=record.exc_info
        )


def _log_by_structlog(logger: logging.Logger) -> None:
    """Log defects only: with warnings, each malformed request of a client would be a line."""
    logger.handlers = [_Forward()]
    logger.setLevel(logging.ERROR)
    logger.propagate = False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
        # socket.create_server() repeats the address in its reason.
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        raise CannotListen(
            f"Cannot listen on {_shown(host)}:{port}: {reason}.",
            "Choose another address.",
        ) from error


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise ChainError("The HTTP service did not start.", "See its log.")
        time.sleep(0.01)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
