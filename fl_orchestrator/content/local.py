"""A content store in a directory, which several processes may share.

    incoming/<random>   a file being written
    pinned/<cid>        kept
    unpinned/<cid>      dropped by garbage collection once its grace period is over

A file is moved between the three by rename, which is atomic. So there is no lock and no index to
keep consistent: a crash leaves at worst a file in ``incoming``, and garbage collection, which never
looks into ``pinned``, cannot take what somebody pins at the same moment. Only validated CIDs and
random hexadecimal numbers become file names.
"""

import errno
import io
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import (
    BUFFER_BYTES,
    MAX_FILE_BYTES,
    ContentNotFound,
    HashingReader,
    StoreFull,
    StoreUnavailable,
    too_large,
    verified,
)

GRACE_SECONDS: Final = 3600.0

_COPY_BYTES: Final = 1 << 18
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalStore:
    """A ContentStore in a directory on a POSIX file system.

    Opening it makes the directory and removes what interrupted puts have left behind for longer
    than ``grace_seconds``. ``max_file_bytes`` limits a single put. Raises StoreUnavailable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._incoming = directory / "incoming"
        self._pinned = directory / "pinned"
        self._unpinned = directory / "unpinned"
        self._max_file_bytes = max_file_bytes
        self._grace_seconds = grace_seconds
        with self._translated_errors():
            for folder in (self._incoming, self._pinned, self._unpinned):
                folder.mkdir(parents=True, exist_ok=True)
        self._remove_older(self._incoming)

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        """Store the rest of a stream; see ContentStore.put."""
        temporary = self._incoming / uuid.uuid4().hex
        with self._translated_errors():
            file = temporary.open("xb", buffering=0)
        try:
            with file:
                cid = self._copy(stream, file)
            with self._translated_errors():
                # Replacing an equal file also heals one that has been damaged.
                folder = self._pinned if pin or self._is_pinned(cid) else self._unpinned
                temporary.replace(folder / str(cid))
                _sync(folder)
        finally:
            temporary.unlink(missing_ok=True)
        self.collect_garbage()
        return cid

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get."""
        source = self._open(cid)
        if os.fstat(source.fileno()).st_size > max_bytes:
            source.close()
            raise too_large(cid, max_bytes)
        return verified(source, cid, max_bytes)

    def locate(self, cid: Cid) -> Path | None:
        """The file kept under a CID, unverified, for whoever looks into what happened to it."""
        return next((path for path in self._places(cid) if path.is_file()), None)

    def has(self, cid: Cid) -> bool:
        """Say whether the store has the content; see ContentStore.has."""
        with self._translated_errors():
            return any(path.exists() for path in self._places(cid))

    def pin(self, cid: Cid) -> None:
        """Keep the content; see ContentStore.pin."""
        pinned = self._pinned / str(cid)
        with self._translated_errors():
            if self._is_pinned(cid):
                return
            with suppress(FileNotFoundError):
                (self._unpinned / str(cid)).replace(pinned)
                _sync(self._pinned)
            if not pinned.exists():
                raise self._not_found(cid)

    def unpin(self, cid: Cid) -> None:
        """Let garbage collection drop the content; see ContentStore.unpin."""
        pinned = self._pinned / str(cid)
        with self._translated_errors(), suppress(FileNotFoundError):
            # The grace period counts from here, so it starts before the collector can see the file.
            os.utime(pinned)
            pinned.replace(self._unpinned / str(cid))
        self.collect_garbage()

    def collect_garbage(self) -> int:
        """Remove unpinned content and leftovers older than the grace period.

        Every put and unpin does it, since a directory has no process of its own for it. Returns the
        number of files removed. Raises StoreUnavailable.
        """
        return self._remove_older(self._unpinned) + self._remove_older(self._incoming)

    def _copy(self, stream: BinaryIO, file: io.FileIO) -> Cid:
        reader = HashingReader(stream, self._max_file_bytes)
        # Only writing is translated: what the caller's stream raises is the caller's.
        while data := reader.read(_COPY_BYTES):
            with self._translated_errors():
                _write_all(file, data)
        with self._translated_errors():
            os.fsync(file.fileno())
        return reader.cid()

    def _open(self, cid: Cid) -> io.BufferedReader:
        for path in self._places(cid):
            with self._translated_errors(), suppress(FileNotFoundError):
                return io.BufferedReader(_open_file(path), BUFFER_BYTES)
        raise self._not_found(cid)

    def _is_pinned(self, cid: Cid) -> bool:
        return (self._pinned / str(cid)).exists()

    def _places(self, cid: Cid) -> tuple[Path, Path, Path]:
        # Looking into the first place again finds a file that was pinned in between.
        pinned = self._pinned / str(cid)
        return pinned, self._unpinned / str(cid), pinned

    def _remove_older(self, folder: Path) -> int:
        limit = time.time() - self._grace_seconds
        removed = 0
        with self._translated_errors():
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime <= limit:
                        path.unlink()
                        removed += 1
        return removed

    def _not_found(self, cid: Cid) -> ContentNotFound:
        return ContentNotFound(f"The content {cid} is not in the store {self._pinned.parent}.")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            directory = self._pinned.parent
            if error.errno in _NO_ROOM:
                raise StoreFull(
                    f"There is no room in the content store {directory}: {error.strerror}.",
                    "Free some space, and run the command again.",
                ) from error
            raise StoreUnavailable(
                f"The content store {directory} cannot be used: {error}.",
                "Check that the directory exists and that you may write to it.",
            ) from error


def _open_file(path: Path) -> io.FileIO:
    """Open a regular file, and nothing else: a pipe in a shared directory would never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return io.FileIO(descriptor, "rb")


def _write_all(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
