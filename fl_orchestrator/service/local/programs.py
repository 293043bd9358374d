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

from web3.types import RPCEndpoint

from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.errors import ToolchainError
from fl_orchestrator.service.local.children import Child, ChildFailed, stop_all

CHAIN_ID: Final = 31337
_START_SECONDS: Final = 60.0
_LISTENING: Final = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")


class ProgramMissing(ToolchainError):
    """A program that the command needs is not installed."""


def find_program(name: str, given: Path | None = None) -> Path | None:
    """The ``given`` program, or one on the PATH or in the working directory's node_modules.

    Returns None if there is none. Raises ProgramMissing if the given one does not exist.
    """
    if given is not None:
        if (found := shutil.which(given)) is None:
            raise ProgramMissing(f"There is no program {given}.")
        return Path(found)
    found = shutil.which(name) or shutil.which(name, path="node_modules/.bin")
    return None if found is None else Path(found).absolute()


@contextlib.contextmanager
def anvil(program: Path, directory: Path, block_seconds: int = 1) -> Iterator[str]:
    """Run a chain whose state is stored in ``directory``; yields its URL.

    Its clock stops while it is not running, so that no phase ends meanwhile. Raises ChildFailed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    child = Child(
        "anvil",
        [
            *(program, "--port", "0", "--chain-id", str(CHAIN_ID)),
            *("--no-mining", "--accounts", "0"),
            # Anvil writes the state at intervals, and at its end.
            *("--state", directory / "state.json", "--state-interval", "10"),
        ],
        directory,
    )
    with _running(child, _port) as port:
        url = f"http://127.0.0.1:{port}"
        web3 = connect(url, CHAIN_ID)
        now = web3.eth.get_block("latest")["timestamp"]
        for method, argument in (("evm_setTime", now), ("evm_setIntervalMining", block_seconds)):
            web3.provider.make_request(RPCEndpoint(method), [argument])
        yield url


@contextlib.contextmanager
def kubo(program: Path, repository: Path) -> Iterator[str]:
    """Run an IPFS node with its own repository and without peers; yields the store's URL.

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


def _port(log: str) -> str | None:
    found = _LISTENING.search(log)
    return found.group(1) if found else None


@contextlib.contextmanager
def _running(child: Child, ready: Callable[[str], str | None]) -> Iterator[str]:
    """Run a program; yields the value that ``ready`` finds in its log."""
    child.start("wb")
    try:
        yield child.wait_for(ready, _START_SECONDS)
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
