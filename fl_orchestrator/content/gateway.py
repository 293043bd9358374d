"""Read-only sources of content over HTTP, for content that a store does not have.

A gateway (IPFS's path gateway: ``GET {base}/ipfs/{cid}``) is not trusted. It can deny content and
waste a limited amount of time, but it cannot change content.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import requests

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.download import is_packed, send, stream
from fl_orchestrator.content.store import (
    ContentNotFound,
    ContentStore,
    StoreFull,
    StoreUnavailable,
    StoreUrlError,
    too_large,
    verified,
)
from fl_orchestrator.errors import ContentError
from fl_orchestrator.transport import packing
from fl_orchestrator.transport.connections import Session
from fl_orchestrator.transport.deadline import Deadline

#: How long a gateway may take for its first byte, and for each MiB.
GATEWAY_SECONDS: Final = 30.0

_MISSING: Final = {404, 410}
_REDIRECTS: Final = {301, 302, 303, 307, 308}
HTTP_URL_HINT: Final = (
    "Use http(s)://host[:port][/path], without user, password, query or fragment."
)


class Gateway:
    """The gateway at ``url``, an http(s) address without credentials. Raises StoreUrlError."""

    def __init__(self, url: str, *, stall_seconds: float = GATEWAY_SECONDS) -> None:
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 (the property validates)
        except ValueError as error:
            raise StoreUrlError("The gateway URL is malformed.", HTTP_URL_HINT) from error
        plain = parts.hostname and "@" not in parts.netloc and not (parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not plain:
            raise StoreUrlError("The gateway URL is not understood.", HTTP_URL_HINT)
        self._base = url.rstrip("/")
        # Leave out the path: it may contain an access key.
        self._what = f"The gateway {parts.scheme}://{parts.netloc}"
        self._stall_seconds = stall_seconds
        self._session = Session()

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get."""

        def open_at(deadline: Deadline, offset: int) -> requests.Response:
            return self._open_at(deadline, cid, offset, max_bytes)

        return verified(stream(self._what, open_at, self._stall_seconds), cid, max_bytes)

    def _open_at(
        self, deadline: Deadline, cid: Cid, offset: int, max_bytes: int
    ) -> requests.Response:
        # A range is one of the bytes as they are, so what goes on comes without the coding.
        headers = (
            {"Range": f"bytes={offset}-"} if offset else {"Accept-Encoding": packing.accepted()}
        )
        url = f"{self._base}/ipfs/{cid}"
        response = send(self._what, self._session, deadline, "GET", url, headers=headers)
        try:
            self._check(response, cid, offset, max_bytes)
        except ContentError:
            response.close()
            raise
        return response

    def _check(self, response: requests.Response, cid: Cid, offset: int, max_bytes: int) -> None:
        status, promised = response.status_code, response.headers.get("Content-Length", "")
        if status in _MISSING:
            raise ContentNotFound(f"{self._what} does not have {cid}.")
        if status in _REDIRECTS:
            # A redirect could lead into this site's internal network.
            raise StoreUnavailable(
                f"{self._what} sent a redirect, and redirects are not followed.",
                "Use a path gateway, and the address that it redirects to.",
            )
        if status != (206 if offset else 200):
            raise StoreUnavailable(f"{self._what} answers with status {status}.")
        begins = response.headers.get("Content-Range", "")
        if offset and not begins.startswith(f"bytes {offset}-"):
            raise StoreUnavailable(f"{self._what} sent another range than the requested one.")
        if is_packed(response):
            # Its limit holds where it is unpacked: how many bytes that gives is not said here.
            if offset or not packing.is_available():
                raise StoreUnavailable(f"{self._what} sent a coding that was not asked for.")
        elif promised.isdecimal() and offset + int(promised) > max_bytes:
            raise too_large(cid, max_bytes)


class StoreWithGateways:
    """A ContentStore that asks gateways, in their order, for content that ``store`` lacks.

    Content from a gateway is first put into the store, unpinned, and read from there. Only complete
    content can be verified, so only then it is known whether the next gateway must be asked. The
    store then also serves later reads, and a role that must provide the content can pin it.
    """

    def __init__(self, store: ContentStore, gateways: Sequence[Gateway]) -> None:
        self._store = store
        self._gateways = tuple(gateways)

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        return self._store.put(stream, pin=pin)

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        return self._store.put_file(path, pin=pin)

    def link(self, cid: Cid, path: Path) -> bool:
        """Link what the store itself has, as it has all that was opened with ``get``."""
        return self._store.link(cid, path)

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get."""
        reasons = [] if self._store.has(cid) else self._fetch(cid, max_bytes)
        try:
            return self._store.get(cid, max_bytes)
        except ContentNotFound as error:
            raise ContentNotFound(" ".join([error.message, *reasons]), error.hint) from error

    def has(self, cid: Cid) -> bool:
        return self._store.has(cid)

    def pin(self, cid: Cid) -> None:
        self._store.pin(cid)

    def unpin(self, cid: Cid) -> None:
        self._store.unpin(cid)

    def _fetch(self, cid: Cid, max_bytes: int) -> list[str]:
        """Fetch the content into the store; return why each gateway that was asked failed."""
        reasons = []
        for gateway in self._gateways:
            try:
                with gateway.get(cid, max_bytes) as source:
                    self._store.put(source, pin=False)
            except StoreFull:
                raise
            except ContentError as error:
                reasons.append(error.message)
            else:
                return []
        return reasons
