"""Validators of Kaia with Istanbul BFT: a block is final when more than two thirds signed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rlp  # type: ignore[import-untyped]
from eth_keys.datatypes import PrivateKey

from network.network import Network, Validator

_GWEI: Final = 10**9
_PRICE: Final = 25 * _GWEI
# Those of Kaia 1.0.3, without what needs contracts of its own main network.
_FORKS: Final = (
    "istanbul",
    "london",
    "ethTxType",
    "magma",
    "kore",
    "shanghai",
    "cancun",
    "kaia",
)
# Validators take turns, whatever their stake; all are in every committee.
_ROUND_ROBIN: Final = 0
_COMMITTEE: Final = 21
_EPOCH: Final = 604_800


class Istanbul:
    """Kaia 1.0.3. It makes a block every second, and its base fee is what it is here."""

    name = "istanbul"
    build = "build_kaia.sh"
    periods = range(1, 2)

    def genesis(self, network: Network, balances: Mapping[str, int]) -> dict[str, Any]:
        """The genesis block. Its extra data (EIP-650): 32 free bytes, validators, no seals."""
        validators = sorted(bytes.fromhex(one.address[2:]) for one in network.validators)
        extra = bytes(32) + rlp.encode([validators, bytes(65), []])
        return {
            "config": {
                "chainId": network.chain_id,
                **{f"{fork}CompatibleBlock": 0 for fork in _FORKS},
                "istanbul": {"epoch": _EPOCH, "policy": _ROUND_ROBIN, "sub": _COMMITTEE},
                "unitPrice": _PRICE,
                "deriveShaImpl": 0,
                "governance": None,
            },
            "timestamp": "0x0",
            "extraData": "0x" + extra.hex(),
            "blockScore": "0x1",
            "alloc": {address: {"balance": hex(wei)} for address, wei in balances.items()},
        }

    def prepare(self, network: Network, validator: Validator, key: PrivateKey) -> None:  # noqa: ARG002
        """Write the nodes to which it connects. Its key is that of the node."""
        others = [_kni(other) for other in network.others(validator)]
        place = network.home(validator) / "klay"
        place.mkdir()
        (place / "static-nodes.json").write_text(json.dumps(others))

    def chain(self, home: Path) -> Path:
        return home / "klay" / "chaindata"

    def init(self, network: Network, validator: Validator) -> list[str | Path]:
        return ["--datadir", network.home(validator), "init", network.genesis]

    def run(self, network: Network, validator: Validator) -> list[str | Path]:
        return [
            *("--datadir", network.home(validator)),
            *("--nodekey", network.node_key(validator)),
            *("--networkid", str(network.chain_id)),
            # It has no option for the address to listen on: it listens on all, and refuses
            # whoever does not come from this machine.
            *("--port", str(validator.p2p_port), "--netrestrict", "127.0.0.0/8"),
            *("--nat", "none", "--nodiscover", "--ntp.disable"),
            *("--syncmode", "full", "--gcmode", "archive"),
            *("--rpc", "--rpcaddr", "127.0.0.1", "--rpcport", str(validator.rpc_port)),
            *("--rpcapi", "eth,net,web3"),
            *("--rewardbase", validator.address),
        ]


def _kni(validator: Validator) -> str:
    return f"kni://{validator.node_id}@127.0.0.1:{validator.p2p_port}?discport=0&ntype=cn"
