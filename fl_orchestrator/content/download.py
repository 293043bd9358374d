"""A file over HTTP as a raw stream: one request, taken up again where it broke off.

No wait is for ever: not for the connection, not for the first byte, and not for the next MiB.
Closing the stream closes the connection, so that the server stops as well.
"""

import io
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import requests
import urllib3

from fl_orchestrator.content.cid import READ_BYTES
from fl_orchestrator.content.store import StoreUnavailable

CONNECT_SECONDS: Final = 10.0
STALL_SECONDS: Final = 60.0
#: The pauses before each repetition of what is safe to repeat.
BACK_OFF_SECONDS: tuple[float, ...] = (0.25, 1.0)

_PROGRESS_BYTES: Final = 1 << 20

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
    what: str, method: str, url: str, stall_seconds: float, **options: Any
) -> requests.Response:
    """Make a request whose body is read later; redirects are not followed.

    ``what`` names the server in errors. Raises DownloadInterrupted and StoreUnavailable.
    """
    try:
        return requests.request(
            method,
            url,
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_SECONDS, stall_seconds),
            **options,
        )
    except requests.Timeout as error:
        raise StoreUnavailable(f"{what} does not answer.") from error
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise DownloadInterrupted(f"{what} cannot be reached.") from error
    except requests.RequestException as error:
        raise StoreUnavailable(f"{what} does not answer as an HTTP server.") from error


def stream(
    what: str,
    open_at: Callable[[int], requests.Response],
    stall_seconds: float,
    size: int | None = None,
) -> io.BufferedReader:
    """Open a file as a stream; see Download."""
    return io.BufferedReader(Download(what, open_at, stall_seconds, size), READ_BYTES)


class Download(io.RawIOBase):
    """The file that ``open_at(offset)`` answers from an offset on.

    A ``size`` is needed where the end of an answer does not tell whether it is the whole file.
    Raises what ``open_at`` raises, DownloadInterrupted when the connection broke again and again,
    and StoreUnavailable when 1 MiB has taken more than ``stall_seconds``.
    """

    def __init__(
        self,
        what: str,
        open_at: Callable[[int], requests.Response],
        stall_seconds: float,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self._what = what
        self._open_at = open_at
        self._stall_seconds = stall_seconds
        self._size = size
        self._offset = 0
        self._since_bytes = 0
        self._since_seconds = 0.0
        self._response: requests.Response | None = repeated(lambda: open_at(0))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        start = time.monotonic()
        data = repeated(lambda: self._read(len(buffer)))
        # Only the waiting counts: what the reader does in between is its own business.
        self._since_seconds += time.monotonic() - start
        self._since_bytes += len(data)
        if self._since_bytes >= _PROGRESS_BYTES:
            self._since_bytes, self._since_seconds = 0, 0.0
        elif data and self._since_seconds > self._stall_seconds:
            raise StoreUnavailable(f"{self._what} is too slow.")
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def close(self) -> None:
        try:
            self._hang_up()
        finally:
            super().close()

    def _read(self, size: int) -> bytes:
        """What the next packet brings, up to ``size`` bytes; a full buffer might never come."""
        if self._response is None:
            self._response = self._open_at(self._offset)
        try:
            data: bytes = self._response.raw.read1(size, decode_content=False)
        except urllib3.exceptions.TimeoutError as error:
            self._hang_up()
            raise StoreUnavailable(f"{self._what} has stalled.") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._hang_up()
            raise DownloadInterrupted(f"The connection to {self._what} broke: {error}.") from error
        if not data and self._size is not None and self._offset < self._size:
            self._hang_up()
            raise DownloadInterrupted(
                f"{self._what} sent {self._offset:,} of {self._size:,} bytes."
            )
        return data

    def _hang_up(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
