"""One contract on a chain: its view functions, its events, and calls to send to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_typing import ChecksumAddress
from eth_utils.abi import (
    function_abi_to_4byte_selector,
    get_abi_input_types,
    get_abi_output_types,
)
from web3 import Web3
from web3.exceptions import BlockNotFound, Web3RPCError

from fl_orchestrator.artifacts import Artifact
from fl_orchestrator.chain.abi import from_abi
from fl_orchestrator.chain.contract.logs import LogSearch, UntrueEvents
from fl_orchestrator.chain.contract.reverts import RequestRefused, RevertDecoder
from fl_orchestrator.chain.nodes.endpoints import (
    AnswerTooLarge,
    FailoverProvider,
    SearchTooWide,
)

_T = TypeVar("_T")

# The first search for events covers this many blocks. Some nodes accept only ten thousand or fewer,
# so it is halved after a refusal.
_WIDEST_SPAN: Final = 1 << 18


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
    """A function's selector, and the types that it takes and returns."""

    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, item: Any) -> _Function:
        return cls(
            bytes(function_abi_to_4byte_selector(item)),
            tuple(get_abi_input_types(item)),
            tuple(get_abi_output_types(item)),
        )


class Contract:
    """The contract at an address, by the ABI of its artifact. It sends nothing by itself."""

    def __init__(self, web3: Web3, address: str, artifact: Artifact) -> None:
        self.web3 = web3
        self.address = Web3.to_checksum_address(address)
        self.chain_id = web3.eth.chain_id
        self.reverts = RevertDecoder.of_artifact(artifact.name)
        self._contract = web3.eth.contract(address=self.address, abi=artifact.abi)
        self._functions = {
            item["name"]: _Function.of(item) for item in artifact.abi if item["type"] == "function"
        }
        self._span = _WIDEST_SPAN

    def _read(self, function: str, *arguments: Any) -> Any:
        """Call a view function and return its value, or a tuple of several.

        It does not use web3's contracts, which take twice the time: a waiting process spends all
        of its time here. Raises ContractReverted and RequestRefused.
        """
        called = self._functions[function]
        data = called.selector + encode(called.inputs, arguments)
        with self.reverts.translated():
            # Give a sender: without one, web3 first requests the development chain's accounts.
            answer = self.web3.eth.call({"from": self.address, "to": self.address, "data": data})
        try:
            values = decode(called.outputs, bytes(answer))
        except DecodingError as error:
            raise _no_answer(function) from error
        return values[0] if len(values) == 1 else values

    def _read_as(self, cls: type[_T], function: str, *arguments: Any) -> _T:
        """Call a view function and return its value as a dataclass (see `from_abi`)."""
        values = self._read(function, *arguments)
        try:
            return from_abi(cls, values)
        except ValueError as error:
            raise _no_answer(function) from error

    def block_hash(self, number: int) -> bytes | None:
        """The hash of a block; None when the node has no such block."""
        found = self.block(number)
        return None if found is None else found[0]

    def block(self, number: int) -> tuple[bytes, int] | None:
        """The hash and the timestamp of a block; None when the node has no such block."""
        with self.reverts.translated():
            try:
                block = self.web3.eth.get_block(number)
            except BlockNotFound:
                return None
            return bytes(block["hash"]), int(block["timestamp"])

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
        events = {name: self._contract.events[name] for name in names}
        wanted = LogSearch(self.address, events, round_number)

        def search(start: int, end: int) -> Iterable[Any]:
            logs = self.web3.eth.get_logs(wanted.filter(start, end))
            return wanted.decoded(logs, start, end, build)

        return self.believed(lambda: self._searched(search, first, last))

    def believed(self, read: Callable[[], _T]) -> _T:
        """Return the value of ``read``; retry with another endpoint after UntrueEvents.

        Raises UntrueEvents when every endpoint reports untrue events.
        """
        provider = self.web3.provider
        others = provider.others if isinstance(provider, FailoverProvider) else 0
        for _ in range(others):
            try:
                return read()
            except UntrueEvents as error:
                cast(FailoverProvider, provider).distrust(error.message)
        return read()

    def _searched(
        self, search: Callable[[int, int], Iterable[Any]], first: int, last: int | None
    ) -> list[Any]:
        """Search a range of blocks in pieces, each as wide as the node accepts."""
        found: list[Any] = []
        span = self._span
        with self.reverts.translated():
            end = self.web3.eth.block_number if last is None else last
            while first <= end:
                stop = min(end, first + span - 1)
                try:
                    found.extend([*search(first, stop)])
                except (Web3RPCError, AnswerTooLarge, SearchTooWide):
                    if stop == first:
                        self._span = _WIDEST_SPAN
                        raise
                    # Remember the smaller width only if a search of the full width failed.
                    if stop - first + 1 == self._span:
                        self._span //= 2
                    span = (stop - first + 1) // 2
                    continue
                first = stop + 1
        return found

    def _call(self, function: str, *arguments: Any, value: int = 0, more_gas: int = 0) -> Call:
        data = self._contract.encode_abi(function, args=list(arguments))
        return Call(self.address, bytes.fromhex(data[2:]), value, function, more_gas=more_gas)


def _no_answer(function: str) -> RequestRefused:
    return RequestRefused(
        f"The node's answer to {function} is not what such a contract returns.",
        "Check the federation's address, or use another RPC endpoint.",
    )
