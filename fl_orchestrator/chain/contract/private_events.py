"""The index of a private federation's rounds: with commits, seats, locks and opened seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fl_orchestrator.chain.contract.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.event_types import (
    MaskedCommitted,
    PrivateRoundEvents,
    RoundEvents,
    SeatChange,
)


@dataclass(frozen=True, slots=True)
class SeatRow:
    """A seat that counts in a round: its account, its stake in wei and its encryption key then."""

    account: str
    stake: int
    key: bytes


class PrivateRoundIndex(RoundIndex):
    """An index of a private federation's rounds."""

    _federation: PrivateFederation

    def __init__(self, federation: PrivateFederation, from_block: int) -> None:
        self._minimum = federation.params().min_aggregator_stake
        super().__init__(federation, from_block)

    def _forget(self) -> None:
        super()._forget()
        self._commits: dict[int, dict[int, MaskedCommitted]] = {}
        self._locks: dict[int, int] = {}
        self._seeds: dict[bytes, bytes] = {}
        self._seats: dict[tuple[int, int], SeatChange] = {}
        self._bases: dict[int, int] = {}
        self._announced: dict[bytes, None] = {}
        self._claims: dict[str, int] = {}

    def _take(self, found: RoundEvents) -> None:
        super()._take(found)
        if not isinstance(found, PrivateRoundEvents):
            raise TypeError("the events are not those of a private federation")
        for commit in found.commits:
            self._commits.setdefault(commit.round, {})[commit.index] = commit
        self._locks |= found.locks
        self._seeds |= found.seeds
        self._seats |= {(c.block_number, c.log_index): c for c in found.seats}
        self._bases |= found.bases
        self._announced |= dict.fromkeys(found.announced)
        self._claims |= found.claims

    # ------------------------------------------------------------------ rounds

    def commits(self, round_number: int) -> list[MaskedCommitted]:
        """The counted commits of a round, in their order."""
        found = self._commits.get(round_number, {})
        return [found[index] for index in sorted(found)]

    def locked(self, round_number: int) -> int:
        """The updates that the last event of a round locks, as a bit set of places."""
        return self._locks.get(round_number, 0)

    def seeds(self, digest: bytes) -> bytes | None:
        """The seeds that were opened for a result, 32 bytes each."""
        return self._seeds.get(digest)

    @property
    def bases(self) -> Mapping[int, int]:
        """Of each opened round, the round whose model it starts from; 0 for genesis."""
        return MappingProxyType(self._bases)

    @property
    def announced(self) -> tuple[bytes, ...]:
        """What was announced on the chain, by anybody."""
        return tuple(self._announced)

    def base_root(self, round_number: int) -> bytes | None:
        """The root of the model that an opened round started from; None if that is not known."""
        base = self._bases.get(round_number)
        if base == 0:
            return self._federation.params().genesis_root
        accepted = self._results.get(self._accepted.get(base, b"")) if base else None
        return accepted.global_root if accepted else None

    # ------------------------------------------------------------------ seats

    def last_claim(self, account: str) -> int:
        """The last round in which an aggregator claimed; 0 if it never did."""
        return self._claims.get(account, 0)

    def registered_key(self, account: str) -> bytes | None:
        """The encryption key that an aggregator registered last, for rounds to come."""
        for place in sorted(self._seats, reverse=True):
            change = self._seats[place]
            if change.name == "KeySet" and change.values["aggregator"] == account:
                return bytes(change.values["key"])
        return None

    def seat_table(self, round_number: int) -> list[SeatRow]:
        """The seats that count in a round, ascending, as of its first named seed block.

        Raises MissingEvents, and UntrueEvents if their stakes are not those that the event sums up.
        """
        seats: dict[int, _Seat] = {}
        places: dict[str, int] = {}
        for place in sorted(self._seats):
            change = self._seats[place]
            if change.name != "SeedBlockNamed":
                _apply(change, seats, places)
            elif change.values["round"] == round_number:
                table = self._counting(seats)
                if sum(row.stake for row in table) != change.values["aggregatorStake"]:
                    raise UntrueEvents(f"the seats of round {round_number} have another stake")
                return table
        raise MissingEvents(
            f"The node has no events of the seats of round {round_number}.",
            "Use an RPC endpoint that keeps all logs.",
        )

    def present_seats(self) -> list[SeatRow]:
        """The seats that would count in a round whose seed block were named now, ascending."""
        seats: dict[int, _Seat] = {}
        places: dict[str, int] = {}
        for place in sorted(self._seats):
            if self._seats[place].name != "SeedBlockNamed":
                _apply(self._seats[place], seats, places)
        return self._counting(seats)

    def _counting(self, seats: Mapping[int, _Seat]) -> list[SeatRow]:
        return [seats[number].row for number in sorted(seats) if self._counts(seats[number])]

    def _counts(self, seat: _Seat) -> bool:
        return not seat.leaving and seat.row.stake >= self._minimum


@dataclass(frozen=True, slots=True)
class _Seat:
    row: SeatRow
    leaving: bool = False


def _apply(change: SeatChange, seats: dict[int, _Seat], places: dict[str, int]) -> None:
    """Apply one event of an aggregator to the seats by number, and the numbers by account."""
    values = change.values
    if change.name == "Registered":
        places[values["account"]] = values["seat"]
        seats[values["seat"]] = _Seat(SeatRow(values["account"], values["stake"], bytes(32)))
        return
    account = values["aggregator"] if change.name == "KeySet" else values["account"]
    number = places.get(account, -1)
    # A seat that two accounts were given may be gone with the first of them.
    if number not in seats:
        raise UntrueEvents(
            f"{account} has no seat, and {change.name} of block {change.block_number}"
        )
    row, leaving = seats[number].row, seats[number].leaving
    if change.name == "KeySet":
        seats[number] = _Seat(SeatRow(account, row.stake, bytes(values["key"])), leaving)
    elif change.name == "Slashed":
        seats[number] = _Seat(SeatRow(account, row.stake - values["amount"], row.key), leaving)
    elif change.name == "UnbondRequested":
        seats[number] = _Seat(row, leaving=True)
    else:
        del seats[number], places[account]
