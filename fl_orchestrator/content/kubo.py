"""A content store in an IPFS node (Kubo), through its RPC API.

The node is the operator's own, so its answers are believed; the content it fetches from strangers
is not: it is read as it comes, up to a size, and checked against its CID.
"""

import io
import ipaddress
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import ipfshttpclient
import requests
import urllib3
from ipfshttpclient import exceptions
from pydantic_core import from_json

from fl_orchestrator.content.cid import CHUNK_BYTES, Cid
from fl_orchestrator.content.download import (
    CONNECT_SECONDS,
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

_UPLOAD_BYTES: Final = 1 << 18
# The node gives up on a request itself; the client waits a little longer, to hear why.
_ANSWER_SECONDS: Final = 10.0
_MAX_ERROR_BYTES: Final = 1 << 16
_OK: Final = 200
_SHOWN_CHARACTERS: Final = 80
_HINT: Final = "Start it with `ipfs daemon`, and check the address of its RPC API."


class KuboStore:
    """A ContentStore in the IPFS node (Kubo, tested with 0.39) at the given host and port.

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
        timeout_seconds: float = STALL_SECONDS,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        scheme, family = "https" if secure else "http", _address_family(host)
        netloc = f"[{host}]:{port}" if family == "ip6" else f"{host}:{port}"
        self._what = f"The IPFS node at {scheme}://{netloc}"
        self._cat_url = f"{scheme}://{netloc}/api/v0/cat"
        self._timeout_seconds = timeout_seconds
        self._max_file_bytes = max_file_bytes
        # ipfshttpclient passes urllib3 an argument that urllib3 3 will refuse: hence its pin.
        warnings.filterwarnings("ignore", "The 'strict' parameter is no longer", FutureWarning)
        # Made directly, the client does not check the node's version, of which it knows only 0.5
        # to 0.8; the calls below are the same in 0.39.
        self._client: Any = ipfshttpclient.Client(
            f"/{family}/{host}/tcp/{port}/{scheme}",
            session=True,
            chunk_size=_UPLOAD_BYTES,
            timeout=(CONNECT_SECONDS, timeout_seconds + _ANSWER_SECONDS),
        )

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
        with self._translated_errors():
            # Unpinned first: of an upload that breaks off, the node may keep what has arrived.
            answer = self._client.add(
                reader, cid_version=1, raw_leaves=True, chunker=f"size-{CHUNK_BYTES}", pin=False
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

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get.

        The node has its time to find the content; then one request streams all of it.
        """
        size = self._size(cid)
        if size > max_bytes:
            raise too_large(cid, max_bytes)

        def open_at(offset: int) -> requests.Response:
            return self._cat(cid, offset)

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

    def _stat(self, cid: Cid, options: dict[str, Any]) -> Any:
        def call() -> Any:
            with self._translated_errors(cid):
                return self._client.files.stat(f"/ipfs/{cid}", opts=self._options(options))

        return repeated(call)

    def _cat(self, cid: Cid, offset: int) -> requests.Response:
        """The answer from an offset on. ipfshttpclient would read all of it into memory."""
        query = {"arg": str(cid), "offset": str(offset), "progress": "false"}
        response = send(self._what, "POST", self._cat_url, self._timeout_seconds, params=query)
        if response.status_code == _OK:
            return response
        with response:
            reason = _reported(response)
        if reason is None:
            raise self._not_a_node()
        raise ContentNotFound(f"The IPFS node cannot get {cid}: {reason}.")

    def has(self, cid: Cid) -> bool:
        """Say whether the node has all of the content itself; see ContentStore.has."""
        try:
            stat = self._stat(cid, {"with-local": True, "offline": True})
        except ContentNotFound:
            return False
        return stat.get("Local") is True

    def pin(self, cid: Cid) -> None:
        """Keep the content, fetching what the node does not have; see ContentStore.pin."""

        def call() -> None:
            with self._translated_errors(cid):
                self._client.pin.add(str(cid), opts=self._options())

        repeated(call)

    def unpin(self, cid: Cid) -> None:
        """Let the node's garbage collection drop the content; see ContentStore.unpin."""

        def call() -> None:
            with self._translated_errors():
                try:
                    self._client.pin.rm(str(cid), opts=self._options())
                except exceptions.ErrorResponse as error:
                    if "not pinned" not in str(error):
                        raise

        repeated(call)

    def _options(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**(options or {}), "timeout": f"{self._timeout_seconds}s"}

    @contextmanager
    def _translated_errors(self, cid: Cid | None = None) -> Iterator[None]:
        """Translate errors; with a CID, what the node reports is about that content."""
        try:
            yield
        except exceptions.ErrorResponse as error:
            if cid is not None:
                raise ContentNotFound(f"The IPFS node cannot get {cid}: {error}.") from error
            if "no space left" in str(error):
                raise StoreFull(
                    f"{self._what} has no room: {error}.",
                    "Free some space, and run the command again.",
                ) from error
            raise StoreUnavailable(f"{self._what} reports: {error}.") from error
        except exceptions.ConnectionError as error:
            raise DownloadInterrupted(f"{self._what} cannot be reached.", _HINT) from error
        except (exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError) as error:
            raise DownloadInterrupted(f"The connection to {self._what} broke.", _HINT) from error
        except exceptions.TimeoutError as error:
            raise StoreUnavailable(f"{self._what} does not answer.", _HINT) from error
        except (exceptions.Error, requests.RequestException) as error:
            raise self._not_a_node() from error

    def _not_a_node(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._what} does not answer as one.", _HINT)


def _reported(response: requests.Response) -> str | None:
    """The reason that an error of the node gives, which is JSON; None for another server's."""
    try:
        body = response.raw.read(_MAX_ERROR_BYTES, decode_content=True)
        return str(from_json(body)["Message"])
    except (ValueError, KeyError, TypeError, OSError, urllib3.exceptions.HTTPError):
        return None


def _address_family(host: str) -> str:
    """Return the multiaddr protocol of a host."""
    try:
        return f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        return "dns"
