"""The files of a private chain of four validators: keys, genesis block, and what each one reads."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from eth_keys.datatypes import PrivateKey

VALIDATORS: Final = 4


class NetworkExists(Exception):
    """The directory already has a network; its keys are not overwritten."""


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator: its account, its node key, and its ports on 127.0.0.1."""

    number: int
    address: str
    node_id: str
    rpc_port: int
    p2p_port: int

    @property
    def url(self) -> str:
        """Its JSON-RPC endpoint."""
        return f"http://127.0.0.1:{self.rpc_port}"


@dataclass(frozen=True, slots=True)
class Network:
    """A chain and its validators. ``period`` is the time between blocks, in seconds."""

    directory: Path
    engine: str
    chain_id: int
    period: int
    validators: tuple[Validator, ...]

    @property
    def urls(self) -> list[str]:
        """The JSON-RPC endpoints of all validators."""
        return [validator.url for validator in self.validators]

    @property
    def genesis(self) -> Path:
        return self.directory / "genesis.json"

    def home(self, validator: Validator) -> Path:
        """The directory of a validator: its key, its settings, its chain and its log."""
        return self.directory / str(validator.number)

    def node_key(self, validator: Validator) -> Path:
        """The file with its key, in hexadecimal."""
        return self.home(validator) / "nodekey"

    def others(self, validator: Validator) -> list[Validator]:
        """The validators that it connects to."""
        return [other for other in self.validators if other != validator]


class Engine(Protocol):
    """A consensus, and the program that runs it."""

    name: str
    #: The script in ``scripts/`` that prints the program's path, and builds it if it must.
    build: str
    #: The seconds between blocks that it can keep.
    periods: range

    def genesis(self, network: Network, balances: Mapping[str, int]) -> dict[str, Any]:
        """The genesis block, with coin for these addresses."""
        ...

    def prepare(self, network: Network, validator: Validator, key: PrivateKey) -> None:
        """Write what the validator's program reads when it starts."""
        ...

    def chain(self, home: Path) -> Path:
        """Where a validator's chain is, once it has its genesis block."""
        ...

    def init(self, network: Network, validator: Validator) -> list[str | Path]:
        """The arguments with which the program writes the genesis block."""
        ...

    def run(self, network: Network, validator: Validator) -> list[str | Path]:
        """The arguments with which the program runs the validator."""
        ...


def load(directory: Path) -> Network:
    """The network that was created in a directory. Raises FileNotFoundError."""
    described = json.loads((directory / "network.json").read_text())
    validators = tuple(Validator(**validator) for validator in described.pop("validators"))
    return Network(directory.resolve(), **described, validators=validators)


def create(
    directory: Path, engine: Engine, balances: Mapping[str, int], chain_id: int, period: int
) -> Network:
    """Create the keys, the genesis block and the settings of a new network in a directory.

    ``balances`` has the wei of each address; no other coin will ever exist. Raises NetworkExists,
    and ValueError for a period that the engine cannot keep.
    """
    if period not in engine.periods:
        raise ValueError(f"{engine.name} makes no block every {period} s")
    if (directory / "network.json").exists():
        raise NetworkExists(f"{directory} already has a network.")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = [PrivateKey(secrets.token_bytes(32)) for _ in range(VALIDATORS)]
    ports = iter(_free_ports(2 * VALIDATORS))
    validators = tuple(
        Validator(
            number,
            key.public_key.to_checksum_address(),
            key.public_key.to_bytes().hex(),
            next(ports),
            next(ports),
        )
        for number, key in enumerate(keys, 1)
    )
    network = Network(directory.resolve(), engine.name, chain_id, period, validators)
    network.genesis.write_text(json.dumps(engine.genesis(network, balances), indent=2) + "\n")
    for validator, key in zip(validators, keys, strict=True):
        network.home(validator).mkdir(exist_ok=True)
        write_private(network.node_key(validator), key.to_bytes().hex())
        engine.prepare(network, validator, key)
    described = {
        "engine": engine.name,
        "chain_id": chain_id,
        "period": period,
        "validators": [asdict(validator) for validator in validators],
    }
    # Write this file last: a directory without it is not a complete network.
    (directory / "network.json").write_text(json.dumps(described, indent=2) + "\n")
    return network


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]
