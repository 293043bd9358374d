"""One contract on a chain: its view functions, its events, and calls to send to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from fl_orchestrator.artifacts import Runtime
from fl_orchestrator.chain.abi import checksummed, from_abi, signature_hash, type_of
from fl_orchestrator.chain.contract.logs import LoggedEvent, LogSearch, UntrueEvents, number_of
from fl_orchestrator.chain.contract.lookout import ACCOUNT_OF, NEW_ROUND, Place
from fl_orchestrator.chain.contract.reverts import RequestRefused, RevertDecoder
from fl_orchestrator.chain.contract.words import Undecodable, encoded, words_of
from fl_orchestrator.chain.nodes.endpoints import AnswerTooLarge, SearchTooWide
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.model.keccak import keccak256

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress
    from web3 import Web3

_T = TypeVar("_T")

# The first search for events covers this many blocks. Some nodes accept only ten thousand or fewer,
# so it is halved after a refusal.
WIDEST_SPAN: Final = 1 << 18
_BLOOM_BITS: Final = 2048


def _as_it_is(event: Any) -> Any:
    return event


@dataclass(frozen=True, slots=True)
class Call:
    """A contract call that can be sent. ``label`` names it in reports; ``value`` is in wei.

    With ``gas``, which has to be enough, it is sent without an estimate: that is faster, and
    nothing tells before it is mined that the contract refuses it. Otherwise its limit is the
    estimate, and ``more_gas`` for what it has to do as well if other calls are mined first.
    """

    to: ChecksumAddress | None
    data: bytes
    value: int
    label: str
    gas: int | None = None
    more_gas: int = 0


@dataclass(frozen=True, slots=True)
class _Function:
    """A function's selector, the types that it takes, and what decodes what it returns."""

    selector: bytes
    inputs: tuple[str, ...]
    outputs: Sequence[Any]
    returned: Callable[[bytes], tuple[Any, ...]]

    @classmethod
    def of(cls, item: Any) -> _Function:
        return cls(
            signature_hash(item)[:4],
            tuple(type_of(given) for given in item["inputs"]),
            item["outputs"],
            words_of(item["outputs"]),
        )

    def call_data(self, arguments: Sequence[Any]) -> bytes:
        return self.selector + encoded(self.inputs, arguments)


