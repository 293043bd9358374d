"""A file over HTTP as a raw stream: one request, resumed at its offset if the connection breaks.

What a server sends in the coding of `transport.packing`, which only ``open_at`` can ask for, is
unpacked on the way: offsets and limits are those of the file itself.

Every wait has a timeout: for the connection, for the first byte, for each MiB, and for the whole
file. Closing the stream closes the connection, so that the server stops sending.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import requests

from fl_orchestrator.content.cid import READ_BYTES
from fl_orchestrator.content.store import StoreUnavailable
from fl_orchestrator.transport import http
from fl_orchestrator.transport.deadline import Deadline
from fl_orchestrator.transport.packing import CODING, BadPacking, Unpacker

STALL_SECONDS: Final = 60.0
#: The pause before each retry of an idempotent request.
BACK_OFF_SECONDS: tuple[float, ...] = (0.25, 1.0)

_PROGRESS_BYTES: Final = 1 << 20
# The limit for a whole file, however fast each MiB arrives.
_MAX_SECONDS: Final = 3600.0

T = TypeVar("T")


class DownloadInterrupted(StoreUnavailable):
    """The connection was refused or broke: a retry of the same request may succeed."""


def repeated(call: Callable[[], T]) -> T:
    """Make an idempotent call; after DownloadInterrupted, pause and retry."""
    for pause in BACK_OFF_SECONDS:
        try:
            return call()
        except DownloadInterrupted:
            time.sleep(pause)
    return call()


def send(
    what: str,
    session: requests.Session,
    deadline: Deadline,
    method: str,
    url: str,
    hint: str | None = None,
    **options: Any,
) -> requests.Response:
    """Make a request whose body is read later; redirects are not followed.

    ``what`` names the server in errors. Raises DownloadInterrupted and StoreUnavailable. Both hide
    their cause, because its text may contain a password.
    """
    try:
        return http.send(session, deadline, method, url, **options)
    except requests.Timeout:
        raise StoreUnavailable(f"{what} does not answer in time.", hint) from None
    except requests.ConnectionError as error:
        if http.was_connected(error):
            raise DownloadInterrupted(f"The connection to {what} broke.", hint) from None
        raise DownloadInterrupted(f"{what} cannot be reached.", hint) from None
    except requests.RequestException:
        raise StoreUnavailable(f"{what} does not answer as an HTTP server.", hint) from None


#: Requests a file from an offset (in bytes) to its end.
Open = Callable[[Deadline, int], requests.Response]


def stream(
    what: str, open_at: Open, stall_seconds: float, size: int | None = None
) -> io.BufferedReader:
    """Open a file as a stream; see Download."""
    return io.BufferedReader(Download(what, open_at, stall_seconds, size), READ_BYTES)


class Download(io.RawIOBase):
    """The file that ``open_at(deadline, offset)`` requests, from an offset to its end.

    Give ``size`` (bytes) if the end of a response does not prove that the file is complete. Raises
    what ``open_at`` raises, DownloadInterrupted when the retries are used up, and StoreUnavailable
    when 1 MiB takes longer than ``stall_seconds``, or the file longer than an hour.
    """

    def __init__(
        self, what: str, open_at: Open, stall_seconds: float, size: int | None = None
    ) -> None:
        super().__init__()
        self._what = what
        self._open_at = open_at
        self._stall_seconds = stall_seconds
        self._size = size
        self._offset = 0
        # Seconds of waiting that are left for the current MiB, and for the whole file.
        self._left = stall_seconds
        self._left_of_all = _MAX_SECONDS
        self._since_bytes = 0
        self._open: tuple[requests.Response, Deadline] | None = None
        self._blocks: _Blocks | None = None
        self._timed(lambda: repeated(self._connect))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._timed(lambda: repeated(lambda: self._read(len(buffer))))
        self._since_bytes += len(data)
        if self._since_bytes >= _PROGRESS_BYTES:
            self._since_bytes, self._left = 0, self._stall_seconds
        elif data and self._left <= 0:
            raise StoreUnavailable(f"{self._what} is too slow.")
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def close(self) -> None:
        try:
            self._hang_up()
        finally:
            super().close()

    def _timed(self, wait: Callable[[], T]) -> T:
        """Count only the time spent waiting, not the time between the reader's calls."""
        start = time.monotonic()
        try:
            return wait()
        finally:
            waited = time.monotonic() - start
            self._left -= waited
            self._left_of_all -= waited
            if self._open is not None:
                self._open[1].pause()

    def _allowed(self) -> float:
        return max(0.0, min(self._left, self._left_of_all))

    def _connect(self) -> tuple[requests.Response, Deadline]:
        deadline = Deadline(self._allowed())
        try:
            response = self._open_at(deadline, self._offset)
        except BaseException:
            deadline.close()
            raise
        self._open = response, deadline
        self._blocks = _Blocks() if is_packed(response) else None
        return self._open

    def _read(self, size: int) -> bytes:
        """Read what the next packet brings, up to ``size`` bytes.

        To wait for a full buffer might take for ever.
        """
        response, deadline = self._open or self._connect()
        deadline.restart(self._allowed())
        try:
            if self._blocks is None:
                data = http.read_some(response, deadline, size)
            else:
                data = self._unpacked(self._blocks, response, deadline, size)
        except requests.Timeout:
            self._hang_up()
            raise StoreUnavailable(f"{self._what} has stalled.") from None
        except requests.ConnectionError:
            self._hang_up()
            raise DownloadInterrupted(f"The connection to {self._what} broke.") from None
        if not data and self._size is not None and self._offset < self._size:
            self._hang_up()
            raise DownloadInterrupted(
                f"{self._what} sent {self._offset:,} of {self._size:,} bytes."
            )
        return data

    def _unpacked(
        self, blocks: _Blocks, response: requests.Response, deadline: Deadline, size: int
    ) -> bytes:
        try:
            while not (data := blocks.take(size)):
                piece = http.read_some(response, deadline, size)
                if not piece:
                    break
                blocks.add(piece)
        except BadPacking as error:
            self._hang_up()
            raise StoreUnavailable(f"{self._what} sent no packed file: {error.message}") from None
        if not data and not blocks.is_whole:
            self._hang_up()
            raise DownloadInterrupted(f"{self._what} sent a part of a packed file.")
        return data

    def _hang_up(self) -> None:
        if self._open is not None:
            response, deadline = self._open
            self._open = None
            response.close()
            deadline.close()


def is_packed(response: requests.Response) -> bool:
    """Whether the body of an answer is in the coding of files on their way."""
    return response.headers.get("Content-Encoding", "").strip().lower() == CODING


class _Blocks:
    """Unpacks what arrives, and no more of it than is taken."""

    def __init__(self) -> None:
        self._unpacker = Unpacker()
        self._coming: Iterator[bytes] = iter(())
        self._rest = b""

    def add(self, piece: bytes) -> None:
        """Add what has arrived, when ``take`` has returned nothing."""
        self._coming = self._unpacker.unpacked(piece)

    def take(self, size: int) -> bytes:
        """Up to ``size`` bytes of the file; none if more has to arrive. Raises BadPacking."""
        if not self._rest:
            self._rest = next(self._coming, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    @property
    def is_whole(self) -> bool:
        return self._unpacker.is_whole
