"""A command of `flo` at a terminal, as a person sees it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


class Terminal:
    """A process at a terminal, which shows what it wants to show to a person."""

    def __init__(
        self, options: Sequence[str], environment: Mapping[str, str], seconds: float
    ) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [Path(sys.executable).parent / "flo", *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", **environment},
        )
        os.close(slave)
        self._seconds = seconds
        self.shown = ""

    def read(self) -> Iterator[str]:
        """What is new, until the process has ended."""
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # how a terminal says that nobody is there any more
                return
            self.shown += data.decode(errors="replace")
            yield self.shown
        raise AssertionError(f"not finished within {self._seconds} s:\n{self.shown}")

    def wait_for(self, *texts: str) -> None:
        for shown in self.read():
            if all(text in shown for text in texts):
                return
        raise AssertionError(f"{texts} were not shown:\n{self.shown}")

    def finish(self) -> int:
        for _ in self.read():
            pass
        return self.process.wait(30)
