"""What the page shows of the present: the round's phases, whom it waits for, and the chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fl_orchestrator.chain.types import Observation, Params, Phase, PrivateObservation, Role
from fl_orchestrator.dashboard.index.queries import Member, RoundRow
from fl_orchestrator.dashboard.index.summary import Part

_WORDS: Final = {
    Phase.IDLE: "not begun",
    Phase.SEEDING: "being opened",
    Phase.COMMIT: "committing",
    Phase.REVEAL: "revealing",
    Phase.CLAIM: "claiming",
    Phase.ATTEST: "attesting",
    Phase.ACCEPTED: "accepted",
    Phase.VOID: "void",
}
_OPEN: Final = (Phase.COMMIT, Phase.REVEAL, Phase.CLAIM, Phase.ATTEST)


@dataclass(frozen=True, slots=True)
class Progress:
    """A phase of the round: ``count`` of ``total`` have done what it is for.

    ``state`` is done, now, next, or none where the round ended before. ``end`` is its deadline in
    the chain's time. ``need`` is the least count with which the round goes on.
    """

    key: str
    label: str
    state: str
    count: int
    total: int
    need: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Moment:
    """The round at one block. ``waiting`` are the accounts that the phase waits for."""

    round: int
    phase: str
    word: str
    count: int
    total: int
    need: int
    end: int | None
    waiting: tuple[str, ...]
    phases: tuple[Progress, ...]


def moment(
    seen: Observation,
    params: Params,
    row: RoundRow | None,
    parts: Mapping[str, Part],
    members: Sequence[Member],
    signed: Sequence[str],
    claimed: Sequence[str],
) -> Moment:
    """The round of an observation. ``row`` and ``parts`` are what the index has of it.

    ``signed`` and ``claimed`` are the aggregators that have signed or claimed in it.
    """
    now, phase = seen.current, seen.current.phase
    aggregators = [m.address for m in members if m.role is Role.AGGREGATOR and m.state == "active"]
    absent = {m.address for m in members if m.absent}
    drawn = row.sum.drawn if row else 0
    quota = sum(1 for address in parts if address not in absent)
    waiting: list[str] = []
    if phase is Phase.COMMIT:
        waiting = [a for a, part in parts.items() if part is Part.DRAWN and a not in absent]
    elif phase is Phase.REVEAL:
        waiting = [a for a, part in parts.items() if part is Part.COMMITTED]
    elif phase is Phase.CLAIM:
        waiting = [a for a in aggregators if a not in claimed]
    elif phase is Phase.ATTEST:
        waiting = [a for a in aggregators if a not in signed]
    phases = _phases(seen, params, quota or drawn, len(aggregators), signed, claimed)
    active = next((p for p in phases if p.state == "now"), None)
    return Moment(
        now.round,
        phase.name.lower(),
        _WORDS[phase],
        active.count if active else 0,
        active.total if active else 0,
        active.need if active else 0,
        seen.phase_end,
        tuple(sorted(waiting)),
        phases,
    )


def _phases(
    seen: Observation,
    params: Params,
    drawn: int,
    aggregators: int,
    signed: Sequence[str],
    claimed: Sequence[str],
) -> tuple[Progress, ...]:
    now = seen.current
    order = [Phase.COMMIT, Phase.REVEAL, Phase.ATTEST]
    ends = {
        Phase.COMMIT: now.commit_end,
        Phase.REVEAL: now.reveal_end,
        Phase.ATTEST: now.attest_end,
    }
    if isinstance(seen, PrivateObservation):
        order.insert(2, Phase.CLAIM)
        ends[Phase.CLAIM] = seen.claims.claim_end
    counts = {
        Phase.COMMIT: (now.commits, max(drawn, now.commits), params.min_updates),
        Phase.REVEAL: (now.reveals, now.commits, params.min_updates),
        Phase.CLAIM: (len(claimed), aggregators, 0),
        Phase.ATTEST: (len(signed), aggregators, 0),
    }
    # An accepted round has had all phases, a void one those that were before its end.
    reached = order.index(now.phase) if now.phase in order else len(order)
    states = [
        "done" if i < reached else "now" if i == reached else "next" for i in range(len(order))
    ]
    if now.phase in (Phase.IDLE, Phase.SEEDING):
        states = ["next"] * len(order)
    elif now.phase is Phase.VOID:
        enough = (now.commits >= params.min_updates, now.reveals >= params.min_updates)
        states = ["done", "done" if enough[0] else "none", *["none"] * (len(order) - 2)]
    return tuple(
        Progress(
            phase.name.lower(),
            phase.name.title(),
            state,
            *counts[phase],
            (ends[phase] or None) if state in ("now", "next") and now.phase in _OPEN else None,
        )
        for phase, state in zip(order, states, strict=True)
    )


def moment_json(found: Moment) -> dict[str, Any]:
    return dataclasses.asdict(found)
