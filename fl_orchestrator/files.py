"""Files that others may have put there, and small files that a crash leaves whole."""

from __future__ import annotations

import codecs
import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO would wait for its writer.
_UNKNOWN_FLAGS: Final = _READ_FLAGS | os.O_NONBLOCK | os.O_NOFOLLOW
_FOLDER_FLAGS: Final = _READ_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW


def open_regular(path: Path | str, *, folder: int | None = None) -> io.FileIO:
    """Open a file to read that anybody may have put there: only a regular file, and no link.

    ``folder`` is the descriptor of the directory in which a name is looked up. Raises OSError.
    """
    try:
        descriptor = os.open(path, _UNKNOWN_FLAGS, dir_fd=folder)
    except OSError as error:
        raise _as_link(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return io.FileIO(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The content of a file as ``open_regular`` takes it, and at most one byte above the limit.

    Raises OSError.
    """
    with open_regular(path) as file:
        pieces, left = [], max_bytes + 1
        while left and (piece := file.read(left)):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """The descriptor of a directory that is no link, for calls with ``dir_fd``. Raises OSError."""
    try:
        descriptor = os.open(path, _FOLDER_FLAGS)
    except OSError as error:
        raise _as_link(error, path) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _as_link(error: OSError, path: Path | str) -> OSError:
    """O_NOFOLLOW says of a link that there are too many, and with O_DIRECTORY of a link to a
    directory that it is none."""
    if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and Path(path).is_symlink()):
        return OSError(error.errno, "it is a link, which is not followed here", str(path))
    return error


def decoded(data: bytes) -> str:
    """The text of a file that a person wrote, who may have an editor on Windows: a byte order mark
    says that it is UTF-16, or says nothing; without one it is UTF-8. Raises UnicodeDecodeError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace a file in one step; on return the new text survives a power failure."""
    temporary = path.with_name(f".{path.name}.new")
    # What a crash left behind; a link in its place must not be written through.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's content, or the names in a directory, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
