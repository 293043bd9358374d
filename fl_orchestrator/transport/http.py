"""HTTP requests to servers that are not trusted: each has a total deadline and a limit of size, and
follows no redirects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)

from fl_orchestrator.transport.connections import Session
from fl_orchestrator.transport.deadline import Deadline

__all__ = [
    "Deadline",
    "Session",
    "TooMuch",
    "exchange",
    "post",
    "read",
    "read_some",
    "send",
    "was_connected",
]

_PIECE_BYTES: Final = 1 << 16
_MAX_SHOWN_CHARACTERS: Final = 500
_JSON: Final = "application/json"


class TooMuch(Exception):
    """The response is larger than the limit; it was not read to its end."""


def send(
    session: requests.Session, deadline: Deadline, method: str, url: str, **options: Any
) -> requests.Response:
    """Make a request whose body is read later, by ``read`` or ``read_some`` and the same deadline.

    Raises requests.Timeout and other requests.RequestException. Their text contains the whole URL.
    """
    # Refuse compression: the size of a compressed body is not known before it is unpacked.
    headers = {"Accept-Encoding": "identity", **options.pop("headers", {})}
    with deadline.applied(), _in_time(deadline):
        return session.request(
            method,
            url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=max(deadline.remaining, 1e-3),
            **options,
        )


def read_some(response: requests.Response, deadline: Deadline, size: int) -> bytes:
    """Read what the next packet brings, up to ``size`` bytes; empty at the end of the body.

    Raises requests.Timeout, and requests.ConnectionError when the connection broke.
    """
    with _in_time(deadline):
        data: bytes = response.raw.read1(size, decode_content=False)
    return data


def read(response: requests.Response, deadline: Deadline, max_bytes: int) -> bytes:
    """Read the whole body. Raises TooMuch, and what ``read_some`` raises."""
    pieces, size = [], 0
    while piece := read_some(response, deadline, _PIECE_BYTES):
        size += len(piece)
        if size > max_bytes:
            raise TooMuch
        pieces.append(piece)
    return b"".join(pieces)


def exchange(
    session: requests.Session,
    url: str,
    body: bytes | None,
    seconds: float,
    max_bytes: int,
    accept: str = _JSON,
) -> tuple[int, bytes]:
    """POST a JSON body, or GET without one; return the status and an answer of ``max_bytes``.

    ``seconds`` limits the whole exchange. Raises TooMuch, and what ``send`` raises; show users
    `shown_url` instead of the text of these errors.
    """
    headers = {"Accept": accept, **({} if body is None else {"Content-Type": _JSON})}
    method = "GET" if body is None else "POST"
    with (
        Deadline(seconds) as deadline,
        send(session, deadline, method, url, data=body, headers=headers) as response,
    ):
        return response.status_code, read(response, deadline, max_bytes)


def post(
    session: requests.Session, url: str, body: bytes, seconds: float, max_bytes: int
) -> tuple[int, bytes]:
    """`exchange` of a JSON body for JSON."""
    return exchange(session, url, body, seconds, max_bytes)


def was_connected(error: requests.ConnectionError) -> bool:
    """Whether the connection had been established before it broke."""
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    return not any(
        isinstance(c, (NewConnectionError, NameResolutionError, ConnectTimeoutError))
        for c in causes
    )


@contextmanager
def _in_time(deadline: Deadline) -> Iterator[None]:
    """Raise Timeout if the deadline passed, whichever error its shutdown of the socket caused."""
    try:
        yield
    except requests.RequestException as error:
        if deadline.passed and not isinstance(error, requests.Timeout):
            raise requests.Timeout from error
        raise
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        if deadline.passed:
            raise requests.Timeout from error
        raise requests.ConnectionError from error
    if deadline.passed:
        # A body without a length ends when the connection is shut down, without any error.
        raise requests.Timeout


def shown_url(url: str) -> str:
    """The URL without user part, path and query, which often contain credentials or keys."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "The given text"
    return f"{parts.scheme}://{host}{port}" if host else "The given text"


def shown_text(text: str) -> str:
    """Another party's text, without control characters and cut to a limited length."""
    printable = "".join(c if c.isprintable() else " " for c in text[:_MAX_SHOWN_CHARACTERS])
    return printable.strip().rstrip(".")
