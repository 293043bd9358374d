"""What of an event is kept, and how: its account, its amount, and the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fl_orchestrator.chain.contract.logs import LoggedEvent, json_value
from fl_orchestrator.json_text import to_json

# The argument that names the account whose event it is.
_ACCOUNTS: Final = (
    *("party", "account", "aggregator", "demander", "answerer", "challenger", "to", "from", "by"),
)
# The argument that has its amount in wei. Attested has the stake of the signature.
_AMOUNTS: Final = ("amount", "stake", "paid", "bond", "reserved", "credited")
# Of these, which may be long and serve nobody here, only the length is kept.
_LENGTHS: Final = ("content", "seeds")


@dataclass(frozen=True, slots=True)
class Record:
    """An event in the index. ``data`` has the values that the other fields do not have.

    Roots and digests are hexadecimal with 0x, ``amount`` is in wei.
    """

    block: int
    place: int
    name: str
    round: int | None
    account: str | None
    amount: int | None
    data: Mapping[str, Any]
    transaction: str
    time: int | None = None
    gas: int | None = None
    fee: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The columns of an event."""

    round: int | None
    account: str | None
    amount: str | None
    data: str


def kept(event: LoggedEvent) -> Kept:
    values = dict(event.values)
    account = next((values.pop(name) for name in _ACCOUNTS if name in values), None)
    amount = next((values.pop(name) for name in _AMOUNTS if name in values), None)
    number = values.pop("round", None)
    if event.name == "ResultProposed":
        values |= _result(values.pop("result"))
    for name in _LENGTHS:
        if name in values:
            values[name] = len(values[name])
    data = {name: json_value(name, value) for name, value in values.items()}
    return Kept(number, account, None if amount is None else str(amount), to_json(data))


def _result(result: tuple[Any, ...]) -> dict[str, Any]:
    """The fields of a result; that of a private federation has the common ones inside."""
    common = result[0] if isinstance(result[0], tuple) else result
    number, updates_hash, base_root, included, root, cid = common
    return {
        "of": number,
        "updatesHash": updates_hash,
        "baseRoot": base_root,
        "included": hex(included),
        "root": root,
        "cid": cid,
    }


def parsed(data: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data)
    return found