class Contract:
    """The contract at an address, by the ABI of its artifact. It sends nothing by itself."""

    def __init__(
        self,
        chain: Node | Web3,
        address: str,
        artifact: Runtime,
        reverts: RevertDecoder | None = None,
    ) -> None:
        self.node = Node.of(chain)
        self.address = cast("ChecksumAddress", checksummed(address))
        self.chain_id = self.node.chain_id
        self.reverts = reverts or RevertDecoder.of_artifact(artifact.name)
        self._event_abis = {item["name"]: item for item in artifact.abi if item["type"] == "event"}
        self._functions = {
            item["name"]: _Function.of(item) for item in artifact.abi if item["type"] == "function"
        }
        self._span = WIDEST_SPAN

    @property
    def web3(self) -> Web3:
        """The chain, for what sends."""
        return self.node.web3

    def _read(self, function: str, *arguments: Any) -> Any:
        """Call a view function and return its value, or a tuple of several.

        It does not use web3's contracts, which take twice the time: a waiting process spends all
        of its time here. Raises ContractReverted and RequestRefused.
        """
        called = self._functions[function]
        data = called.call_data(arguments)
        with self.reverts.translated():
            answer = self.node.call(self.address, data)
        try:
            values = called.returned(answer)
        except Undecodable as error:
            raise _no_answer(function) from error
        return values[0] if len(values) == 1 else values

    def _read_as(self, cls: type[_T], function: str, *arguments: Any) -> _T:
        """Call a view function and return its value as a dataclass (see `from_abi`)."""
        values = self._read(function, *arguments)
        try:
            return from_abi(cls, values)
        except ValueError as error:
            raise _no_answer(function) from error

    def _names_in_answer(self, function: str) -> list[str]:
        """The names of the fields of the struct that a view function returns."""
        (struct,) = self._functions[function].outputs
        return [field["name"] for field in struct["components"]]

    def block_hash(self, number: int) -> bytes | None:
        """The hash of a block; None when the node has no such block."""
        found = self.block(number)
        return None if found is None else found[0]

    def block(self, number: int) -> tuple[bytes, int] | None:
        """The hash and the timestamp of a block; None when the node has no such block."""
        with self.reverts.translated():
            block = self.node.block(number)
            return None if block is None else (_bytes(block["hash"]), number_of(block["timestamp"]))

    def latest(self) -> Place:
        """The latest block. Raises RequestRefused."""
        place = self.place("latest")
        if place is None:
            raise RequestRefused("The node has no block.", "Use another RPC endpoint.")
        return place

    def place(self, block: int | bytes | str) -> Place | None:
        """The block with this number or hash, or "latest"; None if the node has none."""
        with self.reverts.translated():
            found = self.node.block(block)
            if found is None:
                return None
            bloom = found.get("logsBloom")
            return Place(
                number_of(found["number"]),
                _bytes(found["hash"]),
                _bytes(found["parentHash"]),
                bloom is None or _may_have(_bytes(bloom), self.address),
            )

    def _events(
        self,
        name: str,
        first: int,
        last: int | None,
        round_number: int | None,
        build: Callable[[Any], Any] = _as_it_is,
    ) -> list[Any]:
        """The events from block ``first`` to ``last`` (None: the latest), of one round or of all.

        ``build`` converts each from web3's event. Raises UntrueEvents.
        """
        return self._events_of([name], first, last, round_number, build)

    def _events_of(
        self,
        names: Sequence[str],
        first: int,
        last: int | None,
        round_number: int | None = None,
        build: Callable[[Any], Any] = _as_it_is,
    ) -> list[Any]:
        """All events of these names, in the order of the chain; see ``_events``."""
        wanted = LogSearch(self.address, [self._event_abis[n] for n in names], round_number)

        def search(start: int, end: int) -> Iterable[Any]:
            return wanted.decoded(self.node.logs(wanted.filter(start, end)), start, end, build)

        return self.believed(lambda: self._searched(search, first, last))

    def _events_by_name(
        self, names: Sequence[str], first: int, last: int | None, round_number: int | None
    ) -> dict[str, list[Any]]:
        """The events of each of these names, in their order, by one request."""
        builders = self._builders()

        def build(log: Any) -> tuple[str, Any]:
            return log["event"], builders[log["event"]](log)

        found: dict[str, list[Any]] = {name: [] for name in names}
        for name, event in self._events_of(names, first, last, round_number, build):
            found[name].append(event)
        return found

    def every_event(self, first: int, last: int) -> list[LoggedEvent]:
        """All events of a range of blocks, in the order of the chain. Raises UntrueEvents."""
        checks = self._builders()

        def build(log: Any) -> LoggedEvent:
            if log["event"] in checks:
                checks[log["event"]](log)
            return LoggedEvent.of(log)

        return self._events_of([*self._event_abis], first, last, None, build)

    def events_in(self, place: Place) -> list[LoggedEvent]:
        """The events of `Lookout` in one block. Raises UntrueEvents."""
        wanted = self._of_accounts

        def read() -> list[LoggedEvent]:
            with self.reverts.translated():
                logs = self.node.logs(wanted.filter_of_block(place.hash))
                found = wanted.decoded(logs, place.number, place.number, LoggedEvent.of)
            if any(event.block_hash != place.hash for event in found):
                raise UntrueEvents(f"a log is not of the block {place.hash.hex()}")
            return sorted(found, key=lambda event: event.log_index)

        return self.believed(read)

    @functools.cached_property
    def _of_accounts(self) -> LogSearch:
        known = self._event_abis.keys() & {NEW_ROUND, *ACCOUNT_OF}
        return LogSearch(self.address, [self._event_abis[name] for name in known])

    def event_places(self, first: int, last: int) -> set[tuple[int, int]]:
        """The block and the log index of each event in a range of blocks, but not what it says."""
        wanted = LogSearch(self.address, self._event_abis.values())

        def search(start: int, end: int) -> Iterable[Any]:
            return wanted.places(self.node.logs(wanted.filter(start, end)))

        return set(self.believed(lambda: self._searched(search, first, last)))

    def _builders(self) -> dict[str, Callable[[Any], Any]]:
        """What converts an event, by its name; it raises UntrueEvents where that cannot be."""
        return {}

    def paid(self, transaction: bytes) -> tuple[int, int] | None:
        """The gas that a transaction has used, and the fee in wei; None if it is not mined."""
        with self.reverts.translated():
            found = self.node.receipt(transaction)
            if found is None:
                return None
            gas = number_of(found["gasUsed"])
            return gas, gas * number_of(found.get("effectiveGasPrice") or 0)

    def call_data(self, transaction: bytes) -> bytes:
        """What a transaction of the chain called with; empty if the node does not have it."""
        with self.reverts.translated():
            found = self.node.raw("eth_getTransactionByHash", "0x" + transaction.hex())
            if found is NotImplemented:
                found = self.web3.eth.get_transaction(cast(Any, transaction))
            return b"" if found is None else _bytes(found["input"])

    def believed(self, read: Callable[[], _T]) -> _T:
        """Return the value of ``read``; retry with another endpoint after UntrueEvents.

        Raises UntrueEvents when every endpoint reports untrue events.
        """
        endpoints = self.node.endpoints
        if endpoints is not None:
            for _ in range(endpoints.others):
                try:
                    return read()
                except UntrueEvents as error:
                    endpoints.distrust(error.message)
        return read()

    def _searched(
        self, search: Callable[[int, int], Iterable[Any]], first: int, last: int | None
    ) -> list[Any]:
        """Search a range of blocks in pieces, each as wide as the node accepts."""
        found: list[Any] = []
        span = self._span
        with self.reverts.translated():
            end = self.node.block_number if last is None else last
            while first <= end:
                stop = min(end, first + span - 1)
                try:
                    found.extend([*search(first, stop)])
                except (RequestRefused, AnswerTooLarge, SearchTooWide):
                    if stop == first:
                        self._span = WIDEST_SPAN
                        raise
                    # Remember the smaller width only if a search of the full width failed.
                    if stop - first + 1 == self._span:
                        self._span //= 2
                    span = (stop - first + 1) // 2
                    continue
                first = stop + 1
        return found

    def _call(self, function: str, *arguments: Any, value: int = 0, more_gas: int = 0) -> Call:
        called = self._functions[function]
        return Call(self.address, called.call_data(arguments), value, function, more_gas=more_gas)


def _bytes(value: Any) -> bytes:
    return bytes.fromhex(value[2:]) if isinstance(value, str) else bytes(value)


def _may_have(bloom: bytes, address: str) -> bool:
    """Whether a block with this bloom filter may have logs of an address (yellow paper, 4.3.1).

    An empty filter says nothing: chains that keep none give zeros for every block.
    """
    if not any(bloom):
        return True
    hashed, bits = keccak256(bytes.fromhex(address[2:])), int.from_bytes(bloom, "big")
    places = (int.from_bytes(hashed[i : i + 2], "big") % _BLOOM_BITS for i in (0, 2, 4))
    return all(bits >> place & 1 for place in places)


def _no_answer(function: str) -> RequestRefused:
    return RequestRefused(
        f"The node's answer to {function} is not what such a contract returns.",
        "Check the federation's address, or use another RPC endpoint.",
    )
