"""A content store in an IPFS node (Kubo), through its RPC API.

The node is the operator's own, so its answers are believed; the content it fetches from strangers
is not: it is read as it comes, up to a size, and checked against its CID.
"""

import base64
import io
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import ipfshttpclient
import requests
from ipfshttpclient import exceptions
from pydantic_core import from_json
from urllib3.exceptions import DecodeError

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
    ContentStore,
    HashingReader,
    StoreFull,
    StoreUnavailable,
    too_large,
    verified,
)
from fl_orchestrator.errors import ContentError
from fl_orchestrator.transport import http
from fl_orchestrator.transport.connections import Session
from fl_orchestrator.transport.deadline import Deadline

_UPLOAD_BYTES: Final = 1 << 18
# The node gives up on a request itself; the client waits a little longer, to hear why.
_ANSWER_SECONDS: Final = 10.0
_ADVICE_SECONDS: Final = 2.0
_MAX_ANSWER_BYTES: Final = 1 << 16
# ipfshttpclient parses JSON by recursion in C, and web3's libraries raise Python's limit of it so
# far that an answer of nested brackets alone would overflow the stack and end the process.
_MAX_ANSWER_BRACKETS: Final = 1 << 12
_OK: Final = 200
_REFUSED: Final = frozenset({401, 403})
# Of a proxy in front of the node: another request may be served a moment later.
_PASSING: Final = frozenset({429, 502, 503, 504})
# What ipfshttpclient raises for an answer of another form than a node gives, or that is cut off.
_UNEXPECTED: Final = (
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
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


class _BoundedBody:
    """The body of an answer, of which ipfshttpclient would read any number of bytes."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, _amount: int | None, decode_content: bool | None = None) -> Iterator[bytes]:
        left, brackets = _MAX_ANSWER_BYTES, _MAX_ANSWER_BRACKETS
        for piece in self._raw.stream(_MAX_ANSWER_BYTES, decode_content=decode_content):
            left -= len(piece)
            brackets -= piece.count(b"[") + piece.count(b"{")
            if left < 0 or brackets < 0:
                raise DecodeError("the answer is larger than an answer of a node")
            yield piece


class _NodeSession(Session):
    """What ipfshttpclient sends its requests with: deadlines hold, and answers are bounded."""

    def __init__(self, user: str | None, password: str | None) -> None:
        super().__init__()
        # Also without: requests would look for a password in ~/.netrc.
        self.auth = _Authorization(user, password) if user else _unchanged
        self.headers["Accept-Encoding"] = "identity"

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = super().send(request, **options)
        response.raw = _BoundedBody(response.raw)
        return response


class _PacedReader:
    """What is uploaded: each MiB of it has its time, and so has the answer after its end."""

    def __init__(self, reader: HashingReader, deadline: Deadline, seconds: float) -> None:
        self._reader, self._deadline = reader, deadline
        self._seconds = seconds
        self._since = 0

    def read(self, size: int = _UPLOAD_BYTES, /) -> bytes:
        try:
            piece = self._reader.read(size)
        except OSError as error:
            raise StoreUnavailable(f"What is to be stored cannot be read: {error}.") from error
        self._since += len(piece)
        if not piece:
            self._deadline.restart(self._seconds + _ANSWER_SECONDS)
        elif self._since >= CHUNK_BYTES:
            self._since = 0
            self._deadline.restart(self._seconds)
        return piece


class KuboStore(ContentStore):
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
        self._session = _NodeSession(user, password)
        base = f"{path.strip('/')}/api/v0".lstrip("/")
        # Made directly, the client does not check the node's version, of which it knows only 0.5
        # to 0.8; the calls below are the same in 0.39.
        self._client: Any = ipfshttpclient.Client(
            f"/{_address_family(host)}/{host}/tcp/{port}/{'https' if secure else 'http'}",
            base,
            chunk_size=_UPLOAD_BYTES,
            timeout=None,
        )
        # It has no parameter for a session, and its own keeps no deadline.
        self._client._client._session = self._session

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
        with self._call(self._timeout_seconds) as deadline:
            # Unpinned first: of an upload that breaks off, the node may keep what has arrived.
            answer = self._client.add(
                _PacedReader(reader, deadline, self._timeout_seconds),
                cid_version=1,
                raw_leaves=True,
                chunker=f"size-{CHUNK_BYTES}",
                pin=False,
            )
        cid = reader.cid()
        if (stored := self._object(answer).get("Hash")) != str(cid):
            raise StoreUnavailable(
                f"{self._what} stores {cid} as {str(stored)[:_SHOWN_CHARACTERS]!r}.",
                "Remove what differs from the defaults in the Import section of its configuration.",
            )
        if pin:
            self.pin(cid)
        return cid

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
        try:
            stat = self._stat(cid, {})
        except ContentNotFound as error:
            raise ContentNotFound(error.message, self._advice()) from error
        if stat.get("Type") != "file":
            raise ContentNotFound(f"{cid} is a directory in IPFS, not a file.")
        size = stat.get("Size")
        if not isinstance(size, int):
            raise self._not_a_node()
        return size

    def _advice(self) -> str | None:
        """What to do about a node that does not find content, from whom it is connected to."""
        try:
            with self._call(_ADVICE_SECONDS):
                answer = self._client.swarm.peers()
        except ContentError:
            # It is offline, or fails in more than this: the first error says enough.
            return None
        peers = answer.get("Peers") if isinstance(answer, Mapping) else None
        if not peers:
            return "The node has no peers: join it to the others as docs/ipfs.md says."
        return (
            f"The node has {len(peers)} peers, and none of them gave it. If this goes on, they may "
            "be connected without exchanging blocks: join the nodes by Peering.Peers, as "
            "docs/ipfs.md says, and start them again."
        )

    def _stat(self, cid: Cid, options: dict[str, Any]) -> Mapping[str, Any]:
        def call() -> Any:
            return self._client.files.stat(f"/ipfs/{cid}", opts=self._options(options))

        return self._object(self._repeated(call, cid))

    def _object(self, answer: Any) -> Mapping[str, Any]:
        """The answer, if it is one JSON object, as a node's is."""
        if not isinstance(answer, Mapping):
            raise self._not_a_node()
        return answer

    def _cat(self, deadline: Deadline, cid: Cid, offset: int) -> requests.Response:
        """The answer from an offset on."""
        query = {"arg": str(cid), "offset": str(offset), "progress": "false"}
        what, url = self._what, f"{self._api}/cat"
        response = send(what, self._session, deadline, "POST", url, _HINT, params=query)
        if response.status_code == _OK:
            return response
        with response:
            raise self._failure(response.status_code, _reason(response, deadline), cid)

    def has(self, cid: Cid) -> bool:
        """Say whether the node has all of the content itself; see ContentStore.has."""
        try:
            stat = self._stat(cid, {"with-local": True, "offline": True})
        except ContentNotFound:
            return False
        return stat.get("Local") is True

    def pin(self, cid: Cid) -> None:
        """Keep the content, fetching what the node does not have; see ContentStore.pin."""
        self._repeated(lambda: self._client.pin.add(str(cid), opts=self._options()), cid)

    def unpin(self, cid: Cid) -> None:
        """Let the node's garbage collection drop the content; see ContentStore.unpin."""
        try:
            self._repeated(lambda: self._client.pin.rm(str(cid), opts=self._options()), cid)
        except ContentNotFound as error:
            if "not pinned" not in error.message:
                raise StoreUnavailable(error.message) from error

    # ------------------------------------------------------------------ requests

    def _options(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**(options or {}), "timeout": f"{self._timeout_seconds}s"}

    def _repeated(self, command: Callable[[], Any], cid: Cid) -> Any:
        """The answer to a command about this content that is safe to repeat."""

        def call() -> Any:
            with self._call(self._timeout_seconds + _ANSWER_SECONDS, cid):
                return command()

        return repeated(call)

    @contextmanager
    def _call(self, seconds: float, cid: Cid | None = None) -> Iterator[Deadline]:
        """Let a call of the client keep a deadline, and translate its errors.

        They are raised without their causes, whose text may have a password.
        """
        with Deadline(seconds) as deadline:
            try:
                with deadline.applied():
                    yield deadline
            except exceptions.StatusError as error:
                reason = str(error) if isinstance(error, exceptions.ErrorResponse) else None
                raise self._failure(_status(error), reason, cid) from None
            except (exceptions.Error, requests.RequestException, *_UNEXPECTED) as error:
                raise self._broken(error, deadline) from None

    def _broken(self, error: Exception, deadline: Deadline) -> StoreUnavailable:
        """What it means that a call came to no answer."""
        if deadline.passed or isinstance(error, exceptions.TimeoutError | requests.Timeout):
            return StoreUnavailable(f"{self._what} does not answer in time.", _HINT)
        cause = error.__cause__
        if isinstance(error, exceptions.ConnectionError) and not (
            isinstance(cause, requests.ConnectionError) and http.was_connected(cause)
        ):
            return DownloadInterrupted(f"{self._what} cannot be reached.", _HINT)
        if isinstance(
            error,
            exceptions.CommunicationError
            | requests.ConnectionError
            | requests.exceptions.ChunkedEncodingError,
        ):
            return DownloadInterrupted(f"The connection to {self._what} broke.", _HINT)
        return self._not_a_node()

    def _failure(
        self, status: int, reason: str | None, cid: Cid | None
    ) -> StoreUnavailable | ContentNotFound | StoreFull:
        """What a status other than 200 means; with a CID, what the node says is about that."""
        if status in _REFUSED:
            return StoreUnavailable(
                f"{self._what} refuses this client: HTTP status {status}.", _REFUSED_HINT
            )
        if status in _PASSING:
            return DownloadInterrupted(f"{self._what} answers with HTTP status {status}.", _HINT)
        if reason is None:
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


def _reason(response: requests.Response, deadline: Deadline) -> str | None:
    """The reason that an error of the node gives, which is JSON; None for another server's."""
    try:
        return str(from_json(http.read(response, deadline, _MAX_ANSWER_BYTES))["Message"])
    except (ValueError, KeyError, TypeError, http.TooMuch, requests.RequestException):
        return None


def _status(error: Any) -> int:
    return int(error.original.response.status_code)


def _address_family(host: str) -> str:
    """The multiaddr protocol of a host."""
    try:
        return f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        return "dns"
