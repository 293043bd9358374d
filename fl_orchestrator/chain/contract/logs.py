"""Decodes the logs that a node returns to events, and refuses logs that the contract cannot have
emitted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from eth_abi.exceptions import DecodingError
from web3.exceptions import Web3Exception

from fl_orchestrator.errors import ChainError, ContentError

T = TypeVar("T")

_UNREADABLE: Final = (
    ContentError,
    DecodingError,
    Web3Exception,
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


class LogSearch:
    """The filter of one ``eth_getLogs`` search, and the decoder of its response.

    ``events`` are web3's, by their names. A ``round_number`` limits the search to that round.
    """

    def __init__(
        self, address: str, events: Mapping[str, Any], round_number: int | None = None
    ) -> None:
        self._address = address
        self._events = {bytes.fromhex(e.topic[2:]): e for e in events.values()}
        self._round = round_number
        topics: list[Any] = [["0x" + topic.hex() for topic in self._events]]
        if round_number is not None:
            (place,) = {_round_topic(event.abi) for event in events.values()}
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

    def decoded(
        self, logs: Sequence[Any], first: int, last: int, build: Callable[[Any], T]
    ) -> list[T]:
        """Decode each log to web3's event, and convert it with ``build``. Raises UntrueEvents."""
        return [self._decoded(log, first, last, build) for log in logs]

    def _decoded(self, log: Any, first: int, last: int, build: Callable[[Any], T]) -> T:
        with _readable("a log"):
            number, event = log["blockNumber"], self._events.get(bytes(log["topics"][0]))
            if log["address"].lower() != self._address.lower():
                raise UntrueEvents(f"a log is of another contract, {log['address']}")
            if event is None:
                raise UntrueEvents("a log is of an event that was not requested")
            if not first <= number <= last:
                raise UntrueEvents(f"a log is of block {number}, not of {first} to {last}")
        with _readable(f"{event.event_name} in block {number}"):
            decoded = event.process_log(log)
            if self._round is not None and decoded["args"]["round"] != self._round:
                raise UntrueEvents(f"a log is of another round, {decoded['args']['round']}")
            return build(decoded)


def _round_topic(abi: Any) -> int:
    """The position of the round among an event's topics; topic 0 is the event's signature."""
    indexed = [argument["name"] for argument in abi["inputs"] if argument["indexed"]]
    return indexed.index("round") + 1
