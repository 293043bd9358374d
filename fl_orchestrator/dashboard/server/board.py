"""The state that the page shows, between the thread that reads the chain and those that serve."""

from __future__ import annotations

import threading
import time
from typing import Any


class Board:
    """The last state, as JSON values, with the time since the chain was heard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {}
        self._heard = time.monotonic()
        self._error: str | None = None
        self._version = 0
        #: Whether the service is ending: whoever waits for another state ends too.
        self.closed = False

    @property
    def version(self) -> int:
        """It changes with everything that `read` returns, but for ages."""
        return self._version

    def close(self) -> None:
        self.closed = True

    def post(self, **parts: Any) -> None:
        """Replace parts of the state."""
        with self._lock:
            changed = {k: v for k, v in parts.items() if self._state.get(k, self) != v}
            if changed:
                self._state.update(changed)
                self._version += 1

    def heard(self) -> None:
        """The chain has answered."""
        with self._lock:
            self._heard = time.monotonic()
            if self._error is not None:
                self._error = None
                self._version += 1

    def failed(self, sentence: str) -> None:
        with self._lock:
            if self._error != sentence:
                self._error = sentence
                self._version += 1

    def read(self) -> dict[str, Any]:
        """The state. ``silent`` is for how many seconds the chain has not answered."""
        with self._lock:
            silent = round(time.monotonic() - self._heard, 1)
            wall = round(time.time(), 1)
            return {**self._state, "version": self._version, "now": wall, "silent": silent,
                    "error": self._error}  # fmt: skip
