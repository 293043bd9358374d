"""A chain as those see it who read it, and as a Web3 for those who also send.

To import web3.py takes more time than most commands, and reading needs none of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from fl_orchestrator.chain.nodes.endpoints import Endpoints
from fl_orchestrator.chain.nodes.refusal import RequestRefused

if TYPE_CHECKING:
    from web3 import Web3
    from web3.eth import Eth


class Node:
    """A chain, by the endpoints that serve it or by a Web3.

    Its requests raise RpcUnavailable, WrongChain and RequestRefused; those that go through the
    Web3 of another provider raise what web3 raises.
    """

    def __init__(self, chain: Endpoints | Web3) -> None:
        if isinstance(chain, Endpoints):
            self._provider: Any = chain
        else:
            self.web3 = chain
            self._provider = getattr(chain.provider, "endpoints", chain.provider)

    @classmethod
    def of(cls, chain: Node | Web3) -> Node:
        return chain if isinstance(chain, Node) else cls(chain)

    @functools.cached_property
    def web3(self) -> Web3:
        """The same chain, as web3.py has it."""
        from fl_orchestrator.chain.nodes.provider import web3_of

        return web3_of(self._provider)

    @property
    def endpoints(self) -> Endpoints | None:
        """The endpoints; None if the chain is reached in another way."""
        return self._provider if isinstance(self._provider, Endpoints) else None

    def raw(self, method: str, *arguments: Any) -> Any:
        """The result of a request as a node has it; NotImplemented if it has to go through web3."""
        request = getattr(self._provider, "raw_request", None)
        return NotImplemented if request is None else request(method, arguments)

    @functools.cached_property
    def chain_id(self) -> int:
        found = self.raw("eth_chainId")
        return self.web3.eth.chain_id if found is NotImplemented else int(found, 16)

    @property
    def block_number(self) -> int:
        """The number of the latest block."""
        found = self.raw("eth_blockNumber")
        return int(self.web3.eth.block_number) if found is NotImplemented else int(found, 16)

    def code(self, address: Any) -> bytes:
        """The code at an address with its checksum; empty without a contract."""
        found = self.raw("eth_getCode", address, "latest")
        if found is NotImplemented:
            return bytes(self.web3.eth.get_code(address))
        return bytes.fromhex(found[2:])

    def balance(self, address: Any) -> int:
        """The balance of an address with its checksum, in wei."""
        found = self.raw("eth_getBalance", address, "latest")
        return self.web3.eth.get_balance(address) if found is NotImplemented else int(found, 16)

    def nonce(self, address: Any) -> int:
        """How many transactions of an address with its checksum are mined, at the latest block."""
        found = self.raw("eth_getTransactionCount", address, "latest")
        if found is NotImplemented:
            return self.web3.eth.get_transaction_count(address, "latest")
        return int(found, 16)

    def block(self, block: int | bytes | str) -> Any:
        """A block, by its number, its hash or a name, as the node or as web3 has it; None if there
        is none."""
        by_hash = isinstance(block, bytes)
        method = "eth_getBlockByHash" if by_hash else "eth_getBlockByNumber"
        name = "0x" + block.hex() if isinstance(block, bytes) else block
        asked = hex(name) if isinstance(name, int) else name
        return self._if_there(lambda eth: eth.get_block(cast(Any, block)), method, asked, False)

    def receipt(self, transaction: bytes) -> Any:
        """The receipt of a transaction as the node or as web3 has it; None if it is not mined."""
        return self._if_there(
            lambda eth: eth.get_transaction_receipt(cast(Any, transaction)),
            *("eth_getTransactionReceipt", "0x" + transaction.hex()),
        )

    def _if_there(self, of_web3: Callable[[Eth], Any], method: str, *arguments: Any) -> Any:
        found = self.raw(method, *arguments)
        if found is not NotImplemented:
            return found
        from web3.exceptions import BlockNotFound, TransactionNotFound

        try:
            return of_web3(self.web3.eth)
        except (BlockNotFound, TransactionNotFound):
            return None

    @property
    def gas_price(self) -> int:
        """What the node suggests to pay for a unit of gas, in wei."""
        found = self.raw("eth_gasPrice")
        return int(self.web3.eth.gas_price) if found is NotImplemented else int(found, 16)

    def call(self, address: Any, data: bytes) -> bytes:
        """What a view function of the contract at an address returns, at the latest block."""
        # Give a sender: without one, web3 first requests the development chain's accounts.
        sent: Any = {"from": address, "to": address, "data": "0x" + data.hex()}
        found = self.raw("eth_call", sent, "latest")
        if found is NotImplemented:
            return bytes(self.web3.eth.call(sent))
        return bytes.fromhex(found[2:])

    def logs(self, wanted: Any) -> Any:
        """The logs of a filter, as the node or as web3 has them: web3's take most of the time."""
        blocks = {name: hex(wanted[name]) for name in ("fromBlock", "toBlock") if name in wanted}
        found = self.raw("eth_getLogs", {**wanted, **blocks})
        if found is not NotImplemented:
            return found
        from web3.exceptions import Web3RPCError

        try:
            return self.web3.eth.get_logs(wanted)
        except Web3RPCError as error:
            raise RequestRefused.of((error.rpc_response or {}).get("error") or error) from error
