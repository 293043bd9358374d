"""What the events of a round add up to; it is kept beside the events, for the curves and lists."""

from __future__ import annotations

import dataclasses
import enum
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from fl_orchestrator.chain.types import included_indices
from fl_orchestrator.dashboard.index.records import parsed


class Part(enum.IntEnum):
    """What became of a drawn party in a round."""

    DRAWN = 0
    COMMITTED = 1
    REVEALED = 2
    INCLUDED = 3
    DUPLICATE = 4
    LEFT_OUT = 5


@dataclass(slots=True)
class Summary:
    """A round. Stakes and amounts are decimal strings of wei; times are seconds since 1970.

    ``commit_end`` and ``reveal_end`` are the ends at the latest. ``place`` is that of RoundAccepted
    in its block. ``signers`` and ``signed_stake`` are those of the accepted result, or of the one
    with the most stake. ``cut`` is the place of the revocation of this round, with its height.
    """

    number: int
    seed_block: int | None = None
    active: int | None = None
    party_stake: str = "0"
    aggregator_stake: str = "0"
    base: int | None = None
    seed: str | None = None
    opened_block: int | None = None
    commit_end: int | None = None
    reveal_end: int | None = None
    drawn: int = 0
    committed: int = 0
    revealed: int = 0
    duplicates: int = 0
    included: int | None = None
    claims: int = 0
    locked: int | None = None
    signers: int = 0
    signed_stake: str = "0"
    results: int = 0
    digest: str | None = None
    height: int | None = None
    accepted_block: int | None = None
    place: int | None = None
    root: str | None = None
    cid: str | None = None
    reserved: str = "0"
    final_block: int | None = None
    voided: bool = False
    cut: tuple[int, int, int] | None = None
    frauds: int = 0
    demands: int = 0
    answers: int = 0
    slashed: str = "0"

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


class _Round:
    """Adds up the events of one round, in their order."""

    def __init__(self, number: int) -> None:
        self.sum = Summary(number)
        self.named_at: tuple[int, int] | None = None
        self.parts: dict[int, Part] = {}
        self._bits: dict[int, int] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._stakes: dict[str, int] = defaultdict(int)
        self._signers: dict[str, int] = defaultdict(int)

    def take(self, block: int, place: int, name: str, row: tuple[Any, ...]) -> None:
        account, amount, data = row
        if name == "Committed":
            self.parts.setdefault(account, Part.COMMITTED)
        elif name == "UpdateRevealed":
            values = parsed(data)
            self.parts[account] = Part.REVEALED
            # In a private federation the bit of an update is its place, not its commit's index.
            self._bits[values.get("place", values["index"])] = account
        elif name == "DuplicateUpdate":
            self.parts[account] = Part.DUPLICATE
            self.sum.duplicates += 1
        elif name == "Attested":
            digest = parsed(data)["digest"]
            self._stakes[digest] += int(amount)
            self._signers[digest] += 1
        else:
            self._mark(block, place, name, row)

    def _mark(self, block: int, place: int, name: str, row: tuple[Any, ...]) -> None:
        _, amount, data = row
        found, values = self.sum, parsed(data)
        match name:
            case "SeedBlockNamed":
                self.named_at = self.named_at or (block, place)
                found.seed_block, found.active = values["seedBlock"], values["activeParties"]
                found.party_stake = str(values["partyStake"])
                found.aggregator_stake = str(values["aggregatorStake"])
            case "RoundOpened":
                found.base, found.seed, found.opened_block = values["base"], values["seed"], block
                found.commit_end, found.reveal_end = values["commitEnd"], values["revealEnd"]
            case "ResultProposed":
                self._results[values["digest"]] = values
            case "RoundAccepted":
                found.height, found.digest = values["height"], values["digest"]
                found.accepted_block, found.place, found.reserved = block, place, amount
            case "RoundFinal":
                found.final_block = block
            case "RoundVoided":
                found.voided = True
            case "RoundRevoked":
                found.cut = (block, place, values["height"])
            case "Slashed":
                found.slashed = str(int(found.slashed) + int(amount))
            case _:
                self._count(name, values)

    def _count(self, name: str, values: dict[str, Any]) -> None:
        match name:
            case "Claimed":
                self.sum.claims += 1
            case "Locked":
                self.sum.locked = int(values["locked"]).bit_count()
            case "FraudProven":
                self.sum.frauds += 1
            case "Demanded":
                self.sum.demands += 1
            case "Answered":
                self.sum.answers += 1

    def finish(self, drawn: list[int]) -> Summary:
        found = self.sum
        for account in drawn:
            self.parts.setdefault(account, Part.DRAWN)
        found.results = len(self._results)
        best = found.digest or max(self._stakes, key=self._stakes.__getitem__, default=None)
        if best is not None:
            found.signers, found.signed_stake = self._signers[best], str(self._stakes[best])
        result = self._results.get(found.digest or "")
        if result is not None:
            found.root, found.cid = result["root"], result["cid"]
            self._mark_included(int(result["included"], 16))
        states = list(self.parts.values())
        found.drawn = len(states)
        found.committed = sum(state is not Part.DRAWN for state in states)
        found.revealed = len(self._bits)
        return found

    def _mark_included(self, included: int) -> None:
        indices = set(included_indices(included))
        self.sum.included = len(indices)
        for bit, account in self._bits.items():
            self.parts[account] = Part.INCLUDED if bit in indices else Part.LEFT_OUT


def sum_up(db: sqlite3.Connection, number: int) -> _Round | None:
    """Add up the events of a round; None if it has none. Call `finish` with who was drawn."""
    found = None
    rows = db.execute(
        "SELECT block, place, name, account, amount, data FROM event WHERE round = ? "
        "AND name NOT IN ('Credited', 'RewardsDistributed') ORDER BY block, place",
        (number,),
    )
    for block, place, name, *row in rows:
        found = found or _Round(number)
        found.take(block, place, name, tuple(row))
    return found
