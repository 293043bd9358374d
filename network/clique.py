"""Validators of geth with Clique (EIP-225): any majority of them makes blocks, and it can fork."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_keys.datatypes import PrivateKey

from network.network import Network, Validator, write_private

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


class Clique:
    """geth 1.13.15, the last with Clique."""

    name = "clique"
    build = "build_geth.sh"
    periods = range(1, 1 << 16)

    def genesis(self, network: Network, balances: Mapping[str, int]) -> dict[str, Any]:
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

    def prepare(self, network: Network, validator: Validator, key: PrivateKey) -> None:
        """Write its keystore, its password, and geth.toml: it connects only to the others.

        ``DialRatio`` is needed because by default a node dials only a third of its peers.
        """
        home, password = network.home(validator), secrets.token_urlsafe(16)
        write_private(home / "password", password + "\n")
        encrypted = Account.encrypt(
            key.to_bytes(), password, kdf="pbkdf2", iterations=_KDF_ITERATIONS
        )
        write_private(home / "keystore" / "validator.json", json.dumps(encrypted))
        others = json.dumps([_enode(other) for other in network.others(validator)])
        (home / "geth.toml").write_text(f"""[Node.P2P]
ListenAddr = "127.0.0.1:{validator.p2p_port}"
MaxPeers = {len(network.validators) - 1}
DialRatio = 1
NoDiscovery = true
BootstrapNodes = []
BootstrapNodesV5 = []
StaticNodes = {others}
TrustedNodes = {others}
NetRestrict = ["127.0.0.0/8"]
""")

    def chain(self, home: Path) -> Path:
        return home / "geth" / "chaindata"

    def init(self, network: Network, validator: Validator) -> list[str | Path]:
        return ["--datadir", network.home(validator), "init", network.genesis]

    def run(self, network: Network, validator: Validator) -> list[str | Path]:
        home = network.home(validator)
        return [
            *("--config", home / "geth.toml"),
            *("--datadir", home),
            *("--nodekey", network.node_key(validator)),
            *("--networkid", str(network.chain_id)),
            *("--nat", "none"),
            # Write every block's state to disk. Otherwise a killed validator restarts from the
            # last state that it wrote, which on a new chain is genesis.
            *("--syncmode", "full", "--gcmode", "archive", "--history.transactions", "0"),
            *("--cache", "128"),
            *("--http", "--http.addr", "127.0.0.1", "--http.port", str(validator.rpc_port)),
            *("--http.api", "eth,net,web3"),
            *("--authrpc.addr", "127.0.0.1", "--authrpc.port", "0"),
            *("--mine", "--miner.etherbase", validator.address),
            *("--unlock", validator.address, "--password", home / "password"),
            "--allow-insecure-unlock",
        ]


def _enode(validator: Validator) -> str:
    return f"enode://{validator.node_id}@127.0.0.1:{validator.p2p_port}?discport=0"
