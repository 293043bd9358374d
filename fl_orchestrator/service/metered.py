"""A content store that counts the bytes read and written."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import BUFFER_BYTES, ContentStore

Count = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class MeteredStore:
    """Forwards all calls to ``store``; ``read`` and ``wrote`` are called with counts of bytes."""

    store: ContentStore
    read: Count
    wrote: Count

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        counted = io.BufferedReader(_Counted(stream, self.wrote), BUFFER_BYTES)
        return self.store.put(cast("BinaryIO", counted), pin=pin)

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        cid = self.store.put_file(path, pin=pin)
        self.wrote(path.stat().st_size)
        return cid

    def link(self, cid: Cid, path: Path) -> bool:
        """A link is made to be read: so its bytes are counted here."""
        linked = self.store.link(cid, path)
        if linked:
            self.read(path.stat().st_size)
        return linked

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        source = self.store.get(cid, max_bytes)
        return io.BufferedReader(_Counted(source, self.read, owned=True), BUFFER_BYTES)

    def has(self, cid: Cid) -> bool:
        return self.store.has(cid)

    def pin(self, cid: Cid) -> None:
        self.store.pin(cid)

    def unpin(self, cid: Cid) -> None:
        self.store.unpin(cid)


class _Counted(io.RawIOBase):
    """A stream that reads from ``source`` and closes it at its own end if it is ``owned``."""

    def __init__(self, source: BinaryIO | io.BufferedReader, count: Count, owned: bool = False):
        super().__init__()
        self._source = source
        self._count = count
        self._owned = owned

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._source.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Needed by a store that retries a put after an interruption."""
        return self._source.seek(offset, whence)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)

    def close(self) -> None:
        if self._owned and not self.closed:
            self._source.close()
        super().close()
