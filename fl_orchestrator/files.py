"""Reads files that other users may have created, and writes small files atomically."""

from __future__ import annotations

import codecs
import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

#: The mode of a file that only its owner may read.
OWNER_ONLY: Final = 0o600

# Whether what this thread writes must survive a power failure.
_lasts: ContextVar[bool] = ContextVar("lasts", default=True)

_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would block until another process writes to it.
_UNKNOWN_FLAGS: Final = _READ_FLAGS | os.O_NONBLOCK | os.O_NOFOLLOW
_FOLDER_FLAGS: Final = _READ_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW


def open_regular(path: Path | str, *, folder: int | None = None) -> io.FileIO:
    """Open an untrusted file for reading, if it is a regular file and no symbolic link.

    ``folder`` is the descriptor of the directory that a relative path starts from. Raises OSError,
    also for a link and for a file that is not regular.
    """
    try:
        descriptor = os.open(path, _UNKNOWN_FLAGS, dir_fd=folder)
    except OSError as error:
        raise _as_link(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return io.FileIO(descriptor, "rb")


def names_in(directory: Path) -> list[str]:
    """The names of what is in a directory; none if it does not exist. Raises OSError.

    A search by a pattern, or paths for all of them, would take several times as long.
    """
    try:
        return os.listdir(directory)  # noqa: PTH208
    except FileNotFoundError:
        return []


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read at most ``max_bytes + 1`` bytes of a file that ``open_regular`` accepts.

    The caller compares the length with ``max_bytes`` to detect a larger file. Raises OSError.
    """
    with open_regular(path) as file:
        pieces, left = [], max_bytes + 1
        while left and (piece := file.read(left)):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Open a directory that is no symbolic link; yield its descriptor for calls with ``dir_fd``.

    Raises OSError.
    """
    try:
        descriptor = os.open(path, _FOLDER_FLAGS)
    except OSError as error:
        raise _as_link(error, path) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _as_link(error: OSError, path: Path | str) -> OSError:
    """Replace the misleading error for a link by one that names the link.

    With O_NOFOLLOW the system reports a link as ELOOP ("too many links"); with O_DIRECTORY as well
    it reports a link to a directory as ENOTDIR ("not a directory").
    """
    if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and Path(path).is_symlink()):
        return OSError(error.errno, "it is a link, which is not followed here", str(path))
    return error


def decoded(data: bytes) -> str:
    """Decode a text file that a person wrote, also with a Windows editor.

    It is UTF-16 if it starts with a UTF-16 byte order mark, else UTF-8 with or without a byte order
    mark. Raises UnicodeDecodeError.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace a file atomically; after the return the new text survives a power failure.

    Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.new")
    # A crash may have left this file. It may also be a link, which must not be written through.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor)
        file.write(text)
        file.flush()
        flush(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file's content, or a directory's entries, to disk (fsync). Raises OSError."""
    if not _lasts.get():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Flush an open file or directory to disk (fsync), as `sync` does. Raises OSError."""
    if _lasts.get():
        os.fsync(descriptor)


@contextmanager
def may_be_lost() -> Iterator[None]:
    """Inside the block this thread's `sync` and `flush` do nothing.

    Only for what a power failure may undo because all of it is then made again: the files of the
    roles in a simulation, of which nobody outside the process has seen anything.
    """
    token = _lasts.set(False)
    try:
        yield
    finally:
        _lasts.reset(token)
