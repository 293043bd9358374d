"""A stream that is kept on disk while it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final, cast

from fl_orchestrator.errors import ContentError, FloError

COPY_BYTES: Final = 1 << 18


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

    def checked(self, root_of: Callable[[BinaryIO], bytes]) -> bytes | FloError:
        """The root of what is read, or why it has none. Raises what ``read`` raises."""
        try:
            return root_of(cast("BinaryIO", self))
        except FloError as error:
            if not self._reads:
                raise
            # The author is to blame only if these are its bytes, which their end will show.
            return error

    def read_on(self) -> None:
        """Read the rest: only at its end the source has checked the CID."""
        while self.read(COPY_BYTES):
            pass
