"""Runs the validators of a network as processes of its engine's program."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import requests

from fl_orchestrator.transport.http import Session, post
from network.engines import ENGINES, program
from network.network import Network, Validator

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
_REQUEST_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 1 << 20
_POLL_SECONDS: Final = 0.1
_TAIL_CHARACTERS: Final = 2000
_LOG: Final = "validator.log"


class ValidatorFailed(Exception):
    """A validator did not start, or ended unexpectedly."""


def rpc(validator: Validator, method: str, *params: Any) -> Any:
    """The result of a JSON-RPC request. Raises requests.RequestException and ValidatorFailed."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    _, content = post(Session(), validator.url, body, _REQUEST_SECONDS, _MAX_ANSWER_BYTES)
    answer = json.loads(content)
    if "error" in answer:
        raise ValidatorFailed(f"{method}: {answer['error']['message']}")
    return answer["result"]


class Validators:
    """The validators of a network that this process runs; each can be stopped and restarted."""

    def __init__(self, network: Network) -> None:
        """The engine's program is built if there is none."""
        self.network = network
        self._engine = ENGINES[network.engine]
        self._program = program(self._engine)
        self._processes: dict[Validator, subprocess.Popen[bytes]] = {}

    def start(self, validators: Sequence[Validator]) -> None:
        """Start validators, and wait until each answers requests.

        Raises ValidatorFailed, with the end of its log, if one does not.
        """
        for validator in validators:
            self._processes[validator] = self._spawn(validator)
        deadline = time.monotonic() + START_SECONDS
        for validator in validators:
            while not _answers(validator):
                if not self.is_running(validator) or time.monotonic() > deadline:
                    raise ValidatorFailed(
                        f"Validator {validator.number}: {self._log_end(validator)}"
                    )
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
        if not self._engine.chain(home).exists():
            self._write_genesis_block(validator)
        with (home / _LOG).open("ab") as log:
            return subprocess.Popen(
                [self._program, *self._engine.run(self.network, validator)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach only the parent process, which then stops the validators.
                start_new_session=True,
            )

    def _write_genesis_block(self, validator: Validator) -> None:
        done = subprocess.run(
            [self._program, *self._engine.init(self.network, validator)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        if done.returncode:
            raise ValidatorFailed(
                f"Validator {validator.number}: {done.stderr[-_TAIL_CHARACTERS:]}"
            )

    def _log_end(self, validator: Validator) -> str:
        log = self.network.home(validator) / _LOG
        return log.read_text(errors="replace")[-_TAIL_CHARACTERS:]


@contextmanager
def running(network: Network) -> Iterator[Validators]:
    """Run all validators of a network until the ``with`` block ends."""
    validators = Validators(network)
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
