"""An IPFS node that a test can kill, and restart on the same port."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl_orchestrator.service.local.children import Child

_START_SECONDS = 60.0


class Store:
    """A Kubo daemon without peers, whose API keeps its port across restarts."""

    def __init__(self, program: Path, repository: Path) -> None:
        environment = {"IPFS_PATH": str(repository), "IPFS_TELEMETRY": "off"}
        repository.mkdir(parents=True)
        self.port = free_port()
        for arguments in (
            ("init", "--profile", "test"),
            ("config", "--json", "Routing.Type", '"none"'),
            ("config", "Addresses.API", f"/ip4/127.0.0.1/tcp/{self.port}"),
        ):
            subprocess.run(
                [program, *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_START_SECONDS,
                check=True,
            )
        self.url = f"kubo+http://127.0.0.1:{self.port}"
        self._child = Child("ipfs", [program, "daemon", "--offline"], repository, environment)

    def start(self) -> None:
        self._child.start("wb")
        self._child.wait_for(lambda log: log if "Daemon is ready" in log else None, _START_SECONDS)

    def kill(self) -> None:
        self._child.kill()

    @classmethod
    @contextmanager
    def running(cls, program: Path, repository: Path) -> Iterator[Store]:
        store = cls(program, repository)
        store.start()
        try:
            yield store
        finally:
            store.kill()


def free_port() -> int:
    """A free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
