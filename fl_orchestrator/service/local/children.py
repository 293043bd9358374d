"""Child processes: start, stop, logs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fl_orchestrator.errors import ToolchainError

_STOP_SECONDS: Final = 30.0
_TAIL_BYTES: Final = 2000


class ChildFailed(ToolchainError):
    """A process that this one needs did not start, or ended."""


class Child:
    """A program that writes to a log file. It may be started again after its end.

    It runs in a session of its own, so that Ctrl-C at the terminal reaches only this process, which
    then stops its children in the right order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.directory = directory
        self.environment = dict(environment or {})
        self.log = directory / f"{name}.log"
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process. Raises ChildFailed."""
        if self._process is None:
            raise ChildFailed(f"{self.name} was not started.")
        return self._process.pid

    def start(self, log_mode: str = "ab") -> None:
        """Start it and append its output to its log. Raises ChildFailed."""
        try:
            with self.log.open(log_mode) as output:
                self._process = subprocess.Popen(
                    self.command,
                    cwd=self.directory,
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise ChildFailed(f"{self.name} cannot be started: {error}.") from error
        self.starts += 1

    @property
    def exit_code(self) -> int | None:
        """None while it runs, or was never started."""
        return None if self._process is None else self._process.poll()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, or do nothing if the process has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it at once, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float = _STOP_SECONDS) -> None:
        """Wait for its end, and kill it after ``seconds``."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait_for(self, text: Callable[[str], str | None], seconds: float) -> str:
        """Wait up to ``seconds`` until ``text`` finds a value in the log. Raises ChildFailed."""
        deadline = time.monotonic() + seconds
        while (found := text(self.log.read_text(errors="replace"))) is None:
            if not self.runs or time.monotonic() > deadline:
                self.kill()
                raise ChildFailed(f"{self.name} did not start:\n{self.tail()}", f"See {self.log}.")
            time.sleep(0.05)
        return found

    def tail(self) -> str:
        """The end of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode(errors="replace").strip()


def stop_all(children: Sequence[Child]) -> None:
    """Ask all processes to stop after their current step, and wait for their end."""
    for child in children:
        if child.runs:
            child.signal(signal.SIGTERM)
    for child in children:
        child.wait()
