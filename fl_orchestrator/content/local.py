"""A content store in a directory, which several processes may share.

    incoming/<random>   a file being written
    pinned/<cid>        kept
    unpinned/<cid>      dropped by garbage collection once its grace period is over

A file moves between the three by rename, which is atomic. So the store needs no lock and no index:
a crash leaves at worst a file in ``incoming``. Garbage collection never looks into ``pinned``, so
there is no race with a pin. Only validated CIDs and random hexadecimal numbers become file names.
Files are read-only, because a role's directory may have other names of them (hard links): what is
put again is a new file in the place of the old one.

Other users may write to a shared directory. So the store follows no link in it, to a folder or to a
file, opens only regular files, and deletes only files whose names the store itself could have
written. The store's directory itself may be a link, because the user chose it.
"""

import errno
import io
import math
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from fl_orchestrator.content.cid import Cid, CidError, cid_of_file
from fl_orchestrator.content.kept import COPY_BYTES
from fl_orchestrator.content.shared import link_own
from fl_orchestrator.content.store import (
    BUFFER_BYTES,
    MAX_FILE_BYTES,
    ContentNotFound,
    ContentStore,
    HashingReader,
    StoreFull,
    StoreUnavailable,
    above_limit,
    too_large,
    verified,
)
from fl_orchestrator.files import flush, open_folder, open_regular

GRACE_SECONDS: Final = 3600.0
# After a look for garbage, puts of pinned content do not look again for so long.
_LOOK_AGAIN_SECONDS: Final = 1.0

