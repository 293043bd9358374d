"""What somebody should look at: disputes with their deadlines, content, coin, and the chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.dashboard.index.queries import RoundRow
from fl_orchestrator.dashboard.index.records import Record

#: Of what is over, the last rounds are shown.
RECENT_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Alert:
    """``level`` is bad, warn or note. ``bond`` in wei; ``deadline`` in the chain's time."""

    level: str
    text: str
    round: int | None = None
    account: str | None = None
    bond: str | None = None
    deadline: int | None = None


def dispute_alerts(
    records: Sequence[Record], rounds: Sequence[RoundRow], answer_period: int
) -> list[Alert]:
    """The open disputes, and those of the last rounds; ``records`` are the events of disputes."""
    last = rounds[-1].sum.number if rounds else 0
    return [
        *_demands(records),
        *_frauds(records, max(0, last - RECENT_ROUNDS)),
        *_registered(records, answer_period),
    ]


def _demands(records: Sequence[Record]) -> Iterator[Alert]:
    """Demands without an answer, and answers that the demander may follow."""
    ended = {
        (r.name, r.data["id"])
        for r in records
        if r.name in ("Answered", "DescentClosed", "BondSettled")
    }
    for record in records:
        if record.name != "Demanded":
            continue
        number, values = record.data["id"], record.data
        if any((name, number) in ended for name in ("Answered", "BondSettled", "DescentClosed")):
            continue
        yield Alert(
            "warn",
            f"Demand {number}: the signers have to show node {values['index']} of level "
            f"{values['level']} of the model",
            record.round,
            record.account,
            str(record.amount or 0),
            values["deadline"],
        )


def _frauds(records: Sequence[Record], since: int) -> Iterator[Alert]:
    revoked = {r.round for r in records if r.name == "RoundRevoked"}
    slashed: dict[int | None, int] = {}
    for record in records:
        if record.name == "Slashed":
            slashed[record.round] = slashed.get(record.round, 0) + 1
    for record in records:
        if record.name == "FraudProven" and (record.round or 0) > since:
            undone = "the model was revoked" if record.round in revoked else "it was not accepted"
            count = slashed.get(record.round, 0)
            punished = f"; {count} {'slash' if count == 1 else 'slashes'}" if count else ""
            yield Alert(
                "bad",
                f"A result was proven wrong: {undone}{punished}",
                record.round,
                record.account,
            )


def _registered(records: Sequence[Record], answer_period: int) -> Iterator[Alert]:
    """Challenges that were registered and not yet proven."""
    proven = max((r.block for r in records if r.name == "FraudProven"), default=-1)
    newest = max((r.time or 0 for r in records), default=0)
    for record in records:
        recent = (record.time or 0) + answer_period >= newest
        if record.name == "ChallengeRegistered" and record.block > proven and recent:
            text = "A challenge was registered, which may be proven from the next block on"
            yield Alert("warn", text, None, record.account)


def content_alerts(missing: Mapping[str, str]) -> Iterator[Alert]:
    """``missing`` has what each content is, by its CID."""
    for cid, what in missing.items():
        yield Alert("warn", f"The store cannot deliver {what}: {cid}")


def coin_alerts(balances: Mapping[str, int], least: int, members: Iterable[str]) -> Iterator[Alert]:
    """Accounts that have coin, but hardly any; whoever has none is served by a relay."""
    for address in members:
        balance = balances.get(address, 0)
        if 0 < balance < least:
            yield Alert("warn", "Low on coin", None, address, str(balance))
