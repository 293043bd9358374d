"""A content store in an IPFS node (Kubo), through its RPC API.

The node is the operator's own, so its answers are believed; the content it fetches from strangers
is not: it is read as it comes, up to a size, and checked against its CID.
"""

import base64
import io
import secrets
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import requests
from pydantic_core import from_json

from fl_orchestrator.content.cid import CHUNK_BYTES, Cid
from fl_orchestrator.content.download import (
    STALL_SECONDS,
    DownloadInterrupted,
    repeated,
    send,
    stream,
)
from fl_orchestrator.content.store import (
    MAX_FILE_BYTES,
    ContentNotFound,
    HashingReader,
    StoreFull,
    StoreUnavailable,
    too_large,
    verified,
)
from fl_orchestrator.transport import http
from fl_orchestrator.transport.connections import Session
from fl_orchestrator.transport.deadline import Deadline

_UPLOAD_BYTES: Final = 1 << 18
# The node gives up on a request itself; the client waits a little longer, to hear why.
_ANSWER_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 1 << 16
_OK: Final = 200
_REFUSED: Final = frozenset({401, 403})
# Of a proxy in front of the node: another request may be served a moment later.
_PASSING: Final = frozenset({429, 502, 503, 504})
_SHOWN_CHARACTERS: Final = 80
_HINT: Final = "Start it with `ipfs daemon`, and check the address of its RPC API."
_REFUSED_HINT: Final = (
    "Give what API.Authorizations of its configuration, or the proxy in front of it, asks for: "
    "kubo+https://user:password@host, or kubo+https://token@host for a bearer token."
)


