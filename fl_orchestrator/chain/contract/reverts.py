"""Decodes a contract's custom errors, and explains them in sentences."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import signature_hash
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.words import Undecodable, words_of
from fl_orchestrator.chain.nodes.refusal import RequestRefused
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.errors import ChainError, FloError
from fl_orchestrator.transport.http import shown_text
from fl_orchestrator.units import ETHER, ether

# Names of arguments in the contracts that are amounts, or times. Others are shown unchanged.
_AMOUNTS: Final = frozenset({"amount", "bond", "minimum", "paid", "sent"})
# The code of JSON-RPC with which Geth and others report a revert.
_REVERTED: Final = 3
# The last second that has a date with four digits.
_LAST_DATE: Final = 253_402_300_799
_TIMES: Final = frozenset({"deadline", "end", "unbondAt"})


__all__ = ["ContractReverted", "RequestRefused", "RevertDecoder", "revert_data"]


class ContractReverted(ChainError):
    """The contract refused a call, by a custom error with ``arguments``.

    If a whole batch was refused, ``reason`` is the error of its first item. An error that the
    contracts do not declare is kept as bytes: its data or its selector. ``words`` has each argument
    as it is displayed. ``function`` is the name of the called function.
    """

    def __init__(
        self,
        error: ContractError | bytes,
        arguments: tuple[Any, ...] = (),
        reason: ContractError | bytes | None = None,
        words: Sequence[str] = (),
        function: str | None = None,
    ) -> None:
        sentence = _sentence(error, function) or "The contract refused the call."
        shown = f"{_name(error)}({', '.join(words)})" if words else _name(error)
        if reason is not None:
            sentence = f"{sentence} {_sentence(reason, function)}".rstrip()
            shown = f"{_name(error)}: {_name(reason)}"
        super().__init__(f"{sentence} [{shown}]")
        self.error = error
        self.arguments = arguments
        self.reason = reason

    @property
    def cause(self) -> ContractError | bytes:
        """The innermost error: for a batch that was refused as a whole, that of its first item."""
        return self.error if self.reason is None else self.reason


def _name(error: ContractError | bytes) -> str:
    if isinstance(error, ContractError):
        return error.name
    return "0x" + error.hex() if error else "Reverted"


def _sentence(error: ContractError | bytes, function: str | None) -> str:
    return error.sentence(function) if isinstance(error, ContractError) else ""


def _in_words(name: str, value: Any) -> str:
    """Format an argument of an error for people."""
    if isinstance(value, str) and not value.startswith("0x"):
        return shown_text(value)
    label = re.sub("([A-Z])", r" \1", name).lower()
    return f"{label} {_value_in_words(name, value)}"


def _exactly(wei: int) -> str:
    """Format an amount exactly, so that two amounts that differ by 1 wei look different."""
    if not wei % 10**12:
        return ether(wei)
    whole, part = divmod(wei, ETHER)
    return f"{whole}.{part:018d} ETH" if wei > 10**12 else f"{wei:,} wei"


def _value_in_words(name: str, value: Any) -> str:
    if name in _AMOUNTS:
        return _exactly(value)
    if name in _TIMES and value <= _LAST_DATE:
        moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    if name == "phase" and value in set(Phase):
        return Phase(value).name.lower()
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


class RevertDecoder:
    """Decodes revert data by the custom errors of an artifact's ABI."""

    def __init__(self, abi: list[dict[str, Any]]) -> None:
        # An earlier version may have errors that this one no longer has.
        known = ContractError.__members__
        self._errors = {
            signature_hash(item)[:4]: item
            for item in abi
            if item["type"] == "error" and item["name"] in known
        }
        self._functions = {
            signature_hash(item)[:4]: str(item["name"])
            for item in abi
            if item["type"] == "function"
        }

    @classmethod
    def of_artifact(cls, name: str) -> RevertDecoder:
        """A decoder for the errors of an artifact and of the libraries that it is linked to."""
        artifact = load_artifact(name)
        abis = [load_artifact(library).abi for library in artifact.links]
        return cls([entry for abi in (artifact.abi, *abis) for entry in abi])

    def error(self, selector: bytes) -> ContractError | bytes:
        """The error with this selector, or the selector itself."""
        item = self._errors.get(bytes(selector))
        return ContractError[item["name"]] if item else bytes(selector)

    def decode(self, data: bytes, called_with: bytes = b"") -> ContractReverted:
        """Decode revert data: a selector and arguments.

        ``called_with`` is the data of the call, if it is known.
        """
        item = self._errors.get(data[:4])
        unknown = ContractReverted(data)
        if item is None:
            return unknown
        try:
            arguments = words_of(item["inputs"])(data[4:])
        except Undecodable:
            return unknown
        error = ContractError[item["name"]]
        reason = self.error(arguments[0]) if error is ContractError.NothingAccepted else None
        names = [argument["name"] for argument in item["inputs"]]
        words = [_in_words(*pair) for pair in zip(names, arguments, strict=True)]
        function = self._functions.get(called_with[:4])
        return ContractReverted(error, arguments, reason, words, function)

    @contextlib.contextmanager
    def translated(self, called_with: bytes = b"") -> Iterator[None]:
        """Turn web3's errors into ContractReverted, or RequestRefused for all others.

        ``called_with`` is the data of the call, where only one is made.
        """
        try:
            yield
        except RequestRefused as refused:
            data = _reverted(refused.error)
            if data is None:
                raise
            raise self.decode(data, called_with) from refused
        except FloError:
            raise
        except Exception as error:
            found = self._translation(error, called_with)
            if found is None:
                raise
            raise found from error

    def _translation(self, error: Exception, called_with: bytes) -> ChainError | None:
        """What an error of a library means; None if it is of the caller's own."""
        from eth_abi.exceptions import DecodingError
        from web3.exceptions import ContractLogicError, MismatchedABI, Web3Exception

        if isinstance(error, ContractLogicError):
            return self.decode(revert_data(error.data), called_with)
        if isinstance(error, MismatchedABI):
            return None  # The arguments were wrong: nothing was sent to the node.
        if isinstance(error, Web3Exception):
            response = getattr(error, "rpc_response", None) or {}
            return RequestRefused.of(response.get("error") or error)
        if isinstance(error, (DecodingError, LookupError, TypeError, ValueError)):
            return RequestRefused(
                "The node's response is not what the request asked for.",
                "Use another RPC endpoint.",
            )
        return None

    def selector(self, error: ContractError) -> bytes:
        """The selector of an error; for tests and for reading skip events."""
        return next(s for s, item in self._errors.items() if item["name"] == error.name)


def _reverted(error: Mapping[str, Any]) -> bytes | None:
    """The revert data of an error of JSON-RPC; None if the error is another one."""
    data = revert_data(error.get("data"))
    said = str(error.get("message")).lower()
    return data if data or error.get("code") == _REVERTED or "revert" in said else None


def revert_data(data: Any) -> bytes:
    """The revert data in an error's ``data``, wherever a node puts them; empty without any."""
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        with contextlib.suppress(ValueError):
            return bytes.fromhex(data[2:])
    return data if isinstance(data, bytes) else b""
