"""How reliably the parties took part in the rounds that are over, as the chain tells it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from fl_orchestrator.chain.types import Role
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.queries import Member, RoundRow
from fl_orchestrator.dashboard.index.summary import Part


def reliability(
    db: sqlite3.Connection, members: Sequence[Member], rounds: Sequence[RoundRow]
) -> list[dict[str, Any]]:
    """For each party, in how many rounds it was drawn, and what became of it in them.

    A duplicate or a left-out update was revealed too. A reveal is missed if the party committed,
    and others revealed. The round in progress does not count.
    """
    current = rounds[-1].sum.number if rounds and rounds[-1].status == "open" else 0
    parts = queries.parts(db, 0)
    found = []
    for member in members:
        if member.role is not Role.PARTY:
            continue
        states = [part for n, part in parts.get(member.address, {}).items() if n != current]
        count = {part: states.count(part) for part in Part}
        found.append(
            {
                "party": member.address,
                "drawn": len(states),
                "committed": len(states) - count[Part.DRAWN],
                "revealed": len(states) - count[Part.DRAWN] - count[Part.COMMITTED],
                "included": count[Part.INCLUDED],
                "duplicates": count[Part.DUPLICATE],
                "leftOut": count[Part.LEFT_OUT],
                "missedCommits": member.missed_commits,
                "missedReveals": member.missed_reveals,
            }
        )
    return found