_INCOMING: Final = "incoming"
_PINNED: Final = "pinned"
_UNPINNED: Final = "unpinned"
# Look into the first folder twice: the file may have been pinned between the first two look-ups.
_PLACES: Final = (_PINNED, _UNPINNED, _PINNED)
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY_NAME: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class ReadOnlyStore(ContentStore):
    """Reads the content of a store's directory; creates, changes and deletes nothing.

    It is a ContentStore whose ``put``, ``pin`` and ``unpin`` raise StoreUnavailable.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:  # noqa: ARG002
        raise self._refusal()

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        """Open the content as a verified stream; see ContentStore.get."""
        source = self._open(cid)
        if os.fstat(source.fileno()).st_size > max_bytes:
            source.close()
            raise too_large(cid, max_bytes)
        return verified(source, cid, max_bytes)

    def locate(self, cid: Cid) -> Path | None:
        """The path of the file stored under a CID, unverified, to examine damaged content."""
        for folder in _PLACES:
            with suppress(OSError), self._folder(folder) as descriptor:
                if _is_file(descriptor, str(cid)):
                    return self._directory / folder / str(cid)
        return None

    def link(self, cid: Cid, path: Path) -> bool:
        """Make ``path`` a name of the stored file; see ContentStore.link."""
        for folder in _PLACES:
            with suppress(OSError), self._folder(folder) as descriptor:
                if link_own(str(cid), path, folder=descriptor):
                    return True
        return False

    def has(self, cid: Cid) -> bool:
        """Say whether the store has the content; see ContentStore.has."""
        with self._translated_errors():
            return any(self._holds(folder, cid) for folder in _PLACES)

    def pin(self, cid: Cid) -> None:  # noqa: ARG002
        raise self._refusal()

    def unpin(self, cid: Cid) -> None:  # noqa: ARG002
        raise self._refusal()

    def _open(self, cid: Cid) -> io.BufferedReader:
        for folder in _PLACES:
            with (
                self._translated_errors(),
                suppress(FileNotFoundError),
                self._folder(folder) as descriptor,
            ):
                return io.BufferedReader(open_regular(str(cid), folder=descriptor), BUFFER_BYTES)
        raise self._not_found(cid)

    def _holds(self, folder: str, cid: Cid) -> bool:
        with suppress(FileNotFoundError), self._folder(folder) as descriptor:
            return _is_file(descriptor, str(cid))
        return False

    @contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        """Open one of the three folders. Every call opens it again: it may have been replaced."""
        with open_folder(self._directory / name) as descriptor:
            yield descriptor

    def _not_found(self, cid: Cid) -> ContentNotFound:
        return ContentNotFound(f"The content {cid} is not in the store {self._directory}.")

    def _refusal(self) -> StoreUnavailable:
        return StoreUnavailable(f"The content store {self._directory} was opened read-only.")

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            directory = self._directory
            if error.errno in _NO_ROOM:
                raise StoreFull(
                    f"There is no room in the content store {directory}: {error.strerror}.",
                    "Free some space, and run the command again.",
                ) from error
            raise StoreUnavailable(
                f"The content store {directory} cannot be used: {error}.",
                "Check that the directory exists, that you may write to it, and that it contains "
                "no links.",
            ) from error


class LocalStore(ReadOnlyStore):
    """A ContentStore in a directory on a POSIX file system.

    Opening it creates the directory, and removes files of interrupted puts that are older than
    ``grace_seconds``. ``max_file_bytes`` limits a single put. Raises StoreUnavailable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        super().__init__(directory)
        self._max_file_bytes = max_file_bytes
        self._grace_seconds = grace_seconds
        self._collected_at = -math.inf
        with self._translated_errors():
            directory.mkdir(parents=True, exist_ok=True)
            for folder in (_INCOMING, _PINNED, _UNPINNED):
                with suppress(FileExistsError):
                    (directory / folder).mkdir()
                with self._folder(folder):
                    pass  # if it is a link or a file, this raises before anything is written
        self._remove_older(_INCOMING)

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        """Store the rest of a stream; see ContentStore.put."""
        name = uuid.uuid4().hex
        with self._opened(_INCOMING) as incoming:
            with self._translated_errors():
                descriptor = _create(incoming, name)
            try:
                with io.FileIO(descriptor, "wb") as file:
                    cid = self._copy(stream, file)
                self._move_in(incoming, name, cid, pin)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=incoming)
        self._collect_after_put(pin)
        return cid

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        """Store a file by a link if that can be made, else a copy; see ContentStore.put_file.

        The file becomes read-only, and as readable for others as the store's own files.
        """
        with open_regular(path) as source:
            name = uuid.uuid4().hex
            with self._opened(_INCOMING) as incoming:
                try:
                    if _link_in(source, path, incoming, name):
                        cid = self._cid_of(source)
                        self._move_in(incoming, name, cid, pin)
                        self._collect_after_put(pin)
                        return cid
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=incoming)
            return self.put(io.BufferedReader(source), pin=pin)

    def _cid_of(self, source: io.FileIO) -> Cid:
        if os.fstat(source.fileno()).st_size > self._max_file_bytes:
            raise above_limit(self._max_file_bytes)
        return cid_of_file(source.fileno())

    def _move_in(self, incoming: int, name: str, cid: Cid, pin: bool) -> None:
        with self._translated_errors():
            # Replace even an existing file: it may be damaged.
            kept = pin or self._holds(_PINNED, cid)
            self._move(incoming, name, _PINNED if kept else _UNPINNED, str(cid))

    def pin(self, cid: Cid) -> None:
        """Keep the content; see ContentStore.pin."""
        with self._translated_errors():
            if self._holds(_PINNED, cid):
                return
            with suppress(FileNotFoundError), self._folder(_UNPINNED) as unpinned:
                self._move(unpinned, str(cid), _PINNED, str(cid))
            if not self._holds(_PINNED, cid):
                raise self._not_found(cid)

    def unpin(self, cid: Cid) -> None:
        """Let garbage collection drop the content; see ContentStore.unpin."""
        with (
            self._translated_errors(),
            suppress(FileNotFoundError),
            self._folder(_PINNED) as pinned,
        ):
            # The grace period starts now: set the time before the garbage collector sees the file.
            os.utime(str(cid), dir_fd=pinned, follow_symlinks=False)
            # A rename does nothing where both names are of one file, which was put twice.
            with suppress(FileNotFoundError), self._folder(_UNPINNED) as unpinned:
                if _inode(unpinned, str(cid)) == _inode(pinned, str(cid)):
                    os.unlink(str(cid), dir_fd=unpinned)
            self._move(pinned, str(cid), _UNPINNED, str(cid))
        self.collect_garbage()

    def collect_garbage(self) -> int:
        """Remove unpinned content and leftovers older than the grace period.

        Unpinning calls it, and putting now and then, because a directory has no background process.
        Returns the number of files removed. Raises StoreUnavailable.
        """
        self._collected_at = time.monotonic()
        return self._remove_older(_UNPINNED) + self._remove_older(_INCOMING)

    def _collect_after_put(self, pinned: bool) -> None:
        """Content that is pinned adds nothing that could be removed."""
        if not pinned or time.monotonic() >= self._collected_at + _LOOK_AGAIN_SECONDS:
            self.collect_garbage()

    def _copy(self, stream: BinaryIO, file: io.FileIO) -> Cid:
        reader = HashingReader(stream, self._max_file_bytes)
        # Translate only errors of writing; an error of the caller's stream goes to the caller.
        while data := reader.read(COPY_BYTES):
            with self._translated_errors():
                _write_all(file, data)
        with self._translated_errors():
            flush(file.fileno())
        return reader.cid()

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """Open one of the three folders, and translate errors of opening it, but no later ones."""
        with ExitStack() as stack:
            with self._translated_errors():
                descriptor = stack.enter_context(self._folder(name))
            yield descriptor

    def _move(self, source: int, name: str, folder: str, new_name: str) -> None:
        """Move a file from one folder to another. Raises OSError."""
        with self._folder(folder) as target:
            os.replace(name, new_name, src_dir_fd=source, dst_dir_fd=target)
            flush(target)

    def _remove_older(self, name: str) -> int:
        limit = time.time() - self._grace_seconds
        removed = 0
        with self._translated_errors(), self._folder(name) as folder:
            for entry in os.listdir(folder):  # noqa: PTH208 (pathlib takes no descriptor)
                with suppress(FileNotFoundError):
                    if _is_own(name, entry) and _is_older(folder, entry, limit):
                        os.unlink(entry, dir_fd=folder)
                        removed += 1
        return removed


