"""A total deadline for communication over sockets, which the other side cannot extend.

The timeout of a socket limits a single wait. A server that sends a byte now and then (a slow
header, repeated `100 Continue`, a chunk extension without end, a slow TLS handshake) never exceeds
it, and can keep the connection busy for ever. A deadline shuts the sockets down instead, which ends
every read and write on them at once.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

_CURRENT: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


class Deadline:
    """Shuts down the sockets that it guards when the time is over; close it after use.

    ``restart`` sets a new number of seconds from now, and ``pause`` stops the clock until the next
    ``restart``. A deadline that has passed stays passed.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self._watched = False
        self._passed = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def remaining(self) -> float:
        """The seconds that are left; 0 when the deadline has passed."""
        return 0.0 if self._passed else max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.remaining <= 0

    def restart(self, seconds: float) -> None:
        with self._changed:
            self._passed = self._passed or time.monotonic() >= self._end
            self._end = time.monotonic() + seconds
            self._changed.notify()

    def pause(self) -> None:
        self.restart(math.inf)

    def guard(self, guarded: socket.socket) -> None:
        """Shut this socket down when the time is over, also if TLS was started on it since.

        Raises RuntimeError when the deadline is closed.
        """
        # Duplicate the descriptor: TLS detaches the socket's own, and its owner may close it.
        own = socket.socket(fileno=os.dup(guarded.fileno()))
        with self._changed:
            if self._closed:
                own.close()
                raise RuntimeError("the deadline is closed")
            self._sockets.append(own)
            if self._passed:
                _shut(own)
            elif not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def close(self) -> None:
        """Stop guarding the sockets."""
        with self._changed:
            self._passed = self._passed or time.monotonic() >= self._end
            self._closed = True
            for own in self._sockets:
                own.close()
            self._sockets.clear()
            self._changed.notify()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside ``with``, apply the deadline to connections that this thread opens and uses."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._end - time.monotonic()
                if left <= 0:
                    self._passed = True
                    for own in self._sockets:
                        _shut(own)
                    return
                self._changed.wait(None if left == math.inf else left)


def current_deadline() -> Deadline:
    """The deadline that applies. Raises RuntimeError if there is none: every request needs one."""
    deadline = _CURRENT.get()
    if deadline is None:
        raise RuntimeError("a connection without a deadline")
    return deadline


def _shut(own: socket.socket) -> None:
    # The other side may already have closed the connection.
    with contextlib.suppress(OSError):
        own.shutdown(socket.SHUT_RDWR)
