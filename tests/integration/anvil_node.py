"""Starts and stops Anvil for a test, on a free port of 127.0.0.1."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LISTENING = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class AnvilNode:
    """A running node, which mines a block every second."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC request."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = requests.post(self.url, json=body, timeout=20).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def give(self, address: str, ether: int = 100) -> None:
        """Set an account's balance."""
        self.rpc("anvil_setBalance", address, hex(ether * 10**18))

    def pass_time(self, seconds: int) -> None:
        """Advance the chain's clock by this many seconds, and mine a block."""
        self.rpc("evm_increaseTime", hex(seconds))
        self.rpc("evm_mine")

    @contextmanager
    def mining_at_once(self) -> Iterator[None]:
        """Mine every transaction at once, which makes a set-up fast."""
        self.rpc("evm_setAutomine", True)
        try:
            yield
        finally:
            self.rpc("evm_setIntervalMining", 1)


@contextmanager
def anvil_node(
    checkout: Path, log: Path, hardfork: str | None = None, chain_id: int = 31337
) -> Iterator[AnvilNode]:
    """Run a node with a new chain until the block ends."""
    rules = ["--chain-id", str(chain_id)]
    if hardfork is not None:
        rules += ["--hardfork", hardfork]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [checkout / "node_modules/.bin/anvil", "--port", "0", "--block-time", "1", *rules],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield AnvilNode(_wait_for_port(process, log))
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while not (listening := LISTENING.search(log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Anvil did not start:\n{log.read_text()}")
        time.sleep(0.02)
    return int(listening.group(1))
