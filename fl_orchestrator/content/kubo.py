"""A content store in an IPFS node (Kubo), through its RPC API.

The node is the operator's own, so its answers are believed; the content it fetches from strangers
is not: it is read in pieces, up to a size, and checked against its CID.
"""

import io
import ipaddress
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import ipfshttpclient
import requests
from ipfshttpclient import exceptions

from fl_orchestrator.content.cid import CHUNK_BYTES, Cid
from fl_orchestrator.content.store import (
    MAX_FILE_BYTES,
    ContentNotFound,
    HashingReader,
    StoreFull,
    StoreUnavailable,
    verified,
)

TIMEOUT_SECONDS: Final = 60.0

_UPLOAD_BYTES: Final = 1 << 18
# The node gives up on a request itself; the client waits a little longer, to hear why.
_ANSWER_SECONDS: Final = 10.0


class KuboStore:
    """A ContentStore in the IPFS node (Kubo, tested with 0.39) at the given host and port.

    The node has ``timeout_seconds`` to find each piece of 1 MiB, so a slow or stalling provider
    cannot hold a reader for ever. ``max_file_bytes`` limits a single put. Nothing is sent before
    the first call, and threads may share the store.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        secure: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        self._address = (
            f"/{_address_family(host)}/{host}/tcp/{port}/{'https' if secure else 'http'}"
        )
        self._timeout = f"{timeout_seconds}s"
        self._max_file_bytes = max_file_bytes
        # ipfshttpclient passes urllib3 an argument that urllib3 3 will refuse: hence its pin.
        warnings.filterwarnings("ignore", "The 'strict' parameter is no longer", FutureWarning)
        # Made directly, the client does not check the node's version, of which it knows only 0.5
        # to 0.8; the calls below are the same in 0.39.
        self._client: Any = ipfshttpclient.Client(
            self._address,
            session=True,
            chunk_size=_UPLOAD_BYTES,
            timeout=timeout_seconds + _ANSWER_SECONDS,
        )

    def put(self, stream: BinaryIO) -> Cid:
        """Store and pin the rest of a stream; see ContentStore.put."""
        reader = HashingReader(stream, self._max_file_bytes)
        with self._translated_errors():
            answer = self._client.add(
                reader, cid_version=1, raw_leaves=True, chunker=f"size-{CHUNK_BYTES}"
            )
        cid = reader.cid()
        stored = Cid.parse(answer.get("Hash", ""))
        if stored != cid:
            self.unpin(stored)
            raise StoreUnavailable(
                f"The IPFS node at {self._address} stores {cid} as {stored}.",
                "Remove what differs from the defaults in the Import section of its configuration.",
            )
        return cid

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get."""
        source: io.BufferedReader = io.BufferedReader(_PieceReader(self, cid), CHUNK_BYTES)
        source.peek(1)  # so that what is missing is missed here, and not at the first read
        return verified(source, cid, max_bytes)

    def has(self, cid: Cid) -> bool:
        """Say whether the node has all of the content itself; see ContentStore.has."""
        try:
            with self._translated_errors(cid):
                answer = self._client.files.stat(
                    f"/ipfs/{cid}", offline=True, opts=self._options({"with-local": True})
                )
        except ContentNotFound:
            return False
        return answer.get("Local") is True

    def pin(self, cid: Cid) -> None:
        """Keep the content, fetching what the node does not have; see ContentStore.pin."""
        with self._translated_errors(cid):
            self._client.pin.add(str(cid), opts=self._options())

    def unpin(self, cid: Cid) -> None:
        """Let the node's garbage collection drop the content; see ContentStore.unpin."""
        with self._translated_errors():
            try:
                self._client.pin.rm(str(cid), opts=self._options())
            except exceptions.ErrorResponse as error:
                if "not pinned" not in str(error):
                    raise

    def read_piece(self, cid: Cid, offset: int, length: int) -> bytes:
        """Return at most ``length`` bytes of the content; none at its end.

        Raises ContentNotFound or StoreUnavailable.
        """
        options = self._options({"offset": offset, "length": length})
        with self._translated_errors(cid):
            return bytes(self._client.cat(str(cid), opts=options)[:length])

    def _options(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**(options or {}), "timeout": self._timeout}

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
                    f"There is no room in the IPFS node at {self._address}: {error}.",
                    "Free some space, and run the command again.",
                ) from error
            raise StoreUnavailable(f"The IPFS node at {self._address} reports: {error}.") from error
        except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
            raise StoreUnavailable(
                f"The IPFS node at {self._address} does not answer.",
                "Start it with `ipfs daemon`, and check the address of its RPC API.",
            ) from error
        except (exceptions.Error, requests.RequestException) as error:
            raise StoreUnavailable(
                f"The IPFS node at {self._address} does not answer as one: {error}.",
                "Start it with `ipfs daemon`, and check the address of its RPC API.",
            ) from error


class _PieceReader(io.RawIOBase):
    """The content as a raw stream, one request for each piece."""

    def __init__(self, store: KuboStore, cid: Cid) -> None:
        super().__init__()
        self._store = store
        self._cid = cid
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        length = min(len(buffer), CHUNK_BYTES)
        piece = self._store.read_piece(self._cid, self._offset, length)
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)


def _address_family(host: str) -> str:
    """Return the multiaddr protocol of a host."""
    try:
        return f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        return "dns"