class _Authorization(requests.auth.AuthBase):
    """The header of a user and a password, or else of a bearer token."""

    def __init__(self, user: str, password: str | None) -> None:
        if password is None:
            self._header = f"Bearer {user}"
        else:
            pair = base64.b64encode(f"{user}:{password}".encode())
            self._header = f"Basic {pair.decode()}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class KuboStore:
    """A ContentStore in the IPFS node (Kubo, tested with 0.39) at the given host and port.

    Where a proxy is in front of it, its API may be below a ``path``; ``user`` and ``password``, or
    a bearer token as ``user`` alone, are sent with every request and shown nowhere.

    The node has ``timeout_seconds`` to find content, and then for each MiB of it, so a slow or
    stalling provider cannot hold a reader for ever. What a broken connection has interrupted is
    tried again, if it is safe to repeat. ``max_file_bytes`` limits a single put. Nothing is sent
    before the first call, and threads may share the store.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        secure: bool = False,
        path: str = "",
        user: str | None = None,
        password: str | None = None,
        timeout_seconds: float = STALL_SECONDS,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        address = f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
        self._what = f"The IPFS node at {address}"
        self._api = f"{address}{path.rstrip('/')}/api/v0"
        self._timeout_seconds = timeout_seconds
        self._max_file_bytes = max_file_bytes
        self._session = Session()
        # Also without: requests would look for a password in ~/.netrc.
        self._session.auth = _Authorization(user, password) if user else _unchanged

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        """Store the rest of a stream; see ContentStore.put."""
        if not stream.seekable():
            return self._put(stream, pin)
        start = stream.tell()

        def from_start() -> Cid:
            stream.seek(start)
            return self._put(stream, pin)

        return repeated(from_start)

    def _put(self, stream: BinaryIO, pin: bool) -> Cid:
        reader = HashingReader(stream, self._max_file_bytes)
        boundary = secrets.token_hex(16)
        options = {
            "cid-version": "1",
            "raw-leaves": "true",
            "chunker": f"size-{CHUNK_BYTES}",
            # Unpinned first: of an upload that breaks off, the node may keep what has arrived.
            "pin": "false",
            "progress": "false",
        }
        with Deadline(self._timeout_seconds) as deadline:
            answer = self._answer(
                deadline,
                "add",
                options,
                data=self._form(reader, boundary, deadline),
                headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
            )
        cid = reader.cid()
        if (stored := answer.get("Hash")) != str(cid):
            raise StoreUnavailable(
                f"{self._what} stores {cid} as {str(stored)[:_SHOWN_CHARACTERS]!r}.",
                "Remove what differs from the defaults in the Import section of its configuration.",
            )
        if pin:
            self.pin(cid)
        return cid

    def _form(self, reader: HashingReader, boundary: str, deadline: Deadline) -> Iterator[bytes]:
        """The upload; each MiB of it has its time, and so has the answer at its end."""
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        since = 0
        while True:
            try:
                piece = reader.read(_UPLOAD_BYTES)
            except OSError as error:
                raise StoreUnavailable(f"What is to be stored cannot be read: {error}.") from error
            if not piece:
                break
            yield piece
            since += len(piece)
            if since >= CHUNK_BYTES:
                since = 0
                deadline.restart(self._timeout_seconds)
        yield f"\r\n--{boundary}--\r\n".encode()
        deadline.restart(self._timeout_seconds + _ANSWER_SECONDS)

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get.

        The node has its time to find the content; then one request streams all of it.
        """
        size = self._size(cid)
        if size > max_bytes:
            raise too_large(cid, max_bytes)

        def open_at(deadline: Deadline, offset: int) -> requests.Response:
            return self._cat(deadline, cid, offset)

        # The end of an answer may be that of the file, or of what the node could find.
        return verified(stream(self._what, open_at, self._timeout_seconds, size), cid, max_bytes)

    def _size(self, cid: Cid) -> int:
        """The size of a file, of which the node need not have more than the root."""
        stat = self._stat(cid, {})
        if stat.get("Type") != "file":
            raise ContentNotFound(f"{cid} is a directory in IPFS, not a file.")
        size = stat.get("Size")
        if not isinstance(size, int):
            raise self._not_a_node()
        return size

    def _stat(self, cid: Cid, options: dict[str, str]) -> dict[str, Any]:
        return self._repeated("files/stat", {"arg": f"/ipfs/{cid}", **options}, cid)

    def _cat(self, deadline: Deadline, cid: Cid, offset: int) -> requests.Response:
        """The answer from an offset on."""
        query = {"arg": str(cid), "offset": str(offset), "progress": "false"}
        response = self._send(deadline, "cat", query)
        if response.status_code == _OK:
            return response
        with response:
            raise self._failure(response, deadline, cid)

    def has(self, cid: Cid) -> bool:
        """Say whether the node has all of the content itself; see ContentStore.has."""
        try:
            stat = self._stat(cid, {"with-local": "true", "offline": "true"})
        except ContentNotFound:
            return False
        return stat.get("Local") is True

    def pin(self, cid: Cid) -> None:
        """Keep the content, fetching what the node does not have; see ContentStore.pin."""
        self._repeated("pin/add", {"arg": str(cid)}, cid)

    def unpin(self, cid: Cid) -> None:
        """Let the node's garbage collection drop the content; see ContentStore.unpin."""
        try:
            self._repeated("pin/rm", {"arg": str(cid)}, cid)
        except ContentNotFound as error:
            if "not pinned" not in error.message:
                raise StoreUnavailable(error.message) from error

    # ------------------------------------------------------------------ requests

    def _repeated(self, command: str, query: dict[str, str], cid: Cid) -> dict[str, Any]:
        """The answer to a command about this content that is safe to repeat."""
        query = {**query, "timeout": f"{self._timeout_seconds}s"}

        def call() -> dict[str, Any]:
            with Deadline(self._timeout_seconds + _ANSWER_SECONDS) as deadline:
                return self._answer(deadline, command, query, cid)

        return repeated(call)

    def _answer(
        self,
        deadline: Deadline,
        command: str,
        query: dict[str, str],
        cid: Cid | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        with self._send(deadline, command, query, **options) as response:
            if response.status_code != _OK:
                raise self._failure(response, deadline, cid)
            answer = self._object(response, deadline)
        if answer is None:
            raise self._not_a_node()
        return answer

    def _send(
        self, deadline: Deadline, command: str, query: dict[str, str], **options: Any
    ) -> requests.Response:
        url = f"{self._api}/{command}"
        return send(
            self._what, self._session, deadline, "POST", url, _HINT, params=query, **options
        )

    def _object(self, response: requests.Response, deadline: Deadline) -> dict[str, Any] | None:
        """The JSON object of an answer; None for anything else, which a node does not answer."""
        try:
            body = http.read(response, deadline, _MAX_ANSWER_BYTES)
        except requests.Timeout:
            raise StoreUnavailable(f"{self._what} does not answer in time.", _HINT) from None
        except requests.ConnectionError:
            raise DownloadInterrupted(f"The connection to {self._what} broke.", _HINT) from None
        except http.TooMuch:
            return None
        try:
            answer = from_json(body)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    def _failure(
        self, response: requests.Response, deadline: Deadline, cid: Cid | None
    ) -> StoreUnavailable | ContentNotFound | StoreFull:
        """What a status other than 200 means; with a CID, what the node says is about that."""
        status = response.status_code
        if status in _REFUSED:
            return StoreUnavailable(
                f"{self._what} refuses this client: HTTP status {status}.", _REFUSED_HINT
            )
        if status in _PASSING:
            return DownloadInterrupted(f"{self._what} answers with HTTP status {status}.", _HINT)
        reason = (self._object(response, deadline) or {}).get("Message")
        if not isinstance(reason, str):
            return self._not_a_node()
        reason = http.shown_text(reason)
        if cid is not None:
            return ContentNotFound(f"The IPFS node cannot get {cid}: {reason}.")
        if "no space left" in reason:
            return StoreFull(
                f"{self._what} has no room: {reason}.",
                "Free some space, and run the command again.",
            )
        return StoreUnavailable(f"{self._what} reports: {reason}.")

    def _not_a_node(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._what} does not answer as one.", _HINT)


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
