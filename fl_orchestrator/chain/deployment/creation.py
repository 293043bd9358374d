"""Which creation code a contract was deployed with: its code alone does not tell how it began."""

from __future__ import annotations

from collections.abc import Mapping

from eth_typing import BlockNumber
from hexbytes import HexBytes
from web3 import Web3
from web3.utils.address import get_create_address

from fl_orchestrator.chain.contract.reverts import RequestRefused, RevertDecoder
from fl_orchestrator.errors import ChainError


class NoOldState(ChainError):
    """The node does not say which code an address had at an earlier block."""


def creates(web3: Web3, address: str, data: bytes) -> bool:
    """Whether a transaction created the contract at ``address`` with exactly this data.

    It finds the contract's first block by halving, so it needs a node with the states of old
    blocks. Raises NoOldState, and RpcUnavailable.
    """
    place = Web3.to_checksum_address(address)
    try:
        with RevertDecoder([]).translated():
            absent, present = -1, int(web3.eth.block_number)
            while present - absent > 1:
                middle = (absent + present) // 2
                if web3.eth.get_code(place, BlockNumber(middle)):
                    present = middle
                else:
                    absent = middle
            return creates_in(web3, present, address, data)
    except RequestRefused as error:
        raise NoOldState(error.message, error.hint) from error


def creates_in(web3: Web3, number: int, address: str, data: bytes) -> bool:
    """Whether a transaction in a block creates the contract at ``address`` with this data."""
    for sent in web3.eth.get_block(number, full_transactions=True)["transactions"]:
        if not isinstance(sent, Mapping) or sent.get("to"):
            continue
        if get_create_address(sent["from"], sent["nonce"]) == address:
            return bytes(HexBytes(sent.get("input") or sent.get("data") or b"")) == data
    return False
