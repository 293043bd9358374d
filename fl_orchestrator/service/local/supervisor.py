"""Keeps the processes of a local federation running."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from fl_orchestrator.log import get_logger
from fl_orchestrator.service.local.children import Child, ChildFailed, stop_all

_log = get_logger(__name__)

_RESTART_SECONDS: Final = 2.0
_MAX_RESTARTS: Final = 5


class Supervisor:
    """Starts processes, and restarts those that end with an error."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = list(children)
        self._restart_at: dict[str, float] = {}

    def start(self) -> None:
        for child in self.children:
            child.start()

    def watch(self) -> None:
        """Restart processes that have ended. Raises ChildFailed if one ends again and again."""
        now = time.monotonic()
        for child in self.children:
            if child.runs or child.exit_code == 0:
                continue
            if child.starts > _MAX_RESTARTS:
                raise ChildFailed(
                    f"{child.name} ended {child.starts} times, with exit code {child.exit_code}:\n"
                    f"{child.tail()}",
                    f"See {child.log}.",
                )
            due = self._restart_at.setdefault(child.name, now + _RESTART_SECONDS)
            if now >= due:
                del self._restart_at[child.name]
                _log.warning("restarting", process=child.name, exit_code=child.exit_code)
                child.start()

    def stop(self) -> None:
        """Ask all processes to stop, and wait for their end."""
        stop_all(self.children)
