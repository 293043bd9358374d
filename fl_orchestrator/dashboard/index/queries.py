"""What people ask an index: rounds, what happened in one, accounts, and what one did.

Every query reads the file as it is at that moment; it does not wait for whoever writes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.chain.types import Role
from fl_orchestrator.dashboard.index.draw import STAKE_EVENTS
from fl_orchestrator.dashboard.index.records import Record, parsed
from fl_orchestrator.dashboard.index.summary import Part, Summary
from fl_orchestrator.json_text import to_json

_SELECT: Final = """
SELECT event.block, event.place, event.name, event.round, account.address, event.amount,
       event.data, sent.hash, block.time, sent.gas, sent.fee
FROM event JOIN sent ON sent.id = event.sent LEFT JOIN account ON account.id = event.account
LEFT JOIN block ON block.number = event.block
"""
#: The events of disputes.
DISPUTES: Final = (
    *("ChallengeRegistered", "ChallengeProven", "FraudProven", "RoundRevoked", "Demanded"),
    *("Answered", "DescentClosed", "BondSettled", "SeedProvenWrong", "Slashed"),
)


@dataclass(frozen=True, slots=True)
class RoundRow:
    """A round with what other rounds and the receipts tell of it.

    ``status`` is accepted, final, revoked, void or open. ``gas`` is the sum of all transactions of
    the round but for ``unread`` ones, whose receipts have not been read yet.
    """

    sum: Summary
    status: str
    accepted_at: int | None
    gas: int
    unread: int


@dataclass(slots=True)
class Member:
    """An account in a role. ``state`` is active, leaving, low (below the minimum), or left.

    ``absent``: no round waits for it. ``rewards`` is what it was credited. Amounts in wei.
    """

    address: str
    role: Role
    stake: int = 0
    state: str = "active"
    absent: bool = False
    beneficiary: str = ""
    seat: int | None = None
    slashed: int = 0
    rewards: int = 0
    last_block: int = 0
    last_round: int = 0
    rounds: int = 0
    missed_commits: int = 0
    missed_reveals: int = 0


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        yield db


def forks(db: sqlite3.Connection) -> int:
    """How many reorganisations were noticed: whatever was read before may have gone."""
    (count,) = db.execute("SELECT count FROM forks").fetchone()
    return int(count)


def rounds(db: sqlite3.Connection) -> list[RoundRow]:
    """All rounds, in their order."""
    found = [Summary(**json.loads(row)) for (row,) in db.execute(
        "SELECT summary FROM round ORDER BY number"
    )]  # fmt: skip
    times = dict(
        db.execute(
            "SELECT json_extract(summary, '$.number'), time FROM round "
            "JOIN block ON block.number = json_extract(summary, '$.accepted_block')"
        )
    )
    gas = {
        number: (used or 0, unread)
        for number, used, unread in db.execute(
            "SELECT round, sum(gas), count(*) - count(gas) FROM sent GROUP BY round"
        )
    }
    revoked = _revoked(found)
    last = found[-1].number if found else 0
    return [
        RoundRow(s, _status(s, revoked, last), times.get(s.number), *gas.get(s.number, (0, 0)))
        for s in found
    ]


def _revoked(found: Sequence[Summary]) -> set[int]:
    """The rounds that were accepted and then cut from the history, by order of the events."""
    marks: list[tuple[int, int, int, int]] = []
    for one in found:
        if one.accepted_block is not None:
            marks.append((one.accepted_block, one.place or 0, one.height or 0, one.number))
        if one.cut is not None:
            block, place, height = one.cut
            marks.append((block, place, height, 0))
    history: list[tuple[int, int]] = []
    revoked = set()
    for _, _, height, number in sorted(marks):
        if number:
            history.append((height, number))
            continue
        revoked |= {n for h, n in history if h >= height}
        history = [(h, n) for h, n in history if h < height]
    return revoked


def _status(one: Summary, revoked: set[int], last: int) -> str:
    if one.number in revoked:
        return "revoked"
    if one.final_block is not None:
        return "final"
    if one.accepted_block is not None:
        return "accepted"
    return "void" if one.voided or one.number < last else "open"


# ---------------------------------------------------------------------- events


def events_of_round(db: sqlite3.Connection, number: int) -> list[Record]:
    """Everything that happened in a round, in its order."""
    rows = db.execute(f"{_SELECT} WHERE event.round = ? ORDER BY event.block, place", (number,))
    return [_record(row) for row in rows]


def events_of_account(
    db: sqlite3.Connection, address: str, at_most: int, before: tuple[int, int] | None = None
) -> list[Record]:
    """What an account did, the last first; ``before`` a block and a place in it."""
    block, place = before or (1 << 62, 0)
    rows = db.execute(
        f"{_SELECT} WHERE event.account = (SELECT id FROM account WHERE address = ?) "
        "AND (event.block < ? OR (event.block = ? AND place < ?)) "
        "ORDER BY event.block DESC, place DESC LIMIT ?",
        (address, block, block, place, at_most),
    )
    return [_record(row) for row in rows]


def events_named(
    db: sqlite3.Connection, names: Sequence[str], at_most: int = -1, since: int = 0
) -> list[Record]:
    """The events of these names from a block on, the last first."""
    marks = ",".join("?" * len(names))
    rows = db.execute(
        f"{_SELECT} WHERE name IN ({marks}) AND event.block >= ? "
        "ORDER BY event.block DESC, place DESC LIMIT ?",
        (*names, since, at_most),
    )
    return [_record(row) for row in rows]


def _record(row: tuple[Any, ...]) -> Record:
    block, place, name, number, account, amount, data, hash_, time, gas, fee = row
    return Record(
        *(block, place, name, number, account),
        None if amount is None else int(amount),
        parsed(data),
        "0x" + hash_.hex(),
        time,
        gas,
        None if fee is None else int(fee),
    )


# ---------------------------------------------------------------------- accounts


def members(
    db: sqlite3.Connection, minimum: tuple[int, int], ended: Sequence[RoundRow]
) -> list[Member]:
    """Everybody who is or was registered, in both roles. ``minimum``: the least stakes, in wei.

    ``ended`` are all rounds: a reveal is missed in one that has ended after reveals.
    """
    found: dict[tuple[str, Role], Member] = {}
    marks = ",".join("?" * len(STAKE_EVENTS))
    for record in map(
        _record,
        db.execute(f"{_SELECT} WHERE name IN ({marks}) ORDER BY event.block, place", STAKE_EVENTS),
    ):
        role = Role(record.data.get("role", Role.PARTY))
        _apply(found, (record.account or "", role), record)
    for member in found.values():
        if member.state == "active" and member.stake < minimum[member.role]:
            member.state = "low"
    _count_credits(db, found)
    _count_rounds(db, found, ended)
    _count_signatures(db, found)
    _mark_absent(db, found)
    return list(found.values())


def _apply(found: dict[tuple[str, Role], Member], key: tuple[str, Role], record: Record) -> None:
    amount = record.amount or 0
    if record.name == "Registered":
        before = found.get(key)
        found[key] = Member(
            *key,
            stake=amount,
            beneficiary=record.data["beneficiary"],
            seat=record.data["seat"] if key[1] is Role.AGGREGATOR else None,
            slashed=before.slashed if before else 0,
        )
        found[key].last_block = record.block
        return
    member = found.get(key)
    if member is None:
        return
    if record.name == "Deposited":
        member.stake += amount
    elif record.name == "Slashed":
        member.stake -= amount
        member.slashed += amount
    elif record.name == "UnbondRequested":
        member.state = "leaving"
    else:
        member.stake, member.state = 0, "left"


def _count_credits(db: sqlite3.Connection, found: dict[tuple[str, Role], Member]) -> None:
    sums: dict[str, int] = {}
    for address, amount in db.execute(
        "SELECT address, amount FROM event JOIN account ON account.id = account "
        "WHERE name = 'Credited'"
    ):
        sums[address] = sums.get(address, 0) + int(amount)
    for (address, _), member in found.items():
        member.rewards = sums.get(address, 0)


def _count_rounds(
    db: sqlite3.Connection, found: dict[tuple[str, Role], Member], ended: Sequence[RoundRow]
) -> None:
    current = ended[-1].sum.number if ended and ended[-1].status == "open" else 0
    silent = [row.sum.number for row in ended if not row.sum.revealed]
    rows = db.execute(
        "SELECT address, count(*), "
        "count(*) FILTER (WHERE state = 0 AND round <> ?1), "
        "count(*) FILTER (WHERE state = 1 AND round <> ?1 "
        "AND round NOT IN (SELECT value FROM json_each(?2))), "
        "max(round) FILTER (WHERE state > 0), "
        "(SELECT max(block) FROM event WHERE event.account = part.account) "
        "FROM part JOIN account ON account.id = part.account GROUP BY part.account",
        (current, to_json(silent)),
    )
    for address, drawn, uncommitted, unrevealed, last, block in rows:
        member = found.get((address, Role.PARTY))
        if member is not None:
            member.rounds, member.missed_commits = drawn, uncommitted
            member.missed_reveals, member.last_round = unrevealed, last or 0
            member.last_block = max(member.last_block, block or 0)


def _count_signatures(db: sqlite3.Connection, found: dict[tuple[str, Role], Member]) -> None:
    rows = db.execute(
        "SELECT address, count(DISTINCT round), max(round), max(block) FROM event "
        "JOIN account ON account.id = account WHERE name = 'Attested' GROUP BY account"
    )
    for address, signed, last, block in rows:
        member = found.get((address, Role.AGGREGATOR))
        if member is not None:
            member.rounds, member.last_round, member.last_block = signed, last, block


def _mark_absent(db: sqlite3.Connection, found: dict[tuple[str, Role], Member]) -> None:
    for address, name in db.execute(
        "SELECT address, name FROM event JOIN account ON account.id = account "
        "WHERE name IN ('MarkedAbsent', 'MarkedPresent') ORDER BY block, place"
    ):
        if (address, Role.PARTY) in found:
            found[address, Role.PARTY].absent = name == "MarkedAbsent"


def parts(db: sqlite3.Connection, first: int) -> dict[str, dict[int, Part]]:
    """What became of each drawn party in the rounds from ``first`` on."""
    found: dict[str, dict[int, Part]] = {}
    for address, number, state in db.execute(
        "SELECT address, round, state FROM part JOIN account ON account.id = account "
        "WHERE round >= ?",
        (first,),
    ):
        found.setdefault(address, {})[number] = Part(state)
    return found


def signatures(db: sqlite3.Connection, first: int) -> dict[str, dict[int, int]]:
    """The block of each aggregator's first signature in the rounds from ``first`` on."""
    found: dict[str, dict[int, int]] = {}
    for address, number, block in db.execute(
        "SELECT address, round, min(block) FROM event JOIN account ON account.id = account "
        "WHERE name = 'Attested' AND round >= ? GROUP BY account, round",
        (first,),
    ):
        found.setdefault(address, {})[number] = block
    return found
