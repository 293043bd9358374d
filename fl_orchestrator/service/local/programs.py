"""The chain and the store of a local federation: Anvil, and Kubo where it is installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fl_orchestrator.errors import ToolchainError
from fl_orchestrator.service.local.children import Child, ChildFailed, stop_all

CHAIN_ID: Final = 31337
_START_SECONDS: Final = 60.0
_LISTENING: Final = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")


class ProgramMissing(ToolchainError):
    """A program that the command needs is not installed."""


def find_program(name: str, given: Path | None = None) -> Path | None:
    """A program that was named, or one on the PATH or in the working directory's node_modules.

    Raises ProgramMissing where the one that was named is not there.
    """
    if given is not None:
        if (found := shutil.which(given)) is None:
            raise ProgramMissing(f"There is no program {given}.")
        return Path(found)
    found = shutil.which(name) or shutil.which(name, path="node_modules/.bin")
    return None if found is None else Path(found).absolute()


@contextlib.contextmanager
def anvil(program: Path, directory: Path, block_seconds: int = 1) -> Iterator[Child]:
    """Run a chain whose state is kept in ``directory``; see `anvil_url`.

    Raises ChildFailed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    child = Child(
        "anvil",
        [
            *(program, "--port", "0", "--chain-id", str(CHAIN_ID)),
            *("--block-time", str(block_seconds), "--accounts", "0"),
            # Written now and then, and at the end.
            *("--state", directory / "state.json", "--state-interval", "10"),
        ],
        directory,
    )
    with _running(child):
        yield child


def anvil_url(child: Child) -> str:
    """Where a chain that was started can be reached."""
    match = _LISTENING.search(child.log.read_text(errors="replace"))
    if match is None:
        raise ChildFailed(f"{child.name} did not say where it listens.", f"See {child.log}.")
    return f"http://127.0.0.1:{match.group(1)}"


@contextlib.contextmanager
def kubo(program: Path, repository: Path) -> Iterator[str]:
    """Run an IPFS node of its own, connected to nobody, with its repository; the store's URL.

    Raises ChildFailed.
    """
    environment = {"IPFS_PATH": str(repository), "IPFS_TELEMETRY": "off"}
    if not (repository / "config").exists():
        repository.mkdir(parents=True, exist_ok=True)
        # No bootstrap nodes, no MDNS, free ports of 127.0.0.1.
        _run([program, "init", "--profile", "test"], environment)
        _run([program, "config", "--json", "Routing.Type", '"none"'], environment)
    child = Child("ipfs", [program, "daemon", "--offline"], repository, environment)
    with _running(child, lambda log: log if "Daemon is ready" in log else None):
        # The node writes its address as /ip4/127.0.0.1/tcp/<port>.
        port = (repository / "api").read_text().split("/")[4]
        yield f"kubo+http://127.0.0.1:{int(port)}"


def _listens(log: str) -> str | None:
    return log if _LISTENING.search(log) else None


@contextlib.contextmanager
def _running(child: Child, ready: Callable[[str], str | None] = _listens) -> Iterator[None]:
    child.start("wb")
    try:
        child.wait_for(ready, _START_SECONDS)
        yield
    finally:
        stop_all([child])


def _run(command: list[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
    )
    if done.returncode:
        raise ChildFailed(f"{command[0]} failed: {done.stderr.strip()}")
