"""Decodes the logs that a node returns to events, and refuses logs that the contract cannot have
emitted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fl_orchestrator.chain.abi import signature_hash
from fl_orchestrator.chain.contract.words import words_of
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ChainError, ContentError

T = TypeVar("T")

_UNREADABLE: Final = (
    ContentError,
    AttributeError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
)


class UntrueEvents(ChainError):
    """A node reports events that the contract cannot have emitted: it is faulty or malicious."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The node reports events that the contract cannot have emitted: {what}.",
            "Use another RPC endpoint.",
        )


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn every error of decoding into UntrueEvents."""
    try:
        yield
    except _UNREADABLE as error:
        raise UntrueEvents(f"{what} cannot be decoded") from error


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """Any event of a contract, with its place in the chain.

    ``time`` is that of the block, in seconds since 1970; None if the node's logs have none.
    ``values`` are the event's arguments by the ABI's names: addresses with their checksum,
    structs as tuples.
    """

    block_number: int
    block_hash: bytes
    log_index: int
    transaction: bytes
    time: int | None
    name: str
    values: dict[str, Any]

    @classmethod
    def of(cls, log: Mapping[str, Any]) -> LoggedEvent:
        """From what `LogSearch` passes to ``build``."""
        return cls(
            log["blockNumber"],
            log["blockHash"],
            log["logIndex"],
            log["transactionHash"],
            log["blockTimestamp"],
            log["event"],
            log["args"],
        )


class _Decoder:
    """Decodes the logs of one event. It takes a twentieth of the time that web3's takes."""

    def __init__(self, abi: Any) -> None:
        self.name: str = abi["name"]
        self._indexed = [(i["name"], words_of([i])) for i in abi["inputs"] if i["indexed"]]
        plain = [i for i in abi["inputs"] if not i["indexed"]]
        self._names = [i["name"] for i in plain]
        self._plain = words_of(plain)

    def arguments(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """The event's arguments by name. Raises ValueError."""
        found: dict[str, Any] = {}
        for (name, decode), topic in zip(self._indexed, topics, strict=True):
            (found[name],) = decode(topic)
        found.update(zip(self._names, self._plain(data), strict=True))
        return found


_LARGEST_NUMBER: Final = 2**53  # of a number in JSON that every reader reads exactly


def json_value(name: str, value: Any) -> Any:
    """An argument of an event as JSON: bytes are hexadecimal with 0x, large numbers are text."""
    if name == "cid" and isinstance(value, tuple):
        return str(Cid(*value))
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LARGEST_NUMBER:
        return str(value)
    return value


def number_of(value: Any) -> int:
    """A number of a node's response, which web3 may have decoded already."""
    return int(value, 16) if isinstance(value, str) else int(value)


def _bytes(value: Any) -> bytes:
    return bytes.fromhex(value[2:]) if isinstance(value, str) else bytes(value)


class LogSearch:
    """The filter of one ``eth_getLogs`` search, and the decoder of its response.

    ``events`` are of the contract's ABI. A ``round_number`` limits the search to that round.
    """

    def __init__(
        self, address: str, events: Iterable[Any], round_number: int | None = None
    ) -> None:
        events = list(events)
        self._address = address
        self._events = {signature_hash(event): _Decoder(event) for event in events}
        self._round = round_number
        topics: list[Any] = [["0x" + topic.hex() for topic in self._events]]
        if round_number is not None:
            (place,) = {_round_topic(event) for event in events}
            topics += [None] * (place - 1) + ["0x" + round_number.to_bytes(32, "big").hex()]
        self._topics = topics

    def filter(self, first: int, last: int) -> Any:
        """The parameters of ``eth_getLogs`` for a range of blocks."""
        return {
            "address": self._address,
            "topics": self._topics,
            "fromBlock": first,
            "toBlock": last,
        }

    def filter_of_block(self, block_hash: bytes) -> Any:
        """The parameters of ``eth_getLogs`` for one block (EIP-234).

        A node that does not have the block says so, instead of answering without events.
        """
        wanted = {"address": self._address, "topics": self._topics}
        return {**wanted, "blockHash": "0x" + block_hash.hex()}

    @staticmethod
    def places(logs: Sequence[Any]) -> list[tuple[int, int]]:
        """The block and the log index of each log. Raises UntrueEvents."""
        with _readable("a log"):
            return [(number_of(log["blockNumber"]), number_of(log["logIndex"])) for log in logs]

    def decoded(
        self, logs: Sequence[Any], first: int, last: int, build: Callable[[Any], T]
    ) -> list[T]:
        """Decode each log, and convert it with ``build``. Raises UntrueEvents.

        ``build`` gets a dict with the keys of web3's events, and ``blockTimestamp``.
        """
        return [self._decoded(log, first, last, build) for log in logs]

    def _decoded(self, log: Any, first: int, last: int, build: Callable[[Any], T]) -> T:
        with _readable("a log"):
            number, topics = number_of(log["blockNumber"]), [_bytes(t) for t in log["topics"]]
            event, time = self._events.get(topics[0]), log.get("blockTimestamp")
            if log["address"].lower() != self._address.lower():
                raise UntrueEvents(f"a log is of another contract, {log['address']}")
            if event is None:
                raise UntrueEvents("a log is of an event that was not requested")
            if not first <= number <= last:
                raise UntrueEvents(f"a log is of block {number}, not of {first} to {last}")
        with _readable(f"{event.name} in block {number}"):
            arguments = event.arguments(topics[1:], _bytes(log["data"]))
            if self._round is not None and arguments["round"] != self._round:
                raise UntrueEvents(f"a log is of another round, {arguments['round']}")
            return build(
                {
                    "event": event.name,
                    "args": arguments,
                    "blockNumber": number,
                    "blockHash": _bytes(log["blockHash"]),
                    "blockTimestamp": None if time is None else number_of(time),
                    "logIndex": number_of(log["logIndex"]),
                    "transactionHash": _bytes(log["transactionHash"]),
                    "address": log["address"],
                }
            )


def _round_topic(abi: Any) -> int:
    """The position of the round among an event's topics; topic 0 is the event's signature."""
    indexed = [argument["name"] for argument in abi["inputs"] if argument["indexed"]]
    return indexed.index("round") + 1
