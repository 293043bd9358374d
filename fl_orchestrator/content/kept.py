"""A stream that is kept on disk while it is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

from fl_orchestrator.content.store import BUFFER_BYTES
from fl_orchestrator.errors import ContentError, FloError

COPY_BYTES: Final = 1 << 18


def reader(path: Path) -> io.BufferedReader:
    """Open a file of this role's own for reading in order."""
    return io.BufferedReader(path.open("rb", buffering=0), BUFFER_BYTES)


class FetchStopped(ContentError):
    """Nobody waits for this file any more."""


class Kept:
    """A stream of which every byte that is read is written to a file too, if there is one."""

    def __init__(
        self, source: BinaryIO, file: BinaryIO | None, stop: Callable[[], bool], name: str
    ) -> None:
        self._source = source
        self._file = file
        self._stop = stop
        self._name = name
        self._reads = True  # no read has failed

    def read(self, size: int, /) -> bytes:
        """Raises FetchStopped, and what the source raises."""
        self._reads = False
        data = self._source.read(size)
        if self._file is not None:
            self._file.write(data)
        if self._stop():
            raise FetchStopped(f"{self._name} is not needed any more.")
        self._reads = True
        return data

    def _checked(self, root_of: Callable[[BinaryIO], bytes]) -> bytes | FloError:
        """The root of what is read, or why it has none. Raises what ``read`` raises."""
        try:
            return root_of(cast("BinaryIO", self))
        except FloError as error:
            if not self._reads:
                raise
            # The author is to blame only if these are its bytes, which their end will show.
            return error

    def root(self, root_of: Callable[[BinaryIO], bytes], again: Path | None = None) -> bytes:
        """The root of all that is read, to the end: only there the source has checked the CID.

        It is computed as the bytes come, or afterwards, where ``root_of`` has to seek: of the file
        ``again``, in which they are then. Raises what ``read`` raises, and else what ``root_of``
        raises.
        """
        if again is None:
            found = self._checked(root_of)
            self._read_on()
            if isinstance(found, FloError):
                raise found
            return found
        self._read_on()
        if self._file is not None:
            self._file.flush()
        with reader(again) as file:
            return root_of(file)

    def _read_on(self) -> None:
        while self.read(COPY_BYTES):
            pass
