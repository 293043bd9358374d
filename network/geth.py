"""Runs the validators of a network as processes of geth."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from fl_orchestrator.transport.http import Session, post
from network.clique import Network, Validator

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_REQUEST_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 1 << 20
_POLL_SECONDS: Final = 0.1
_TAIL_CHARACTERS: Final = 2000


class GethFailed(Exception):
    """geth did not start, or ended unexpectedly."""


def rpc(validator: Validator, method: str, *params: Any) -> Any:
    """The result of a JSON-RPC request. Raises requests.RequestException and GethFailed."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    _, content = post(Session(), validator.url, body, _REQUEST_SECONDS, _MAX_ANSWER_BYTES)
    answer = json.loads(content)
    if "error" in answer:
        raise GethFailed(f"{method}: {answer['error']['message']}")
    return answer["result"]


class Validators:
    """The validators of a network that this process runs; each can be stopped and restarted."""

    def __init__(self, network: Network, program: Path) -> None:
        self.network = network
        self._program = program
        self._processes: dict[Validator, subprocess.Popen[bytes]] = {}

    def start(self, validators: Sequence[Validator]) -> None:
        """Start validators, and wait until each answers requests.

        Raises GethFailed, with the end of its log, if one does not.
        """
        for validator in validators:
            self._processes[validator] = self._spawn(validator)
        deadline = time.monotonic() + START_SECONDS
        for validator in validators:
            while not _answers(validator):
                if not self.is_running(validator) or time.monotonic() > deadline:
                    raise GethFailed(f"Validator {validator.number}: {self._log_end(validator)}")
                time.sleep(_POLL_SECONDS)

    def is_running(self, validator: Validator) -> bool:
        process = self._processes.get(validator)
        return process is not None and process.poll() is None

    def pid(self, validator: Validator) -> int:
        """The process id of a validator that was started here."""
        return self._processes[validator].pid

    def kill(self, validator: Validator) -> None:
        """End a validator without notice (SIGKILL)."""
        process = self._processes.pop(validator)
        process.kill()
        process.wait()

    def stop(self, validators: Collection[Validator]) -> None:
        """Stop validators cleanly; kill those that do not end in time."""
        for validator in validators:
            self._processes[validator].terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for validator in validators:
            try:
                self._processes[validator].wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill(validator)
            else:
                del self._processes[validator]

    def stop_all(self) -> None:
        """Stop all validators cleanly."""
        self.stop(list(self._processes))

    def _spawn(self, validator: Validator) -> subprocess.Popen[bytes]:
        home = self.network.home(validator)
        if not (home / "geth" / "chaindata").exists():
            self._write_genesis_block(validator)
        with (home / "geth.log").open("ab") as log:
            return subprocess.Popen(
                [self._program, *_options(self.network, validator)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach only the parent process, which then stops the validators.
                start_new_session=True,
            )

    def _write_genesis_block(self, validator: Validator) -> None:
        home = self.network.home(validator)
        done = subprocess.run(
            [self._program, "--datadir", home, "init", self.network.genesis],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        if done.returncode:
            raise GethFailed(f"geth init: {done.stderr[-_TAIL_CHARACTERS:]}")

    def _log_end(self, validator: Validator) -> str:
        log = self.network.home(validator) / "geth.log"
        return log.read_text(errors="replace")[-_TAIL_CHARACTERS:]


@contextmanager
def running(network: Network, program: Path) -> Iterator[Validators]:
    """Run all validators of a network until the ``with`` block ends."""
    validators = Validators(network, program)
    try:
        validators.start(network.validators)
        yield validators
    finally:
        validators.stop_all()


def _answers(validator: Validator) -> bool:
    try:
        rpc(validator, "eth_blockNumber")
    except requests.RequestException:
        return False
    return True


def _options(network: Network, validator: Validator) -> list[str]:
    home = network.home(validator)
    return [
        *("--config", str(home / "geth.toml")),
        *("--datadir", str(home)),
        *("--nodekey", str(home / "nodekey")),
        *("--networkid", str(network.chain_id)),
        *("--nat", "none"),
        # Write every block's state to disk. Otherwise a killed validator restarts from the last
        # state that it wrote, which on a new chain is genesis.
        *("--syncmode", "full", "--gcmode", "archive", "--history.transactions", "0"),
        *("--cache", "128"),
        *("--http", "--http.addr", "127.0.0.1", "--http.port", str(validator.rpc_port)),
        *("--http.api", "eth,net,web3"),
        *("--authrpc.addr", "127.0.0.1", "--authrpc.port", "0"),
        *("--mine", "--miner.etherbase", validator.address),
        *("--unlock", validator.address, "--password", str(network.password)),
        "--allow-insecure-unlock",
    ]
