"""Encodes and decodes ABI data of whole words without the general codec.

Nearly all events, and all view functions that roles call, have only such data. Each word is checked
as strictly as eth_abi does it: what a type has no room for has to be zero. eth_abi, whose import
takes as long as all else that a look at the chain needs, does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from fl_orchestrator.chain.abi import checksummed, type_of
from fl_orchestrator.model.words import address, uint

_ABI_WORD_BYTES: Final = 32
_KIND: Final = re.compile(r"(uint|bytes|int)(\d+)")

Word = Callable[[bytes], Any]


class Undecodable(ValueError):
    """The data are not of these types."""


def words_of(inputs: Sequence[Any]) -> Callable[[bytes], tuple[Any, ...]]:
    """A decoder of these inputs of an ABI; addresses get their checksum, structs are tuples.

    It raises Undecodable.
    """
    words = [_reader(item) for item in inputs]
    if any(word is None for word in words):
        return _by_eth_abi([type_of(item) for item in inputs])
    readers = [word for word in words if word is not None]

    def decoded(data: bytes) -> tuple[Any, ...]:
        source = iter(_cut(data))
        return tuple(reader(source) for reader in readers)

    return decoded


def _by_eth_abi(kinds: Sequence[str]) -> Callable[[bytes], tuple[Any, ...]]:
    def decoded(data: bytes) -> tuple[Any, ...]:
        from eth_abi.abi import decode
        from eth_abi.exceptions import DecodingError

        try:
            values = decode(kinds, data)
        except DecodingError as error:
            raise Undecodable(str(error)) from error
        return tuple(
            checksummed(value) if kind == "address" else value
            for kind, value in zip(kinds, values, strict=True)
        )

    return decoded


def encoded(kinds: Sequence[str], values: Sequence[Any]) -> bytes:
    """The ABI encoding of the arguments of a function. Raises ValueError and TypeError."""
    words = [_written(kind, value) for kind, value in zip(kinds, values, strict=True)]
    known = [word for word in words if word is not None]
    if len(known) == len(words):
        return b"".join(known)
    from eth_abi.abi import encode

    return encode(kinds, values)


def _written(kind: str, value: Any) -> bytes | None:
    """The word of an address, a uint or a bytes32; None for a value of another type."""
    if kind == "address":
        return address(value) if isinstance(value, str) else None
    if kind == "bytes32":
        return value if isinstance(value, bytes) and len(value) == _ABI_WORD_BYTES else None
    found = _KIND.fullmatch(kind)
    if found is None or found[1] != "uint" or not isinstance(value, int):
        return None
    return uint(value, int(found[2]))


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _ABI_WORD_BYTES):
        yield data[start : start + _ABI_WORD_BYTES]
    raise Undecodable("the data end before the last value")


def _reader(item: Any) -> Callable[[Iterator[bytes]], Any] | None:
    """What reads an input's words; None if it has not a fixed number of them."""
    if item["type"] == "tuple":
        parts = [_reader(part) for part in item["components"]]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return lambda source: tuple(part(source) for part in known)
    word = _word(item["type"])
    return None if word is None else (lambda source: word(next(source)))


def _word(kind: str) -> Word | None:
    if kind == "address":
        return lambda word: checksummed("0x" + word[12:].hex()) if _fits(word, 160) else None
    if kind == "bool":
        return lambda word: bool(word[-1]) if _fits(word, 1) else None
    found = _KIND.fullmatch(kind)
    if found is None:
        return None
    size = int(found[2])
    if found[1] == "bytes":
        return lambda word: _bytes(word, size)
    if found[1] == "int":
        return (lambda word: int.from_bytes(word, "big", signed=True)) if size == 256 else None
    return lambda word: int.from_bytes(word, "big") if _fits(word, size) else None


def _fits(word: bytes, bits: int) -> bool:
    if len(word) < _ABI_WORD_BYTES:
        raise Undecodable("the data end within a value")
    if bits < 256 and int.from_bytes(word, "big") >> bits:
        raise Undecodable("a value has more digits than its type")
    return True


def _bytes(word: bytes, size: int) -> bytes:
    if len(word) < _ABI_WORD_BYTES:
        raise Undecodable("the data end within a value")
    if any(word[size:]):
        raise Undecodable("a value has more bytes than its type")
    return word[:size]
