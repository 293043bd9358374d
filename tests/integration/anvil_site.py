"""A federation on Anvil as its users see it: key files, a store, a record, and `flo`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from integration.anvil_node import AnvilNode
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from support.federation import small_manifest
from support.flo import PASSWORD, Finished, flo, write_key
from web3 import Web3

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.model.manifest import Manifest

Weights = dict[str, NDArray[np.float32]]


def secret_of(name: str) -> bytes:
    """The private key of an account."""
    return hashlib.sha256(f"test key of {name}".encode()).digest()


class Site:
    """A directory with all members' files, and a node. Accounts have a key file and coin."""

    def __init__(self, directory: Path, node: AnvilNode, store_url: str = "") -> None:
        self.directory = directory
        self.store_url = store_url or f"file://{directory}/store"
        self.node = node
        self.manifest: Manifest = small_manifest()
        self.signers: dict[str, LocalSigner] = {}
        self._password = directory / "password"
        self._password.write_text(PASSWORD + "\n")
        (directory / "manifest.json").write_bytes(self.manifest.to_bytes())
        generator = np.random.Generator(np.random.PCG64(0))
        genesis = [
            generator.normal(0, 0.5, t.shape).astype(np.float32) for t in self.manifest.tensors
        ]
        np.savez(directory / "genesis.npz", *genesis)

    # ------------------------------------------------------------------ options of commands

    def on_chain(self, node: str = "") -> list[str]:
        return ["--rpc", node or self.node.url, "--deployments", f"{self.directory}/deployments"]

    def key(self, name: str) -> list[str]:
        """The options for an account's key, which is created and funded at the first use."""
        path = self.directory / f"{name}.json"
        if name not in self.signers:
            self.signers[name] = write_key(path, secret_of(name))
            self.node.give(self.address(name))
        return ["--key", str(path), "--password-file", str(self._password)]

    def working(self, name: str, node: str = "") -> list[str]:
        """The options of a role that takes part in a round, with its own ``node`` URL if given."""
        home = f"{self.directory}/home"
        return [*self.key(name), *self.on_chain(node), "--store", self.store_url, "--home", home]

    def deploy_options(self, parties: int = 2) -> list[str]:
        d = self.directory
        model = ["--manifest", f"{d}/manifest.json", "--weights", f"{d}/genesis.npz"]
        return [*model, "--parties", str(parties), "--store", self.store_url]

    def address(self, name: str) -> str:
        return self.signers[name].address

    # ------------------------------------------------------------------ commands

    def deploy(self, *options: str, parties: int = 2) -> Finished:
        return flo(
            *("federation", "create"),
            *self.deploy_options(parties),
            *self.key("owner"),
            *self.on_chain(),
            *options,
        )

    def admit_and_register(self, parties: Sequence[str], aggregators: Sequence[str]) -> None:
        for role, names in (("party", parties), ("aggregator", aggregators)):
            keys = {name: self.key(name) for name in names}
            addresses = [self.address(name) for name in names]
            if not names:
                continue
            admit = ("federation", "admit", *addresses, "--role", role)
            flo(*admit, *self.key("owner"), *self.on_chain()).succeeded()
            for key in keys.values():
                flo(role, "register", *key, *self.on_chain()).succeeded()

    def submission(self, name: str, weights: Path, samples: int = 50, node: str = "") -> list[str]:
        """The arguments of `flo` for a submission."""
        count = ["--samples", str(samples)]
        return ["party", "submit", str(weights), *count, *self.working(name, node)]

    # ------------------------------------------------------------------ state

    @cached_property
    def federation(self) -> Federation:
        web3 = Web3(Web3.HTTPProvider(self.node.url))
        record = DeploymentRecord(self.directory / "deployments", web3.eth.chain_id)
        *_, deployment = record.load().values()
        return open_federation(web3, deployment.address)

    def observe(self, name: str = "owner") -> Observation:
        return self.observe_of(self.address(name))

    def observe_of(self, address: str) -> Observation:
        return self.federation.observe(address)

    def open_round(self) -> Observation:
        """Open the next round with its two transactions; return the owner's observation."""
        sender = Sender(self.federation.web3, self.signers["owner"], self.federation.reverts)
        sender.send(self.federation.open_round())
        self.node.rpc("anvil_mine", "0x2")
        sender.send(self.federation.open_round())
        return self.observe()

    def head_weights(self) -> Weights:
        """The head's weights, as `flo model get` writes them."""
        file = self.directory / "head.safetensors"
        get = ["model", "get", "--output", str(file), "--store", self.store_url]
        flo(*get, *self.on_chain()).succeeded()
        return load_file(file)

    def trained(self, name: str, seed: int, suffix: str = ".npz") -> Path:
        """A file with weights that differ from the head's, as after a training."""
        generator = np.random.Generator(np.random.PCG64(seed))
        weights = {
            tensor: (values + generator.normal(0, 0.05, values.shape)).astype(np.float32)
            for tensor, values in self.head_weights().items()
        }
        path = self.directory / f"{name}-{seed}{suffix}"
        if suffix == ".npz":
            np.savez(path, **cast(Any, weights))
        else:
            save_file(weights, path)
        return path