def _is_own(folder: str, name: str) -> bool:
    """Whether a store could have written a file of this name in this folder."""
    if folder == _INCOMING:
        return _TEMPORARY_NAME.fullmatch(name) is not None
    try:
        Cid.parse(name)
    except CidError:
        return False
    return True


def _is_older(folder: int, name: str, limit: float) -> bool:
    """Whether it is a regular file that was last changed before ``limit`` (Unix time)."""
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return stat.S_ISREG(seen.st_mode) and seen.st_mtime <= limit


def _create(folder: int, name: str) -> int:
    """Create a file that nobody can write to but through the descriptor returned."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(name, flags, 0o444, dir_fd=folder)


def _link_in(source: io.FileIO, path: Path, folder: int, name: str) -> bool:
    """Make a name in a folder for an open file, if this user may and its ``path`` is still its.

    The file then is like one that was created there now.
    """
    try:
        # What the process's umask leaves of the rights shows in a new file.
        os.close(_create(folder, name))
        mode = stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        os.unlink(name, dir_fd=folder)
        os.fchmod(source.fileno(), mode)
        # Before the link: an old file in this folder is one that a crash has left.
        os.utime(source.fileno())
        flush(source.fileno())
        os.link(path, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:
        # Another user's file, another file system, no room: a copy shows what cannot be mended.
        return False
    if _inode(folder, name) == os.fstat(source.fileno())[1:3]:
        return True
    os.unlink(name, dir_fd=folder)
    return False


def _inode(folder: int, name: str) -> tuple[int, int]:
    """What identifies a file, by whichever name. Raises OSError."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False)[1:3]


def _is_file(folder: int, name: str) -> bool:
    """Whether the folder has a regular file of that name. Raises OSError, not if it is absent."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _write_all(file: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
