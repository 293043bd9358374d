"""The bytes of transactions: what is signed of one, and one with its signature.

A transaction has the fields of JSON-RPC: of type 2 (EIP-1559), or with ``gasPrice`` a legacy one of
its chain (EIP-155). The access list is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import rlp  # type: ignore[import-untyped]

_LEGACY_FIELDS: Final = ("nonce", "gasPrice", "gas", "to", "value", "data")
_TYPE_2_FIELDS: Final = (
    *("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas"),
    *("gas", "to", "value", "data"),
)
_TYPE_2: Final = b"\x02"


def unsigned(transaction: Mapping[str, Any]) -> bytes:
    """The bytes whose Keccak-256 is signed."""
    if _is_legacy(transaction):
        return bytes(rlp.encode([*_items(transaction), _item(transaction["chainId"]), b"", b""]))
    return _TYPE_2 + bytes(rlp.encode(_items(transaction)))


def signed(transaction: Mapping[str, Any], parity: int, r: int, s: int) -> bytes:
    """The raw transaction with this signature; ``parity`` is 0 or 1."""
    legacy = _is_legacy(transaction)
    v = 2 * transaction["chainId"] + 35 + parity if legacy else parity
    body = bytes(rlp.encode([*_items(transaction), *map(_item, (v, r, s))]))
    return body if legacy else _TYPE_2 + body


def is_signed(raw: bytes, transaction: Mapping[str, Any]) -> bool:
    """Whether these bytes are this transaction with any signature, and nothing else."""
    legacy = _is_legacy(transaction)
    wanted = _items(transaction)
    try:
        items = rlp.decode(raw if legacy else raw.removeprefix(_TYPE_2))
    except rlp.DecodingError:
        return False
    if not isinstance(items, list) or len(items) != len(wanted) + 3 or items[:-3] != wanted:
        return False
    if not legacy:
        return raw[:1] == _TYPE_2
    # EIP-155: with another v, the transaction is for another chain, or valid on every chain.
    chain_id = transaction["chainId"]
    return int.from_bytes(items[-3]) in (2 * chain_id + 35, 2 * chain_id + 36)


def _is_legacy(transaction: Mapping[str, Any]) -> bool:
    return "gasPrice" in transaction


def _items(transaction: Mapping[str, Any]) -> list[Any]:
    """The fields before the signature, as RLP has them."""
    legacy = _is_legacy(transaction)
    names = _LEGACY_FIELDS if legacy else _TYPE_2_FIELDS
    items: list[Any] = [_item(transaction.get(name, b"")) for name in names]
    if not legacy:
        # An empty access list.
        items.append([])
    return items


def _item(value: Any) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value[2:])
    return value.to_bytes((value.bit_length() + 7) // 8) if isinstance(value, int) else bytes(value)
