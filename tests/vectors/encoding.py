"""Helpers for all groups of golden vectors."""

from typing import Any

from Crypto.Hash import keccak as pycryptodome

Json = dict[str, Any]


def keccak(data: bytes) -> bytes:
    return pycryptodome.new(digest_bits=256, data=data).digest()


def some(label: str) -> bytes:
    """32 pseudorandom bytes."""
    return keccak(label.encode())


def some_int(label: str, low: int, high: int) -> int:
    return low + int.from_bytes(some(label), "big") % (high - low + 1)


def some_address(label: str) -> str:
    return "0x" + some(label)[12:].hex()


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def word(value: int) -> str:
    return hexed(value.to_bytes(32, "big"))
