"""A request to stop a process, by a signal or by its own code."""

from __future__ import annotations

import contextlib
import queue
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

# A signal that the system gives to another thread does not wake the main thread, which handles it.
_LONGEST_SECONDS: Final = 1.0


class Stop:
    """A request to stop after the current step, and a sleep that the request interrupts."""

    def __init__(self) -> None:
        self.requested = False
        # Unlike an Event, it is safe in a signal handler.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def request(self) -> None:
        self.requested = True
        self._wake.put(None)

    def sleep(self, seconds: float) -> None:
        """Sleep, but return at once when a stop is requested."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=min(left, _LONGEST_SECONDS))


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn SIGTERM, SIGINT and SIGHUP into a request to stop; a second raises KeyboardInterrupt.

    A closed terminal sends SIGHUP, which stays ignored below `nohup`. For the main thread only.
    """
    stop = Stop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.request()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
