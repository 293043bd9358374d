"""JSON over HTTP with somebody who is not trusted: no redirects, and limits of size and time."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

_PIECE_BYTES: Final = 1 << 16
_MAX_SHOWN_CHARACTERS: Final = 500
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    # What is compressed has no size that could be limited before it is unpacked.
    "Accept-Encoding": "identity",
}


class TooMuch(Exception):
    """The answer is larger than the limit, and was not read to its end."""


def post(
    session: requests.Session, url: str, body: bytes, seconds: float, max_bytes: int
) -> tuple[int, bytes]:
    """The status and the body of the answer, of which at most ``max_bytes`` are ever in memory.

    ``seconds`` is for connecting, for each wait, and for the whole body. Raises TooMuch, and
    requests.RequestException, whose text has the whole URL: show `shown_url` instead.
    """
    deadline = time.monotonic() + seconds
    with session.post(
        url, data=body, headers=_HEADERS, timeout=seconds, allow_redirects=False, stream=True
    ) as response:
        pieces, size = [], 0
        try:
            while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
                size += len(piece)
                if size > max_bytes:
                    raise TooMuch
                if time.monotonic() > deadline:
                    raise requests.Timeout
                pieces.append(piece)
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError from error
        return response.status_code, b"".join(pieces)


def shown_url(url: str) -> str:
    """The URL without credentials or keys, which often stand in its user part, path or query."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "The given text"
    return f"{parts.scheme}://{host}{port}" if host else "The given text"


def shown_text(text: str) -> str:
    """What another party says, as far as it can be shown: no control characters, not too much."""
    printable = "".join(c if c.isprintable() else " " for c in text[:_MAX_SHOWN_CHARACTERS])
    return printable.strip().rstrip(".")
