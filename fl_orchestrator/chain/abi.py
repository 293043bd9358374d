"""Converts between dataclasses and the tuples of the contract ABI; names of its functions.

eth_utils has the same, but to import it takes as long as all else that a look at the chain needs.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_type_hints

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.protocol import ADDRESS

T = TypeVar("T")

#: The EIP-712 types of what aggregators and parties of a plain federation sign.
RESULT_TYPES: Final = {
    "Result": [
        {"name": "round", "type": "uint64"},
        {"name": "updatesHash", "type": "bytes32"},
        {"name": "baseRoot", "type": "bytes32"},
        {"name": "included", "type": "uint128"},
        {"name": "globalRoot", "type": "bytes32"},
        {"name": "globalCid", "type": "Cid"},
    ],
    "Cid": [{"name": "digest", "type": "bytes32"}, {"name": "codec", "type": "uint8"}],
}
COMMIT_TYPES: Final = {
    "Commit": [
        {"name": "round", "type": "uint64"},
        {"name": "party", "type": "address"},
        {"name": "commitment", "type": "bytes32"},
    ]
}


@functools.lru_cache(1 << 12)
def checksummed(address: str) -> str:
    """An address with its checksum (EIP-55). Raises ValueError for other text."""
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is not an address")
    digits = address[2:].lower()
    pairs = zip(digits, keccak256(digits.encode("ascii")).hex(), strict=False)
    return "0x" + "".join(digit.upper() if shown >= "8" else digit for digit, shown in pairs)


def type_of(item: Any) -> str:
    """The type of an input or output of an ABI, with the types of a struct's fields in brackets."""
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    fields = ",".join(type_of(field) for field in item["components"])
    return f"({fields}){kind.removeprefix('tuple')}"


def signature_hash(item: Any) -> bytes:
    """keccak256 of the signature of a function, an error or an event of an ABI.

    The first four bytes are the selector of a function or an error; all are an event's topic.
    """
    inputs = ",".join(type_of(given) for given in item["inputs"])
    return keccak256(f"{item['name']}({inputs})".encode("ascii"))


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls)


def from_abi(cls: type[T], values: Any) -> T:
    """Build ``cls`` from a decoded ABI tuple by position, nested dataclasses and enums included.

    Every string is an address, and gets its checksum. A zero address or CID becomes None where the
    field allows None.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy takes type[T] for unhashable
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    arguments = {}
    for field, value in zip(fields, values, strict=True):
        kind = hints[field.name]
        if kind == Cid | None:
            value = from_abi(Cid, value) if any(value[0]) else None
        elif kind == str | None:
            value = checksummed(value) if int(value, 16) else None
        elif kind is str:
            value = checksummed(value)
        elif dataclasses.is_dataclass(kind):
            value = from_abi(kind, value)  # type: ignore[arg-type]
        elif isinstance(kind, type) and issubclass(kind, enum.Enum):
            value = kind(value)
        arguments[field.name] = value
    return cls(**arguments)


def from_earlier_abi(
    cls: type[T], names: Sequence[str], values: Any, absent: Mapping[str, Any]
) -> T:
    """Build ``cls`` from a decoded ABI tuple by the names that an earlier version has for them.

    ``absent`` has the values of the fields that it may not have.
    """
    given = dict(absent) | dict(zip(map(snake_case, names), values, strict=True))
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # as in `from_abi`
    return from_abi(cls, [given[field.name] for field in fields])


@functools.cache
def snake_case(name: str) -> str:
    """A name of the contracts as Python has it."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def to_abi(value: Any) -> Any:
    """Convert a dataclass, and nested ones, to the tuple that the ABI encoder takes."""
    if dataclasses.is_dataclass(value):
        return tuple(to_abi(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, (list, tuple)):
        return [to_abi(item) for item in value]
    return value


def values_of(struct: Any) -> Any:
    """Convert an event's struct from web3's mappings to nested tuples."""
    if hasattr(struct, "values"):
        return tuple(values_of(value) for value in struct.values())
    return struct
