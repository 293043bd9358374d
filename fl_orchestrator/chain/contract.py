"""One contract on a chain: what its functions return, its events, and calls to send to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress
from web3 import Web3

from fl_orchestrator.artifacts import Artifact
from fl_orchestrator.chain.reverts import RevertDecoder


@dataclass(frozen=True, slots=True)
class Call:
    """A contract call that can be sent. ``label`` names it in reports; ``value`` is in wei."""

    to: ChecksumAddress | None
    data: bytes
    value: int
    label: str


class Contract:
    """The contract at an address, by the ABI of its artifact. It sends nothing by itself."""

    def __init__(self, web3: Web3, address: str, artifact: Artifact) -> None:
        self.web3 = web3
        self.address = Web3.to_checksum_address(address)
        self.chain_id = web3.eth.chain_id
        self.reverts = RevertDecoder.of_artifact(artifact.name)
        self._contract = web3.eth.contract(address=self.address, abi=artifact.abi)

    def _read(self, function: str, *arguments: Any) -> Any:
        with self.reverts.translated():
            # For a call without a sender web3 asks the development chain for its accounts.
            return self._contract.functions[function](*arguments).call({"from": self.address})

    def _events(
        self, name: str, first: int, last: int | None, round_number: int | None
    ) -> list[Any]:
        """From a first block to a last one, None being the latest, and of one round or of all."""
        event = self._contract.events[name]
        filters = {} if round_number is None else {"round": round_number}
        with self.reverts.translated():
            logs = event.get_logs(
                from_block=first,
                to_block="latest" if last is None else last,
                argument_filters=filters,
            )
            return list(logs)

    def _events_of(self, names: Sequence[str], first: int, last: int) -> list[Any]:
        """All events of these names, in the order of the chain, by one request."""
        events = {
            bytes.fromhex(e.topic[2:]): e for e in map(self._contract.events.__getitem__, names)
        }
        wanted: Any = {
            "address": self.address,
            "fromBlock": first,
            "toBlock": last,
            "topics": [["0x" + topic.hex() for topic in events]],
        }
        with self.reverts.translated():
            logs = self.web3.eth.get_logs(wanted)
        return [events[bytes(log["topics"][0])].process_log(log) for log in logs]

    def _call(self, function: str, *arguments: Any, value: int = 0) -> Call:
        data = self._contract.encode_abi(function, args=list(arguments))
        return Call(self.address, bytes.fromhex(data[2:]), value, function)
