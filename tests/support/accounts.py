"""The coin of accounts."""

from web3 import Web3


def balance_of(web3: Web3, address: str) -> int:
    """The coin of an account, in wei."""
    return int(web3.eth.get_balance(Web3.to_checksum_address(address)))
