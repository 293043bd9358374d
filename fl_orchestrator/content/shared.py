"""Files that several roles of one machine have in common: one on the disk, with many names.

Each role keeps a name (a hard link) of its own for what it uses, so no role depends on what another
one deletes, and the number of names says when nobody uses a file any more. A file with many names
is never written to: it is read-only, and replaced by a rename. A role that takes a file checks it
before it uses it, because another role may have damaged it.

Only files that this user alone may change are taken. Where links cannot be made (other file
systems, other users), each role has a copy of its own, as without this directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fl_orchestrator.files import open_regular
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

_BLOCK_BYTES: Final = 1 << 20
_PATIENCE_SECONDS: Final = 120.0
_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_UNFINISHED: Final = re.compile(r"\.new-[0-9a-f]{32}", re.ASCII)


class SharedFiles:
    """The files of one federation in a directory, which is created when the first one is given.

    No method raises OSError: what cannot be shared is not, and this is logged.
    """

    def __init__(self, directory: Path, names: re.Pattern[str]) -> None:
        """``names`` matches the names of files here; others are never deleted."""
        self._directory = directory
        self._names = names

    def take(self, name: str, path: Path) -> bool:
        """Make ``path``, which does not exist, a name of a file here; say whether it is one now.

        What is in the file is not checked.
        """
        return link_own(self._directory / name, path)

    def give(self, name: str, path: Path) -> None:
        """Make a checked file the one that is shared under a name, or replace it by its equal.

        After it, ``path`` is read-only and has the same bytes as before.
        """
        shared = self._directory / name
        try:
            make_read_only(path)
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _new_name(self._directory) as new:
                os.link(path, new)
                try:
                    os.link(new, shared)
                except FileExistsError:
                    if not _replace_by_equal(path, shared):
                        new.replace(shared)
        except OSError as error:
            _log.warning("a file is not shared", path=str(path), reason=str(error))

    def place(
        self, name: str, path: Path, is_right: Callable[[Path], bool], make: Callable[[], None]
    ) -> None:
        """Have the shared file at ``path`` if it is right, or else what ``make`` puts there.

        One role makes it while the others wait for a while, so that it is not there many times.
        Raises what ``make`` raises.
        """
        with self._alone(name), _new_name(path.parent) as new:
            if self.take(name, new) and is_right(new):
                new.replace(path)
            else:
                make()
                self.give(name, path)

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Wait until no other role makes a file of this kind, but not for ever."""
        # Imported here: it brings asyncio, which reading a store does not need.
        from filelock import FileLock, Timeout

        with contextlib.ExitStack() as stack:
            try:
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = FileLock(self._directory / f".{name.partition('-')[0]}.lock")
                stack.enter_context(lock.acquire(timeout=_PATIENCE_SECONDS))
            except (OSError, Timeout) as error:
                _log.warning("a file is made beside another role's", reason=str(error))
            yield

    def forget_unused(self) -> None:
        """Delete files that have no other name any more."""
        try:
            for entry in self._directory.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    ours = self._names.fullmatch(entry.name) or _UNFINISHED.fullmatch(entry.name)
                    seen = entry.lstat()
                    if ours and stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
                        entry.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("unused shared files stay", reason=str(error))


def make_read_only(path: Path) -> None:
    """Take the right to write to a file from everybody. Raises OSError."""
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_WRITABLE)


def link_own(source: Path | str, path: Path, *, folder: int | None = None) -> bool:
    """Make ``path`` another name of a file that only this user may change; say whether it is one.

    It is not where ``source`` is no such file, and where the file systems make no link. ``folder``
    is the descriptor of the directory that a relative source starts from.
    """
    try:
        os.link(source, path, src_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        _log.debug("no link", source=str(source), reason=str(error))
        return False
    # Look at what was linked, not at what was there before.
    if _is_own(path):
        return True
    path.unlink()
    return False


def _is_own(path: Path) -> bool:
    seen = path.lstat()
    regular = stat.S_ISREG(seen.st_mode)
    return regular and seen.st_uid == os.geteuid() and not seen.st_mode & _OTHERS_MAY_WRITE


def _replace_by_equal(path: Path, shared: Path) -> bool:
    """Make ``path`` a name of the shared file if that has the same bytes; say whether it has."""
    with _new_name(path.parent) as new:
        if not link_own(shared, new) or not _are_equal(path, new):
            return False
        make_read_only(new)
        new.replace(path)
    return True


def _are_equal(one: Path, other: Path) -> bool:
    with open_regular(one) as first, open_regular(other) as second:
        here, there = os.fstat(first.fileno()), os.fstat(second.fileno())
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            return True
        if here.st_size != there.st_size:
            return False
        while block := first.read(_BLOCK_BYTES):
            if second.read(len(block)) != block:
                return False
    return True


@contextlib.contextmanager
def _new_name(directory: Path) -> Iterator[Path]:
    """A name for a moment."""
    path = directory / f".new-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
