"""Uploads of updates into a keeper's store."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from anyio.to_thread import run_sync

from fl_orchestrator.content.cid import Cid, CidHasher
from fl_orchestrator.content.store import ContentStore, StoreFull
from fl_orchestrator.log import get_logger
from fl_orchestrator.relay.screening import Refused, Upload, patiently
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.transport.packing import BadPacking, Unpacker

_log = get_logger(__name__)

#: The space, in bytes, for uploads that may still be needed in disputes.
MAX_STORED_BYTES: Final = 100 << 30

_CHUNK_SECONDS: Final = 30.0
_MIN_SECONDS: Final = 60.0
_SLOWEST_BYTES_PER_SECOND: Final = 64 << 10


class Uploads:
    """Accepts only content that a screened message has announced.

    The content is kept as long as ``retention`` requires. ``max_bytes`` is the largest size of a
    file; ``directory`` is for unfinished uploads.
    """

    def __init__(
        self,
        store: ContentStore,
        retention: Retention,
        directory: Path,
        max_bytes: int,
        max_stored_bytes: int = MAX_STORED_BYTES,
    ) -> None:
        self._store = store
        self._retention = retention
        self._directory = directory
        self.max_bytes = max_bytes
        self._max_stored_bytes = max_stored_bytes
        self._expected: dict[Cid, Upload] = {}
        self._receiving: set[Cid] = set()  # used by the event loop only, so it needs no lock
        self._lock = threading.Lock()

    def expect(self, upload: Upload) -> bool:
        """Expect content for the current round; return whether the store has it. Raises Refused."""
        cid = upload.cid
        with patiently(self._lock, "store"):
            self._retention.release(upload.seen)
            if self._store.has(cid):
                # A party can commit to any file's CID, such as a model's. Pin only what was
                # uploaded here: noted content is unpinned later, and other files are not ours.
                if cid in self._retention:
                    self._store.pin(cid)
                return True
            for old in [c for c, e in self._expected.items() if e.meta.round < upload.meta.round]:
                del self._expected[old]
            self._expected[cid] = upload
            expected = sum(e.max_bytes for e in self._expected.values())
            if len(self._retention) * self.max_bytes + expected > self._max_stored_bytes:
                del self._expected[cid]
                raise Refused(507, "The relay has no room for more updates.")
        return False

    def limit(self, cid: Cid) -> int:
        """The most bytes that an upload may have, or any upload if this one is not expected."""
        expected = self._expected.get(cid)
        return self.max_bytes if expected is None else expected.max_bytes

    async def receive(self, cid: Cid, chunks: AsyncIterator[bytes]) -> None:
        """Read announced content to its end, check it, and store it. Raises Refused.

        If the store already has the content, the upload is not read.
        """
        expected = self._expected.get(cid)
        if expected is None and await run_sync(self._store.has, cid):
            return
        if expected is None:
            raise Refused(404, f"{cid} was not announced: post its preimage first.")
        if cid in self._receiving:
            raise Refused(429, f"{cid} is being received now.")
        self._receiving.add(cid)
        try:
            # The file has no name, so the operating system removes it after a crash.
            with _translated_errors(), tempfile.TemporaryFile(dir=self._directory) as file:
                size = await self._copy(expected, chunks, file)
                file.seek(0)
                await run_sync(self._keep, expected, size, file)
        finally:
            self._receiving.discard(cid)

    async def _copy(self, expected: Upload, chunks: AsyncIterator[bytes], file: BinaryIO) -> int:
        hasher, size, limit = CidHasher(), 0, expected.max_bytes
        try:
            async with asyncio.timeout(_MIN_SECONDS + limit / _SLOWEST_BYTES_PER_SECOND):
                async for chunk in _paced(chunks):
                    size += len(chunk)
                    if size > limit:
                        raise too_large(limit)
                    hasher.update(chunk)
                    file.write(chunk)
        except TimeoutError:
            raise Refused(408, "The upload took too long.") from None
        if hasher.cid() != expected.cid:
            raise Refused(422, f"The {size} bytes received are not those of {expected.cid}.")
        return size

    def _keep(self, upload: Upload, size: int, file: BinaryIO) -> None:
        # Note it first, so that content is unpinned later even if the process crashes here.
        with self._lock:
            self._retention.note([(upload.cid, upload.meta)])
        self._store.put(file)
        with self._lock:
            self._expected.pop(upload.cid, None)
        _log.info(
            "uploaded",
            author=upload.author,
            round=upload.meta.round,
            cid=str(upload.cid),
            bytes=size,
        )


def too_large(max_bytes: int) -> Refused:
    return Refused(413, f"At most {max_bytes} bytes are accepted here.")


async def unpacked(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """The bytes of a packed upload, as they are read: who has enough of them ends it early.

    Packed, it has ``max_bytes`` at most, because it may also unpack to nothing. Raises Refused.
    """
    unpacker, left = Unpacker(), max_bytes
    try:
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise too_large(max_bytes)
            for block in unpacker.unpacked(chunk):
                yield block
                # Few bytes may unpack to many: others have their turn meanwhile.
                await asyncio.sleep(0)
    except BadPacking as error:
        raise Refused(400, error.message) from None
    if not unpacker.is_whole:
        raise Refused(400, "The upload ended before the packed file did.")


async def _paced(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, with a timeout for each. Raises TimeoutError."""
    iterator = aiter(chunks)
    while True:
        async with asyncio.timeout(_CHUNK_SECONDS):
            chunk = await anext(iterator, None)
        if chunk is None:
            return
        yield chunk


@contextlib.contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except StoreFull as error:
        raise Refused(507, error.message) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Refused(507, "The relay's disk is full.") from error
