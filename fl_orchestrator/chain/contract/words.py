"""Decodes ABI data of whole words, which is what nearly all events have, without the general codec.

Each word is checked as strictly as eth_abi does it: what a type has no room for has to be zero.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from eth_abi.abi import decode
from eth_abi.exceptions import InsufficientDataBytes, NonEmptyPaddingBytes
from eth_utils.abi import collapse_if_tuple
from eth_utils.address import to_checksum_address

_ABI_WORD_BYTES: Final = 32
_KIND: Final = re.compile(r"(uint|bytes|int)(\d+)")

Word = Callable[[bytes], Any]


def words_of(inputs: Sequence[Any]) -> Callable[[bytes], tuple[Any, ...]]:
    """A decoder of these inputs of an ABI; addresses get their checksum, structs are tuples.

    It raises what eth_abi's decoder raises.
    """
    words = [_reader(item) for item in inputs]
    kinds = [collapse_if_tuple(item) for item in inputs]
    if any(word is None for word in words):
        return lambda data: tuple(
            _checksummed(value) if kind == "address" else value
            for kind, value in zip(kinds, decode(kinds, data), strict=True)
        )
    readers = [word for word in words if word is not None]

    def decoded(data: bytes) -> tuple[Any, ...]:
        source = iter(_cut(data))
        return tuple(reader(source) for reader in readers)

    return decoded


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _ABI_WORD_BYTES):
        yield data[start : start + _ABI_WORD_BYTES]
    raise InsufficientDataBytes("the data end before the last value")


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
        return lambda word: _checksummed("0x" + word[12:].hex()) if _fits(word, 160) else None
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
        raise InsufficientDataBytes("the data end within a value")
    if bits < 256 and int.from_bytes(word, "big") >> bits:
        raise NonEmptyPaddingBytes("a value has more digits than its type")
    return True


def _bytes(word: bytes, size: int) -> bytes:
    if len(word) < _ABI_WORD_BYTES:
        raise InsufficientDataBytes("the data end within a value")
    if any(word[size:]):
        raise NonEmptyPaddingBytes("a value has more bytes than its type")
    return word[:size]


_checksummed = functools.lru_cache(1 << 12)(to_checksum_address)
