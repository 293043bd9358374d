"""The interface of a content store, and its errors.

A store keeps files under the CID of their bytes (docs/protocol.md, section 4). It can deny data but
not change it: a reader of ``verified`` gets the bytes that have the CID, or an error.
"""

import io
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from fl_orchestrator.content.cid import Cid, CidHasher
from fl_orchestrator.errors import ContentError, InputError

BUFFER_BYTES: Final = 1 << 16
# The largest vector is 2 GiB (2^21 chunks of 1,024 bytes); the rest is for its header.
MAX_FILE_BYTES: Final = (2 << 30) + (100 << 20)


class ContentNotFound(ContentError):
    """The store does not have the content, and cannot get it."""


class ContentTooLarge(ContentError):
    """The content is larger than the caller or the store allows."""


class ContentCorrupt(ContentError):
    """The store gave bytes whose CID is not the one asked for."""


class StoreFull(ContentError):
    """There is no room for the content; nothing of it was kept."""


class StoreUnavailable(ContentError):
    """The store cannot be reached or used at all."""


class StoreUrlError(InputError):
    """The URL does not name a content store."""


class ContentStore(Protocol):
    """What the roles need of a store; every call is safe to repeat."""

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        """Store the rest of a stream, and pin it unless told otherwise; return its CID.

        Raises ContentTooLarge, StoreFull or StoreUnavailable; then the store keeps nothing of it.
        """
        ...

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        """Store a file that nobody writes to any more; see ``put``.

        A store in a directory of the same file system makes it its own by a hard link.
        """
        with path.open("rb") as stream:
            return self.put(stream, pin=pin)

    def link(self, cid: Cid, path: Path) -> bool:  # noqa: ARG002
        """Make ``path``, which does not exist, a name of the store's own file, if it has one.

        Says whether it is one now. Its content is not checked, and nobody may write to it.
        """
        return False

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a stream, which the caller closes (it is a context manager).

        Bytes are returned as they arrive. The last bytes and the end of the stream are returned
        only after the CID of all bytes has been checked. So a stream that was read to its end is
        verified; a stream that was read in part is not. Opening or reading raises ContentNotFound,
        ContentTooLarge (over ``max_bytes``), ContentCorrupt or StoreUnavailable.
        """
        ...

    def has(self, cid: Cid) -> bool:
        """Return whether this store itself holds the content, without using the network.

        Raises StoreUnavailable.
        """
        ...

    def pin(self, cid: Cid) -> None:
        """Keep the content until it is unpinned.

        There is no size limit here: pin only what ``put`` has stored, or what was read to its end
        with ``get``. Raises ContentNotFound or StoreUnavailable.
        """
        ...

    def unpin(self, cid: Cid) -> None:
        """Let garbage collection remove the content; no effect if it is not pinned.

        Raises StoreUnavailable.
        """
        ...


class HashingReader:
    """Reads a stream and computes its CID on the way; ``put`` reads its content through it.

    ``read`` raises ContentTooLarge when the stream has more than ``max_bytes``.
    """

    def __init__(self, stream: BinaryIO, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._room = max_bytes
        self._hasher = CidHasher()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._room -= len(data)
        if self._room < 0:
            raise above_limit(self._max_bytes)
        self._hasher.update(data)
        return data

    def cid(self) -> Cid:
        """Return the CID of what has been read."""
        return self._hasher.cid()


class HashingWriter:
    """Writes to a file and computes the CID of what is written on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hasher = CidHasher()

    def write(self, data: bytes | memoryview, /) -> int:
        if memoryview(data).nbytes:
            self._hasher.update(data)
        return self._file.write(data)

    def cid(self) -> Cid:
        """Return the CID of what has been written."""
        return self._hasher.cid()


def verified(source: io.BufferedReader, cid: Cid, max_bytes: int) -> io.BufferedReader:
    """Return a stream with the guarantees of ContentStore.get; closing it closes ``source``."""
    return io.BufferedReader(_VerifiedReader(source, cid, max_bytes), BUFFER_BYTES)


class _VerifiedReader(io.RawIOBase):
    def __init__(self, source: io.BufferedReader, cid: Cid, max_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._cid = cid
        self._max_bytes = max_bytes
        self._bytes = 0
        self._hasher = CidHasher()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            size = self._source.readinto(buffer)
            # Look one byte ahead, to hold back the last bytes until the CID is checked.
            at_end = not self._source.peek(1)
        except OSError as error:
            raise StoreUnavailable(f"Reading {self._cid} failed: {error}.") from error
        self._bytes += size
        if self._bytes + (not at_end) > self._max_bytes:
            raise too_large(self._cid, self._max_bytes)
        self._hasher.update(memoryview(buffer)[:size])
        if at_end and self._hasher.cid() != self._cid:
            raise ContentCorrupt(
                f"The store's bytes for {self._cid} do not have that CID.",
                "Fetch the content from another store, and put it here again.",
            )
        return size

    def close(self) -> None:
        try:
            self._source.close()
        finally:
            super().close()


def above_limit(max_bytes: int) -> ContentTooLarge:
    return ContentTooLarge(
        f"The content has more than the {max_bytes:,} bytes that the store allows."
    )


def too_large(cid: Cid, max_bytes: int) -> ContentTooLarge:
    return ContentTooLarge(f"The content {cid} has more than the {max_bytes:,} bytes allowed.")
