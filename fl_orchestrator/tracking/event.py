"""What happens in a federation, as events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fl_orchestrator.json_text import finite, to_json


class Kind(StrEnum):
    """The kinds of events that have a method of their own in `Tracker`.

    Every other event of the contract is named as it is there, in this form: ``bond_settled``.
    """

    ROUND_OPENED = "round_opened"
    COMMIT = "commit"
    UPDATE = "update"
    ATTESTATION = "attestation"
    ROUND_ACCEPTED = "round_accepted"
    ROUND_FINAL = "round_final"
    ROUND_VOID = "round_void"
    ROUND_REVOKED = "round_revoked"
    FRAUD_PROVEN = "fraud_proven"
    EVALUATED = "evaluated"
    ALERT = "alert"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a federation.

    ``id`` is the same in every process that reports it: of an event of the contract, its block's
    hash and its place there. ``federation`` is a CAIP-10 account id. ``time`` is in seconds since
    1970: the block's, or that of the report where it has no block. ``values`` are JSON; roots and
    hashes in hexadecimal with 0x, amounts in wei as text. It has no rows, labels or updates.
    """

    id: str
    kind: str
    federation: str
    round: int | None
    time: int | None
    values: Mapping[str, Any] = field(default_factory=dict)
    block: int | None = None
    block_hash: str | None = None
    log_index: int | None = None
    transaction: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; fields that do not apply are left out."""
        named = {
            "id": self.id,
            "kind": self.kind,
            "federation": self.federation,
            "round": self.round,
            "time": self.time,
            "block": self.block,
            "blockHash": self.block_hash,
            "logIndex": self.log_index,
            "transaction": self.transaction,
        }
        found = {name: value for name, value in named.items() if value is not None}
        return {**found, "values": finite(self.values)}


def reported(
    kind: Kind, federation: str, round_number: int | None, time: int, values: Mapping[str, Any]
) -> Event:
    """An event that no contract has: what a process measured or noticed."""
    text = to_json([kind, federation, round_number, values], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Event(f"{kind}:{digest}", kind, federation, round_number, time, values)


def federation_id(chain_id: int, address: str) -> str:
    """The federation's CAIP-10 account id."""
    return f"eip155:{chain_id}:{address}"
