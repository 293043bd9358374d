"""The files of a private Clique chain: keys, genesis block, and each validator's settings."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_keys.datatypes import PrivateKey

VALIDATORS: Final = 4
# geth's default; six times the gas of the largest challenge of a model (benchmarks/gas.py).
_GAS_LIMIT: Final = 30_000_000
# Few iterations: the password is stored beside the key, so a slow derivation would protect nothing.
_KDF_ITERATIONS: Final = 10_000
_FORKS: Final = (
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "berlinBlock",
    "londonBlock",
)


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

    @property
    def enode(self) -> str:
        """The URL by which other nodes connect to it."""
        return f"enode://{self.node_id}@127.0.0.1:{self.p2p_port}?discport=0"


@dataclass(frozen=True, slots=True)
class Network:
    """A chain and its validators. ``period`` is the time between blocks, in seconds."""

    directory: Path
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

    @property
    def password(self) -> Path:
        """The file with the password of the validators' keys."""
        return self.directory / "password"

    def home(self, validator: Validator) -> Path:
        """The directory of a validator: its key, its settings, its chain and its log."""
        return self.directory / str(validator.number)


def load(directory: Path) -> Network:
    """The network that was created in a directory. Raises FileNotFoundError."""
    described = json.loads((directory / "network.json").read_text())
    validators = tuple(Validator(**validator) for validator in described["validators"])
    return Network(directory.resolve(), described["chain_id"], described["period"], validators)


def create(directory: Path, balances: Mapping[str, int], chain_id: int, period: int) -> Network:
    """Create the keys, the genesis block and the settings of a new network in a directory.

    ``balances`` has the wei of each address; no other coin will ever exist. Raises NetworkExists.
    """
    if (directory / "network.json").exists():
        raise NetworkExists(f"{directory} already has a network.")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(16)
    _write_private(directory / "password", password + "\n")
    ports = _free_ports(2 * VALIDATORS)
    validators = tuple(
        _make_validator(directory / str(number), number, password, ports[2 * number - 2 :][:2])
        for number in range(1, VALIDATORS + 1)
    )
    network = Network(directory.resolve(), chain_id, period, validators)
    network.genesis.write_text(json.dumps(_genesis(network, balances), indent=2) + "\n")
    for validator in validators:
        (network.home(validator) / "geth.toml").write_text(_settings(network, validator))
    described = {
        "chain_id": chain_id,
        "period": period,
        "validators": [asdict(validator) for validator in validators],
    }
    # Write this file last: a directory without it is not a complete network.
    (directory / "network.json").write_text(json.dumps(described, indent=2) + "\n")
    return network


def _make_validator(home: Path, number: int, password: str, ports: Sequence[int]) -> Validator:
    (home / "keystore").mkdir(parents=True, exist_ok=True)
    account = Account.create()
    key = Account.encrypt(account.key, password, kdf="pbkdf2", iterations=_KDF_ITERATIONS)
    _write_private(home / "keystore" / "validator.json", json.dumps(key))
    node_key = PrivateKey(secrets.token_bytes(32))
    _write_private(home / "nodekey", node_key.to_bytes().hex())
    return Validator(number, account.address, node_key.public_key.to_bytes().hex(), *ports)


def _genesis(network: Network, balances: Mapping[str, int]) -> dict[str, Any]:
    """The genesis block of EIP-225, with the rules of London from the first block on."""
    signers = sorted(validator.address[2:].lower() for validator in network.validators)
    return {
        "config": {
            "chainId": network.chain_id,
            **dict.fromkeys(_FORKS, 0),
            "clique": {"period": network.period, "epoch": 30_000},
        },
        "difficulty": "0x1",
        "gasLimit": hex(_GAS_LIMIT),
        # EIP-225: 32 free bytes, the signers in ascending order, 65 bytes for a signature.
        "extraData": "0x" + "00" * 32 + "".join(signers) + "00" * 65,
        "alloc": {address: {"balance": hex(wei)} for address, wei in balances.items()},
    }


def _settings(network: Network, validator: Validator) -> str:
    """The content of geth.toml: the node connects only to the other validators.

    ``DialRatio`` is needed because by default a node dials only a third of its peers.
    """
    others = json.dumps([other.enode for other in network.validators if other != validator])
    return f"""[Node.P2P]
ListenAddr = "127.0.0.1:{validator.p2p_port}"
MaxPeers = {len(network.validators) - 1}
DialRatio = 1
NoDiscovery = true
BootstrapNodes = []
BootstrapNodesV5 = []
StaticNodes = {others}
TrustedNodes = {others}
NetRestrict = ["127.0.0.0/8"]
"""


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [bound.getsockname()[1] for bound in sockets]
