"""The JSON of lists, of a round and of an account. Amounts are decimal strings of wei."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.chain.types import Role
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.queries import Member, RoundRow
from fl_orchestrator.dashboard.index.records import Record
from fl_orchestrator.dashboard.index.summary import Part
from fl_orchestrator.dashboard.server.follower import Follower, is_missing
from fl_orchestrator.dashboard.server.measures import measures_json
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.private_digests import Release

#: The rounds of an account that are shown as dots.
DOTS: Final = 20
_MOST_EVENTS: Final = 2_000
_PAGE: Final = 100
#: What accounts can be sorted by; the first is the default.
SORTS: Final = {
    "address": lambda m: m.address.lower(),
    "stake": lambda m: m.stake,
    "state": lambda m: m.state,
    "seen": lambda m: m.last_block,
    "missed": lambda m: m.missed_reveals,
    "rewards": lambda m: m.rewards,
    "rounds": lambda m: m.rounds,
}


class NotThere(InputError):
    """The index has no such round."""


class Details:
    """Answers from the index in ``path``, and from what the follower has read last."""

    def __init__(self, path: Path, follower: Follower, chain: Any) -> None:
        self._path = path
        self._follower = follower
        self._chain = chain

    # ------------------------------------------------------------------ rounds

    def rounds(self, after: int) -> dict[str, Any]:
        """The rounds after a number in columns, for curves; and everybody's measures of them."""
        rows = self._follower.rows
        last = rows[-1].sum.number if rows else 0
        period = self._chain.params().commit_period
        shown = [row for row in rows if row.sum.number > after]
        return {
            "after": after,
            "last": last,
            "version": self._follower.data_version,
            "epoch": self._follower.epoch,
            "number": [row.sum.number for row in shown],
            "status": [row.status for row in shown],
            "opened": [_opened_at(row, period) for row in shown],
            "accepted": [row.accepted_at for row in shown],
            "drawn": [row.sum.drawn for row in shown],
            "committed": [row.sum.committed for row in shown],
            "revealed": [row.sum.revealed for row in shown],
            "included": [row.sum.included for row in shown],
            "gas": [None if row.unread else row.gas for row in shown],
            "measures": measures_json(self._follower.series(), last, after),
        }

    def row(self, number: int) -> RoundRow:
        """A round. Raises NotThere."""
        for row in self._follower.rows:
            if row.sum.number == number:
                return row
        raise NotThere(f"There is no round {number}.", "It may not have been opened yet.")

    def round(self, number: int) -> dict[str, Any]:
        """All of a round. Raises NotThere."""
        row = self.row(number)
        with queries.reading(self._path) as db:
            events = queries.events_of_round(db, number)
            parts = {a: p[number] for a, p in queries.parts(db, number).items() if number in p}
            announced = self._announced(db, number, row)
        made = {(e.name, e.account): e for e in events if e.name in ("Committed", "UpdateRevealed")}
        updates = [
            {
                "party": party,
                "part": self._part(number, part),
                "committed": _where(made.get(("Committed", party))),
                "revealed": _where(reveal := made.get(("UpdateRevealed", party))),
                **_update(reveal),
            }
            for party, part in parts.items()
        ]
        period = self._chain.params().commit_period
        return {
            **row.sum.to_dict(),
            "status": row.status,
            "opened": _opened_at(row, period),
            "accepted": row.accepted_at,
            "gas": row.gas,
            "gas_unread": row.unread,
            "updates": sorted(updates, key=lambda u: (u["index"] is None, u["index"], u["party"])),
            "results": _results(events, row),
            "claims": [
                {"aggregator": e.account, "held": int(e.data["held"]).bit_count(), **_where_(e)}
                for e in events
                if e.name == "Claimed"
            ],
            "locks": [
                {"locked": int(e.data["locked"]).bit_count(), **_where_(e)}
                for e in events
                if e.name == "Locked"
            ],
            "seeds": sum(e.data["seeds"] // 32 for e in events if e.name == "SeedsOpened"),
            "announced": announced,
            "events": [_event(e) for e in events[:_MOST_EVENTS]],
            "events_left_out": max(0, len(events) - _MOST_EVENTS),
        }

    def _announced(self, db: Any, number: int, row: RoundRow) -> list[dict[str, Any]]:
        """The releases that aggregators announced on the chain; most go through relays."""
        # What recovers signers takes as long to import as the whole server.
        from fl_orchestrator.chain.signing.recovery import recover
        from fl_orchestrator.roles.masked.words import SignedWord

        aggregators = {m.address for m in self._follower.members if m.role is Role.AGGREGATOR}
        found = []
        for event in queries.events_named(db, ["Announced"], 500, row.sum.opened_block or 0):
            word = SignedWord.from_bytes(bytes.fromhex(event.data["message"][2:]))
            if word is None or word.round != number or not isinstance(word.message, Release):
                continue
            # Anybody may announce anything: only what an aggregator signed is one's word.
            signer = recover(self._chain.digest(word.message), word.signature)
            if signer is not None and signer in aggregators:
                found.append({"aggregator": signer, "cid": str(word.message.cid), **_where_(event)})
        return found

    # ------------------------------------------------------------------ accounts

    def accounts(
        self, role: str, sort: str, descending: bool, text: str, offset: int, limit: int
    ) -> dict[str, Any]:
        """A page of the accounts in a role."""
        wanted, rows = Role[role.upper()], self._follower.rows
        found = [
            m
            for m in self._follower.members
            if m.role is wanted and text.lower() in m.address.lower()
        ]
        found.sort(key=lambda m: m.address.lower())
        found.sort(key=SORTS[sort], reverse=descending)
        page = found[offset : offset + min(limit, _PAGE)]
        first = max(1, (rows[-1].sum.number if rows else 0) - DOTS + 1)
        dots = self._dots(first, wanted)
        return {
            "total": len(found),
            "offset": offset,
            "first": first,
            "version": self._follower.data_version,
            "accounts": [
                {**_member(m, rows), "dots": _in_order(dots.get(m.address, {}), first)}
                for m in page
            ],
        }

    def _part(self, number: int, part: Part) -> str:
        """What became of a party in a round; in one that goes on, it may yet do its part."""
        rows = self._follower.rows
        goes_on = rows and rows[-1].sum.number == number and rows[-1].status == "open"
        later = {Part.DRAWN: "pending", Part.COMMITTED: "awaited"} if goes_on else {}
        return later.get(part, part.name.lower())

    def _dots(self, first: int, role: Role) -> dict[str, dict[int, str]]:
        with queries.reading(self._path) as db:
            if role is Role.PARTY:
                return {
                    address: {number: self._part(number, part) for number, part in parts.items()}
                    for address, parts in queries.parts(db, first).items()
                }
            ends = {r.sum.number: r.sum.accepted_block for r in self._follower.rows}
            return {
                address: {
                    number: "late" if block > (ends.get(number) or block) else "attested"
                    for number, block in signed.items()
                }
                for address, signed in queries.signatures(db, first).items()
            }

    def account(self, address: str, before: tuple[int, int] | None) -> dict[str, Any]:
        """What is known of an account, and what it did, the last first; nothing of a stranger."""
        rows, at_most = self._follower.rows, _PAGE
        members = [m for m in self._follower.members if m.address.lower() == address.lower()]
        with queries.reading(self._path) as db:
            known = db.execute(
                "SELECT address FROM account WHERE address = ? COLLATE NOCASE", (address,)
            ).fetchone()
            address = known[0] if known else address
            events = queries.events_of_account(db, address, at_most, before)
        first = max(1, (rows[-1].sum.number if rows else 0) - DOTS + 1)
        return {
            "address": address,
            "first": first,
            "roles": [
                {
                    **_member(m, rows),
                    "dots": _in_order(self._dots(first, m.role).get(m.address, {}), first),
                }
                for m in members
            ],
            "events": [_event(e) for e in events],
            "more": len(events) == at_most,
        }


def _opened_at(row: RoundRow, commit_period: int) -> int | None:
    return None if row.sum.commit_end is None else row.sum.commit_end - commit_period


def _in_order(dots: dict[int, str], first: int) -> list[str | None]:
    return [dots.get(number) for number in range(first, first + DOTS)]


def _member(member: Member, rows: Sequence[RoundRow]) -> dict[str, Any]:
    return {
        "address": member.address,
        "role": member.role.name.lower(),
        "stake": str(member.stake),
        "state": "missing" if is_missing(member, rows) else member.state,
        "absent": member.absent,
        "beneficiary": member.beneficiary,
        "seat": member.seat,
        "slashed": str(member.slashed),
        "rewards": str(member.rewards),
        "last_block": member.last_block,
        "last_round": member.last_round,
        "rounds": member.rounds,
        "missed_commits": member.missed_commits,
        "missed_reveals": member.missed_reveals,
    }


def _where(event: Record | None) -> dict[str, Any] | None:
    return None if event is None else _where_(event)


def _where_(event: Record) -> dict[str, Any]:
    return {
        "block": event.block,
        "time": event.time,
        "transaction": event.transaction,
        "gas": event.gas,
    }


def _update(reveal: Record | None) -> dict[str, Any]:
    if reveal is None:
        return {"index": None, "weight": None, "root": None, "cid": None}
    values = reveal.data
    return {
        "index": values.get("place", values["index"]),
        "weight": values["weight"],
        "root": values["root"],
        "cid": values["cid"],
    }


def _results(events: Sequence[Record], row: RoundRow) -> list[dict[str, Any]]:
    """Every result that an aggregator signed, the accepted one first."""
    frauds = {e.data["digest"]: e for e in events if e.name == "FraudProven"}
    found = [
        {
            "digest": e.data["digest"],
            "accepted": e.data["digest"] == row.sum.digest,
            "root": e.data["root"],
            "cid": e.data["cid"],
            "base_root": e.data["baseRoot"],
            "included": int(e.data["included"], 16).bit_count(),
            "wrong": frauds[e.data["digest"]].account if e.data["digest"] in frauds else None,
            "signers": [
                {"aggregator": s.account, "stake": str(s.amount), **_where_(s)}
                for s in events
                if s.name == "Attested" and s.data["digest"] == e.data["digest"]
            ],
        }
        for e in events
        if e.name == "ResultProposed"
    ]
    return sorted(found, key=lambda result: not result["accepted"])


def _event(event: Record) -> dict[str, Any]:
    return {
        "name": event.name,
        "round": event.round,
        "account": event.account,
        "amount": None if event.amount is None else str(event.amount),
        "place": event.place,
        **_where_(event),
    }
