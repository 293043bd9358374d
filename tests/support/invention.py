"""Generates the events of a node that lies: changed, moved, dropped, repeated and made up ones.

Most are events of a federation that can be decoded, with false content. Some cannot be decoded.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic
from hexbytes import HexBytes
from hypothesis import strategies as st
from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result, result_digest

Log = dict[str, Any]
#: Returns false logs, made from those of the chain.
Invention = Callable[[list[Log]], list[Log]]

# The events that the product reads, by the contract; those of disputes are more frequent.
_READ: Final[dict[str, Sequence[str]]] = {
    "Federation": (
        *("Demanded", "Answered", "Demanded", "Answered", "ResultProposed"),
        *("UpdateRevealed", "ResultProposed", "RoundAccepted", "Attested", "Demanded", "Answered"),
        *("FraudProven", "RoundRevoked", "Slashed", "RoundOpened", "Committed", "DuplicateUpdate"),
    ),
    "PrivateFederation": (
        *("Committed", "UpdateRevealed", "Locked", "SeedBlockNamed", "KeySet", "Registered"),
        *("Committed", "Locked", "SeedsOpened", "RoundOpened", "UnbondRequested", "Withdrawn"),
        *("UpdateRevealed", "Slashed", "Announced", "RoundAccepted", "Attested", "Claimed"),
    ),
}


@functools.cache
def _events(artifact: str) -> dict[str, Any]:
    return {item["name"]: item for item in load_artifact(artifact).abi if item["type"] == "event"}


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """True values of a federation, which make false events plausible."""

    chain_id: int
    address: str
    words: tuple[bytes, ...]
    accounts: tuple[str, ...]
    contents: tuple[bytes, ...]
    cids: tuple[Cid, ...]
    artifact: str = "Federation"


def inventions(known: Known) -> st.SearchStrategy[Invention]:
    """One to three changes, applied one after the other."""
    one = st.one_of(_dropped(), _repeated(), _moved(), _garbled(), _changed(known), _made_up(known))

    def chained(lies: Sequence[Invention]) -> Invention:
        def invent(logs: list[Log]) -> list[Log]:
            for lie in lies:
                logs = lie(logs)
            return logs

        return invent

    return st.lists(one, min_size=1, max_size=3).map(chained)


# ------------------------------------------------------------------ changes of real events


def _place() -> st.SearchStrategy[int]:
    return st.integers(0, 40)


def _with(place: int, change: Callable[[Log], list[Log]]) -> Invention:
    def invent(logs: list[Log]) -> list[Log]:
        if not logs:
            return logs
        at = place % len(logs)
        return [*logs[:at], *change(logs[at]), *logs[at + 1 :]]

    return invent


def _dropped() -> st.SearchStrategy[Invention]:
    return _place().map(lambda place: _with(place, lambda log: []))


def _repeated() -> st.SearchStrategy[Invention]:
    return _place().map(lambda place: _with(place, lambda log: [log, log]))


def _moved() -> st.SearchStrategy[Invention]:
    def lie(place: int, number: int) -> Invention:
        return _with(place, lambda log: [{**log, "blockNumber": number}])

    return st.builds(lie, _place(), st.integers(0, 60) | st.just(2**255))


def _garbled() -> st.SearchStrategy[Invention]:
    words = st.binary(min_size=32, max_size=32).map(HexBytes)
    topics = st.lists(words, max_size=4).map(lambda some: {"topics": some})
    data = st.binary(max_size=200).map(lambda some: {"data": HexBytes(some)})
    address = st.just({"address": Web3.to_checksum_address("0x" + "77" * 20)})

    def lie(place: int, changes: Log) -> Invention:
        return _with(place, lambda log: [{**log, **changes}])

    return st.builds(lie, _place(), st.one_of(topics, data, address))


def _changed(known: Known) -> st.SearchStrategy[Invention]:
    """Replace one word of a log's topics or data."""

    def lie(place: int, word: int, value: bytes) -> Invention:
        def change(log: Log) -> list[Log]:
            topics, data = list(log["topics"]), bytes(log["data"])
            if word < len(topics):
                topics[word] = HexBytes(value)
            elif data:
                at = (word * 32) % len(data)
                data = data[:at] + value + data[at + 32 :]
            return [{**log, "topics": topics, "data": HexBytes(data)}]

        return _with(place, change)

    return st.builds(lie, _place(), st.integers(1, 40), _word(known))


# ------------------------------------------------------------------ made up events


def _word(known: Known) -> st.SearchStrategy[bytes]:
    numbers = _number(256).map(lambda n: n.to_bytes(32, "big"))
    accounts = st.sampled_from(known.accounts).map(lambda a: bytes.fromhex(a[2:]).rjust(32, b"\0"))
    return st.one_of(st.sampled_from(known.words), numbers, accounts)


