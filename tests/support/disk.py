"""Does to files what a disk may do: it is full, or gives other bytes than were written."""

from __future__ import annotations

import contextlib
import resource
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """Limit the files of this process to ``size`` bytes; longer writes fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def overwrite(path: Path, content: bytes | bytearray) -> None:
    """Put other bytes into a file, by whichever name, also where nobody may write to it."""
    path.chmod(0o644)
    path.write_bytes(content)


def bytes_on_disk(*directories: Path) -> int:
    """The bytes of all files below some directories, those with several names counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for path in (path for directory in directories for path in directory.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
            seen = path.lstat()
            if stat.S_ISREG(seen.st_mode):
                sizes[seen.st_dev, seen.st_ino] = seen.st_size
    return sum(sizes.values())
