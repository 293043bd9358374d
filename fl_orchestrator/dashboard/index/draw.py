"""Who a round drew, from the events alone: docs/protocol.md, section 5.2."""

from __future__ import annotations

import sqlite3
from typing import Final

from fl_orchestrator.chain.types import Params, Role
from fl_orchestrator.dashboard.index.records import parsed
from fl_orchestrator.model.digests import drawn

#: The events that change a stake, or who counts.
STAKE_EVENTS: Final = ("Registered", "Deposited", "Slashed", "UnbondRequested", "Withdrawn")


def party_stakes(db: sqlite3.Connection, block: int, place: int) -> dict[int, int]:
    """The stake of each party that is not leaving, in wei, before a place in the chain.

    By the number of the account in the index.
    """
    stakes: dict[int, int] = {}
    marks = ",".join("?" * len(STAKE_EVENTS))
    rows = db.execute(
        f"SELECT name, account, amount, data FROM event WHERE name IN ({marks}) "
        "AND (block < ? OR (block = ? AND place < ?)) ORDER BY block, place",
        (*STAKE_EVENTS, block, block, place),
    )
    for name, account, amount, data in rows:
        if name != "Deposited" and parsed(data)["role"] != Role.PARTY:
            continue
        if name == "Registered":
            stakes[account] = int(amount)
        elif name in ("UnbondRequested", "Withdrawn"):
            stakes.pop(account, None)
        elif account in stakes:
            stakes[account] += int(amount) if name == "Deposited" else -int(amount)
    return stakes


def drawn_parties(
    db: sqlite3.Connection, params: Params, named_at: tuple[int, int], total: int, seed: bytes
) -> list[int]:
    """The accounts that a round drew. ``named_at`` is the place of its first SeedBlockNamed."""
    stakes = party_stakes(db, *named_at)
    counting = {a: stake for a, stake in stakes.items() if stake >= params.min_party_stake}
    # Parameters.sol: in a consortium every active party takes part in every round.
    if params.max_parties <= params.participants:
        return sorted(counting)
    names = dict(db.execute("SELECT id, address FROM account"))
    return sorted(
        account
        for account, stake in counting.items()
        if drawn(seed, names[account], stake, total, params.participants)
    )
