"""A file over HTTP as a raw stream: one request, taken up again where it broke off.

No wait is for ever: not for the connection, not for the first byte, not for the next MiB, and not
for all of it. Closing the stream closes the connection, so that the server stops as well.
"""

import io
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import requests

from fl_orchestrator.content.cid import READ_BYTES
from fl_orchestrator.content.store import StoreUnavailable
from fl_orchestrator.transport import http
from fl_orchestrator.transport.deadline import Deadline

STALL_SECONDS: Final = 60.0
#: The pauses before each repetition of what is safe to repeat.
BACK_OFF_SECONDS: tuple[float, ...] = (0.25, 1.0)

_PROGRESS_BYTES: Final = 1 << 20
# However fast each MiB comes.
_MAX_SECONDS: Final = 3600.0

T = TypeVar("T")


class DownloadInterrupted(StoreUnavailable):
    """The connection was refused or broke: the same request may succeed a moment later."""


def repeated(call: Callable[[], T]) -> T:
    """Make a call that is safe to repeat, again after a pause when it was interrupted."""
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

    ``what`` names the server in errors. Raises DownloadInterrupted and StoreUnavailable, without
    their causes, whose text may have a password.
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


#: Asks for a file from an offset on.
Open = Callable[[Deadline, int], requests.Response]


def stream(
    what: str, open_at: Open, stall_seconds: float, size: int | None = None
) -> io.BufferedReader:
    """Open a file as a stream; see Download."""
    return io.BufferedReader(Download(what, open_at, stall_seconds, size), READ_BYTES)


class Download(io.RawIOBase):
    """The file that ``open_at(deadline, offset)`` answers from an offset on.

    A ``size`` is needed where the end of an answer does not tell whether it is the whole file.
    Raises what ``open_at`` raises, DownloadInterrupted when the connection broke again and again,
    and StoreUnavailable when 1 MiB has taken more than ``stall_seconds``, or all of it an hour.
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
        # What may still be waited for the current MiB, and for all of it.
        self._left = stall_seconds
        self._left_of_all = _MAX_SECONDS
        self._since_bytes = 0
        self._open: tuple[requests.Response, Deadline] | None = None
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
        """Only the waiting counts: what the reader does in between is its own business."""
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
            self._open = self._open_at(deadline, self._offset), deadline
        except BaseException:
            deadline.close()
            raise
        return self._open

    def _read(self, size: int) -> bytes:
        """What the next packet brings, up to ``size`` bytes; a full buffer might never come."""
        response, deadline = self._open or self._connect()
        deadline.restart(self._allowed())
        try:
            data = http.read_some(response, deadline, size)
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

    def _hang_up(self) -> None:
        if self._open is not None:
            response, deadline = self._open
            self._open = None
            response.close()
            deadline.close()