def _number(bits: int) -> st.SearchStrategy[int]:
    edges = st.sampled_from([63, 64, 99, 100, 127, 128, 255, 256, 2**31, 2**64, 2**255])
    return (st.integers(0, 8) | edges | st.just(2**bits - 1)).map(lambda n: n % 2**bits)


# Keep rounds and demands plausible: the product ignores events of unknown rounds.
_PLAUSIBLE: Final = {
    "round": st.sampled_from([1, 1, 2, 2, 3]),
    "height": st.integers(1, 3),
    "id": st.integers(1, 4),
    "previous": st.integers(0, 3),
    "level": st.integers(0, 8),
    "deadline": st.just(2**40),
    "weight": st.integers(0, 256),
    "index": st.integers(0, 9),
}


def _value(known: Known, argument: Any) -> st.SearchStrategy[Any]:
    kind = argument["type"]
    if argument["name"] in _PLAUSIBLE:
        return _PLAUSIBLE[argument["name"]] | _number(int(kind.removeprefix("uint")))
    if kind == "tuple":
        return st.tuples(*(_value(known, part) for part in argument["components"]))
    if kind == "address":
        return st.sampled_from(known.accounts)
    if kind == "bytes":
        return st.sampled_from(known.contents) | st.binary(max_size=100)
    if kind == "bytes32":
        return st.sampled_from(known.words)
    if argument["name"] == "codec":
        return st.sampled_from([0x55, 0x70]) | _number(8)
    return _number(int(kind.removeprefix("uint")))


def _made_up(known: Known) -> st.SearchStrategy[Invention]:
    """An event that can be decoded. A made up result has its correct digest, so it looks true."""

    def of(name: str) -> st.SearchStrategy[tuple[str, list[Any]]]:
        if name == "ResultProposed":
            return _proposed(known).map(lambda values: (name, values))
        values = st.tuples(*(_value(known, a) for a in _events(known.artifact)[name]["inputs"]))
        return values.map(lambda some: (name, list(some)))

    def lie(place: int, event: tuple[str, list[Any]]) -> Invention:
        name, values = event

        def add(log: Log) -> list[Log]:
            return [log, {**log, **encoded(name, values, known.artifact)}]

        return _with(place, add)

    return st.builds(lie, _place(), st.sampled_from(_READ[known.artifact]).flatmap(of))


def _proposed(known: Known) -> st.SearchStrategy[list[Any]]:
    word = st.sampled_from(known.words)
    results = st.builds(
        Result,
        st.integers(0, 3) | _number(32),
        word,
        word,
        _number(128),
        word,
        st.sampled_from(known.cids),
    )

    def values(result: Result) -> list[Any]:
        digest = result_digest(known.chain_id, known.address, result)
        cid = (result.global_cid.digest, result.global_cid.codec)
        fields = (result.round, result.updates_hash, result.base_root, result.included)
        return [result.round, digest, (*fields, result.global_root, cid)]

    return results.map(values)


def encoded(name: str, values: Sequence[Any], artifact: str = "Federation") -> Log:
    """Encode an event with these arguments, in the order of the ABI, as topics and data."""
    abi = _events(artifact)[name]
    pairs = list(zip(abi["inputs"], values, strict=True))
    topics = [HexBytes(event_abi_to_log_topic(abi))]
    topics += [HexBytes(encode([a["type"]], [v])) for a, v in pairs if a["indexed"]]
    rest = [(collapse_if_tuple(a), v) for a, v in pairs if not a["indexed"]]
    data = encode([kind for kind, _ in rest], [value for _, value in rest])
    return {"topics": topics, "data": HexBytes(data)}


class LyingNode:
    """The node behind a chain in this process, which can be made to lie about events."""

    def __init__(self, web3: Web3, patch: pytest.MonkeyPatch) -> None:
        provider: Any = web3.provider
        self._provider = provider
        self._request = provider.raw_request
        self._patch = patch

    def tell(self, invention: Invention) -> None:
        """Answer ``eth_getLogs`` with what the invention makes of the true answer."""

        def lie(method: str, params: Sequence[Any]) -> Any:
            found = self._request(method, params)
            if method != "eth_getLogs":
                return found
            assert found is not NotImplemented
            return [_as_sent(log) for log in invention([_as_read(log) for log in found])]

        self._patch.setattr(self._provider, "raw_request", lie)

    def tell_the_truth(self) -> None:
        self._patch.setattr(self._provider, "raw_request", self._request)


def _as_read(log: Log) -> Log:
    """A log with numbers and bytes, as inventions have them."""
    numbers = ("blockNumber", "transactionIndex", "logIndex")
    words = ("blockHash", "transactionHash", "data")
    return {
        **log,
        **{name: int(log[name], 16) for name in numbers},
        **{name: HexBytes(log[name]) for name in words},
        "topics": [HexBytes(topic) for topic in log["topics"]],
    }


def _as_sent(value: Any) -> Any:
    """A value in the form in which a node sends it."""
    if isinstance(value, dict):
        return {name: _as_sent(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_sent(one) for one in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return hex(value) if isinstance(value, int) else value
