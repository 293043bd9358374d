"""A private federation on Anvil, whose members are real processes of `flo`."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import requests
from web3 import Web3

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import migrate
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import PrivateObservation, PrivateParams, Role
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.setup import federation_params, publish
from fl_orchestrator.service.local.children import Child, stop_all
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import initial_weights
from support.federation import CLASSES, FEATURES, consortium, rows_of
from support.flo import PASSWORD, flo, write_key
from support.private_federation import packed_manifest

_TRAINER = f"""\
from pathlib import Path

import numpy as np

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic


def make_trainer():
    data = np.load(Path(__file__).parent / "data.npz", allow_pickle=False)
    return NumpyLogistic(Rows(data["x"], data["y"]), {CLASSES})
"""
PERIOD = 240
_COIN = 100 * 10**18


class PrivateProcesses:
    """Key files, a store, and the commands of all members. ``rpc`` may have several URLs.

    ``stores`` has the URL of a role's store where it is not the common directory.
    """

    def __init__(
        self,
        directory: Path,
        node: Any,
        parties: int,
        aggregators: int,
        rpc: str = "",
        stores: Mapping[str, str] | None = None,
        manifest: Manifest | None = None,
    ) -> None:
        self.directory = directory
        self.node = node
        self.rpc = rpc or node.url
        self._stores = dict(stores or {})
        self.manifest = manifest or packed_manifest()
        self.password = directory / "password"
        self.password.write_text(PASSWORD + "\n")
        self.parties = [f"party {i}" for i in range(parties)]
        self.aggregators = [f"aggregator {i}" for i in range(aggregators)]
        self.signers = {
            name: write_key(
                directory / f"{name}.json", hashlib.sha256(f"test key of {name}".encode()).digest()
            )
            for name in ("owner", "keeper", "watcher", *self.parties, *self.aggregators)
        }
        for signer in self.signers.values():
            node.give(signer.address)
        self.relay = ""
        self.children: dict[str, Child] = {}
        web3: Web3 = connect(node.url)
        with node.mining_at_once():
            self.chain = self._deployed(web3)
            self._register()

    def _deployed(self, web3: Web3) -> PrivateFederation:
        store = open_store(self.store("keeper"))
        genesis = publish(store, self.manifest, initial_weights(FEATURES, CLASSES))
        periods = {"commit_period": PERIOD, "reveal_period": PERIOD, "attest_period": PERIOD}
        terms = consortium(len(self.parties), min_updates=3, **periods)
        params = federation_params(self.manifest, genesis, terms)
        private = PrivateParams(
            parameters=self.manifest.layout.parameters,
            step_limit=32_767,
            claim_period=PERIOD,
            secrecy=2,
            relock=False,
        )
        owner = Sender(
            web3, self.signers["owner"], RevertDecoder.of_artifact(PrivateFederation.ARTIFACT)
        )
        record = DeploymentRecord(self.directory / "deployments", web3.eth.chain_id)
        chain = PrivateFederation(web3, migrate(owner, params, record, private)[-1].address)
        owner.send(chain.fund_rewards(100 * terms.reward))
        for role, names in ((Role.PARTY, self.parties), (Role.AGGREGATOR, self.aggregators)):
            owner.send(chain.admit([self.signers[name].address for name in names], role))
        return chain

    def _register(self) -> None:
        for role, names in (("party", self.parties), ("aggregator", self.aggregators)):
            for name in names:
                flo(role, "register", *self.options(name)).succeeded()

    # ------------------------------------------------------------------ commands

    def options(self, name: str) -> list[str]:
        """The options of an account."""
        return [
            *("--key", f"{self.directory}/{name}.json", "--password-file", str(self.password)),
            *("--rpc", self.rpc, "--deployments", f"{self.directory}/deployments"),
            *("--home", f"{self.directory}/home"),
        ]

    def working(self, name: str) -> list[str]:
        """With the store, and the relay if there is one."""
        relay = ["--relay", self.relay] if self.relay else []
        return [*self.options(name), "--store", self.store(name), *relay]

    def store(self, name: str) -> str:
        """The URL of a member's store."""
        return self._stores.get(name.split()[0]) or (self.directory / "store").as_uri()

    def trainer(self, number: int) -> list[str]:
        """The option of a party's trainer, with its own rows."""
        directory = self.directory / f"data of party {number}"
        directory.mkdir(exist_ok=True)
        rows = self.rows(number)
        np.savez(directory / "data.npz", x=rows.x, y=rows.y)
        (directory / "trainer.py").write_text(_TRAINER)
        return ["--trainer", f"{directory}/trainer.py:make_trainer"]

    def rows(self, number: int) -> Rows:
        """What a party trains on."""
        return rows_of(number)

    def home(self, name: str) -> Path:
        """The directory of an account in this federation."""
        federation = f"{self.chain.chain_id}-{self.chain.address.lower()}"
        return self.directory / "home" / federation / self.signers[name].address.lower()

    # ------------------------------------------------------------------ processes

    def start(self, name: str, *arguments: str) -> Child:
        """Start a member's process with these arguments, or as before without any."""
        if arguments:
            self.run(name, "-m", "fl_orchestrator", *arguments)
        else:
            self.children[name].start()
        return self.children[name]

    def run(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a member's process with another program: a command of Python."""
        words = [sys.executable, *command]
        self.children[name] = Child(name, words, self.directory, environment)
        self.children[name].start()

    def start_keeper(self, rounds: int) -> None:
        """Start the keeper with a relay, which later members use."""
        if not self.relay:
            port = _free_port()
            keeper = [*("keeper", "run"), *self.working("keeper"), "--rounds", str(rounds)]
            self.start("keeper", *keeper, "--relay", str(port))
            self.relay = f"http://127.0.0.1:{port}"
        else:
            self.start("keeper")
        wait_until(self._answers, 60, "the relay answers", self.tails)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.relay}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def start_party(self, number: int, *options: str) -> None:
        arguments = [*("party", "run"), *self.working(f"party {number}"), *self.trainer(number)]
        self.start(f"party {number}", *arguments, "--seed", "0", *options)

    def start_aggregator(self, number: int, *options: str) -> None:
        name = f"aggregator {number}"
        self.start(name, "aggregator", "run", *self.working(name), *options)

    def kill(self, *names: str) -> None:
        """SIGKILL."""
        for name in names:
            self.children[name].kill()

    def stop(self) -> None:
        stop_all(list(self.children.values()))

    # ------------------------------------------------------------------ what is seen

    def seen(self, name: str = "keeper") -> PrivateObservation:
        return self.chain.observe(self.signers[name].address)

    def wait(
        self, done: Callable[[PrivateObservation], bool], seconds: float, what: str
    ) -> PrivateObservation:
        """Wait until the chain is as wanted."""
        wait_until(lambda: done(self.seen()), seconds, what, self.tails)
        return self.seen()

    def pass_until(self, moment: int) -> None:
        """Let the chain's clock go on to a moment."""
        left = moment - self.seen().timestamp
        if left > 0:
            self.node.pass_time(left)

    def tails(self) -> str:
        """The ends of all logs, for a failure."""
        shown = (f"--- {name}\n{child.tail()}" for name, child in self.children.items())
        return f"{self.seen()}\n" + "\n".join(shown)


def wait_until(
    done: Callable[[], bool], seconds: float, what: str, tails: Callable[[], str]
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{tails()}"
        time.sleep(0.2)


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
