"""A py-evm chain's answers to the requests that roles make all the time, as a node's JSON has them.

It takes a fraction of the time of eth-tester and of web3's middleware, which convert each value
several times. Other requests go that way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from eth.exceptions import BlockNotFound, HeaderNotFound
from eth_bloom.bloom import BloomFilter
from eth_utils.address import to_canonical_address

_LATEST: Final = "latest"
# What the calls of a contract's views have.
_CALL: Final = {"from", "to", "data"}
# The logs of so many blocks are kept.
_MOST_KNOWN: Final = 256


class Answers:
    """Answers requests for blocks and their logs, accounts and calls, from a backend of eth-tester.

    Where a request is for another state than the latest, web3 has to ask.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._chain = backend.chain
        self._blooms = _Blooms(self._chain)
        self._known: dict[bytes, list[tuple[Any, dict[str, Any]]]] = {}
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_blockNumber": self._block_number,
            "eth_call": self._call,
            "eth_chainId": self._chain_id,
            "eth_getBalance": self._balance,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getLogs": self._logs,
            "eth_getTransactionCount": self._nonce,
            "eth_getTransactionReceipt": self._receipt,
        }

    def answer(self, method: str, params: Sequence[Any]) -> Any:
        """The result of a request; None if there is no such block.

        NotImplemented for a request that has to go through web3.
        """
        known = self._methods.get(method)
        return NotImplemented if known is None else known(*params)

    # ------------------------------------------------------------------ state

    def _chain_id(self) -> str:
        return hex(self._chain.chain_id)

    def _block_number(self) -> str:
        return hex(self._chain.get_canonical_head().block_number)

    def _balance(self, account: str, place: str) -> Any:
        if place != _LATEST:
            return NotImplemented
        return hex(self._backend.get_balance(to_canonical_address(account), place))

    def _nonce(self, account: str, place: str) -> Any:
        if place != _LATEST:
            return NotImplemented
        return hex(self._backend.get_nonce(to_canonical_address(account), place))

    def _call(self, call: dict[str, str], place: str) -> Any:
        """Raises what the backend raises."""
        if place != _LATEST or call.keys() != _CALL:
            return NotImplemented
        asked = {
            "from": to_canonical_address(call["from"]),
            "to": to_canonical_address(call["to"]),
            "data": bytes.fromhex(call["data"][2:]),
        }
        return "0x" + self._backend.call(asked, place).hex()

    # ------------------------------------------------------------------ blocks

    def _header(self, place: str) -> Any:
        """The header of a block by its hash, its number or as the latest; None without one."""
        head = self._chain.get_canonical_head()
        if place == _LATEST:
            return head
        try:
            if len(place) != 2 + 64:
                return self._canonical(int(place, 16), head)
            found = self._chain.get_block_header_by_hash(bytes.fromhex(place[2:]))
            canonical = self._canonical(found.block_number, head)
            return canonical if canonical is not None and canonical.hash == found.hash else None
        except (BlockNotFound, HeaderNotFound):
            return None

    def _canonical(self, number: int, head: Any) -> Any:
        """The header of a block of the chain; None beyond its head.

        After a reorganisation py-evm still finds the blocks there that were removed.
        """
        if number > head.block_number:
            return None
        return self._chain.get_canonical_block_header_by_number(number)

    def _block_by_number(self, place: str, _whole: bool = False) -> dict[str, str] | None:
        header = self._header(place)
        return None if header is None else _block(header)

    def _block_by_hash(self, block_hash: str, whole: bool = False) -> dict[str, str] | None:
        return self._block_by_number(block_hash, whole)

    def _receipt(self, transaction: str) -> Any:
        place = self._backend.place(bytes.fromhex(transaction[2:]))
        if place is None:
            return None
        block, index = place
        sent, header = block.transactions[index], block.header
        if not sent.to:
            return NotImplemented  # the address of a contract that was created
        before, receipt = (None, *block.get_receipts(self._chain.chaindb))[index : index + 2]
        tip = min(sent.max_priority_fee_per_gas, sent.max_fee_per_gas - header.base_fee_per_gas)
        logs = [found for _, found in self._all_logs(header)]
        return {
            "transactionHash": transaction,
            "transactionIndex": hex(index),
            "blockNumber": hex(header.block_number),
            "blockHash": "0x" + header.hash.hex(),
            "from": "0x" + sent.sender.hex(),
            "to": "0x" + sent.to.hex(),
            "contractAddress": None,
            "status": hex(int.from_bytes(receipt.state_root, "big")),
            "cumulativeGasUsed": hex(receipt.gas_used),
            "gasUsed": hex(receipt.gas_used - (before.gas_used if before else 0)),
            "effectiveGasPrice": hex(header.base_fee_per_gas + tip),
            "logs": [log for log in logs if log["transactionHash"] == transaction],
        }

    # ------------------------------------------------------------------ events

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """The logs of one block, or of a range up to the latest block."""
        topics = [_alternatives(topic) for topic in wanted["topics"]]
        address = to_canonical_address(wanted["address"])
        masks = [[_mask(address)]]
        masks += [[_mask(topic.to_bytes(32, "big")) for topic in one] for one in topics if one]
        return [
            found
            for header in self._headers(wanted, masks)
            for log, found in self._all_logs(header)
            if log.address == address and _match(topics, log.topics)
        ]

    def _headers(self, wanted: dict[str, Any], masks: Sequence[Sequence[int]]) -> Iterator[Any]:
        """The headers of the blocks that are searched, without those that have no such logs."""
        if "blockHash" in wanted:
            header = self._header(wanted["blockHash"])
            if header is None:
                raise ValueError(f"no block has the hash {wanted['blockHash']}")
            yield header
            return
        head = self._chain.get_canonical_head()
        last = min(int(wanted["toBlock"], 16), head.block_number)
        for number in self._blooms.search(int(wanted["fromBlock"], 16), last, masks):
            yield self._chain.get_canonical_block_header_by_number(number)

    def _all_logs(self, header: Any) -> list[tuple[Any, dict[str, Any]]]:
        """The logs of a block, as py-evm and as a node has them; many roles ask for them."""
        known = self._known.pop(header.hash, None)
        if known is None:
            known = [*self._logs_of(header)]
            if len(self._known) == _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        self._known[header.hash] = known  # the last one that was used
        return known

    def _logs_of(self, header: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        block = self._chain.get_block_by_header(header)
        receipts = block.get_receipts(self._chain.chaindb)
        position = 0
        for index, (transaction, receipt) in enumerate(
            zip(block.transactions, receipts, strict=True)
        ):
            place = {
                "blockNumber": hex(header.block_number),
                "blockHash": "0x" + header.hash.hex(),
                "transactionHash": "0x" + transaction.hash.hex(),
                "transactionIndex": hex(index),
            }
            for log in receipt.logs:
                yield log, {**place, "logIndex": hex(position), **_log(log)}
                position += 1


class _Blooms:
    """The bloom filters of all blocks. To read a header takes longer than a search of thousands."""

    def __init__(self, chain: Any) -> None:
        self._chain = chain
        # The hash and the filter of each block, by its number.
        self._known: list[tuple[bytes, int]] = []

    def search(self, first: int, last: int, masks: Sequence[Sequence[int]]) -> Iterator[int]:
        """The blocks whose filters have, of each of these alternatives, at least one."""
        self._follow()
        for number in range(first, last + 1):
            bloom = self._known[number][1]
            if bloom and all(any(bloom & mask == mask for mask in one) for one in masks):
                yield number

    def _follow(self) -> None:
        head = self._chain.get_canonical_head().block_number
        del self._known[head + 1 :]
        while self._known and self._header(len(self._known) - 1).hash != self._known[-1][0]:
            self._known.pop()  # a reorganisation has replaced it
        for number in range(len(self._known), head + 1):
            header = self._header(number)
            self._known.append((header.hash, header.bloom))

    def _header(self, number: int) -> Any:
        return self._chain.get_canonical_block_header_by_number(number)


def _mask(value: bytes) -> int:
    """The bits that a log's address or topic sets in a block's filter (yellow paper, 4.3.1)."""
    return int(BloomFilter.from_iterable([value]))


def _block(header: Any) -> dict[str, str]:
    return {
        "number": hex(header.block_number),
        "hash": "0x" + header.hash.hex(),
        "parentHash": "0x" + header.parent_hash.hex(),
        "timestamp": hex(header.timestamp),
        "gasLimit": hex(header.gas_limit),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "logsBloom": "0x" + header.bloom.to_bytes(256, "big").hex(),
    }


def _log(log: Any) -> dict[str, Any]:
    return {
        "address": "0x" + log.address.hex(),
        "topics": ["0x" + topic.to_bytes(32, "big").hex() for topic in log.topics],
        "data": "0x" + log.data.hex(),
    }


def _alternatives(topic: Any) -> frozenset[int] | None:
    """The values of a topic that a filter lets through; None for all."""
    if topic is None:
        return None
    return frozenset(int(one, 16) for one in (topic if isinstance(topic, list) else [topic]))


def _match(wanted: Sequence[frozenset[int] | None], topics: Sequence[int]) -> bool:
    if len(wanted) > len(topics):
        return False
    return all(one is None or topic in one for one, topic in zip(wanted, topics, strict=False))
