"""The federation's events as frozen dataclasses, each with the number of its block.

Their fields are those of ``IFederation.sol`` and ``IDisputes.sol``, in the same order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from fl_orchestrator.chain.types import Role
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result


@dataclasses.dataclass(frozen=True, slots=True)
class RevealedUpdate:
    """A counted reveal, from its event. ``index`` is its bit in ``Result.included``."""

    round: int
    party: str
    index: int
    weight: int
    root: bytes
    cid: Cid

    @property
    def number(self) -> int:
        """What the round's rolling hash has of it beside party and root."""
        return self.weight


@dataclasses.dataclass(frozen=True, slots=True)
class MaskedReveal(RevealedUpdate):
    """The same in a private federation. ``index`` is its place; ``commit`` its commit's index."""

    commit: int

    @property
    def number(self) -> int:
        return self.commit << 8 | self.weight


@dataclasses.dataclass(frozen=True, slots=True)
class RoundOpened:
    """``base`` is the round whose model this round starts from; 0 for genesis."""

    round: int
    base: int
    seed: bytes
    commit_end: int
    reveal_end: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    round: int
    party: str
    commitment: bytes
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class DuplicateUpdate:
    """A reveal that does not count, because the same root was revealed before."""

    round: int
    party: str
    root: bytes
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoundAccepted:
    """``digest`` is that of the accepted result; ``reserved`` is its share of the pot, in wei."""

    round: int
    height: int
    digest: bytes
    reserved: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Demanded:
    """``previous`` is the demand that this one descends from, or 0. ``bond`` is in wei."""

    round: int
    id: int
    demander: str
    level: int
    index: int
    previous: int
    bond: int
    deadline: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """``content`` is the 2^min(6, level) nodes below the demanded one, or at level 0 the chunk."""

    round: int
    id: int
    answerer: str
    content: bytes
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class FraudProven:
    """A result is proven fraudulent. ``digest`` may be that of a result that was not accepted."""

    round: int
    digest: bytes
    challenger: str
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoundRevoked:
    """The history was cut below ``height``; a later round will take this height."""

    round: int
    height: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Slashed:
    """``amount`` wei were taken from the account's stake; ``burnt`` of these were burnt."""

    account: str
    role: Role
    round: int
    amount: int
    burnt: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoundEvents:
    """The events of rounds in a range of blocks, each kind in its order.

    ``results`` are all that an aggregator signed, by their digest; ``accepted`` has the digest of
    the accepted result by its round.
    """

    results: dict[bytes, Result]
    updates: list[RevealedUpdate]
    accepted: dict[int, bytes]
    demands: list[Demanded]
    answers: list[Answered]
    frauds: list[FraudProven]
    revocations: list[RoundRevoked]

    def merged(self, later: RoundEvents) -> RoundEvents:
        """These events, and after them the later ones."""
        return RoundEvents(
            self.results | later.results,
            self.updates + later.updates,
            self.accepted | later.accepted,
            self.demands + later.demands,
            self.answers + later.answers,
            self.frauds + later.frauds,
            self.revocations + later.revocations,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class MaskedCommitted:
    """A counted commit of a private round, whose ``index`` is its number from 0."""

    round: int
    party: str
    index: int
    weight: int
    mask_key: bytes
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Claimed:
    """An aggregator's claim that it holds these updates of a private round, a set of places."""

    round: int
    aggregator: str
    seat: int
    held: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class SeatChange:
    """A change of the aggregators' seats, or the naming of a seed block, at its place in the chain.

    ``name`` is the event's; ``values`` are its arguments.
    """

    block_number: int
    log_index: int
    name: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class PrivateRoundEvents(RoundEvents):
    """With what private rounds have in addition.

    ``locks`` has the last locked set of each round, a bit set of places; ``seeds`` the opened seeds
    by the digest of their result. ``announced`` are messages that anybody may have made.
    ``claims`` has the last round in which each aggregator claimed.
    """

    commits: list[MaskedCommitted]
    locks: dict[int, int]
    seeds: dict[bytes, bytes]
    seats: list[SeatChange]
    bases: dict[int, int]
    announced: list[bytes]
    claims: dict[str, int]

    def merged(self, later: RoundEvents) -> PrivateRoundEvents:
        if not isinstance(later, PrivateRoundEvents):
            raise TypeError("events of a private federation have no others after them")
        common = RoundEvents.merged(self, later)
        shared = {field.name: getattr(common, field.name) for field in dataclasses.fields(common)}
        return PrivateRoundEvents(
            **shared,
            commits=self.commits + later.commits,
            locks=self.locks | later.locks,
            seeds=self.seeds | later.seeds,
            seats=self.seats + later.seats,
            bases=self.bases | later.bases,
            announced=self.announced + later.announced,
            claims=self.claims | later.claims,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class RoundHistory:
    """The events of rounds for reports to people, each kind in its order.

    ``results`` are all that an aggregator signed, by their digest; ``signers`` has their signers.
    Plain federations have no ``claims`` and ``locks``, private ones no ``duplicates``. ``locks``
    has the last locked set of each round, a bit set of places.
    """

    opened: list[RoundOpened]
    commits: list[Committed] | list[MaskedCommitted]
    updates: list[RevealedUpdate]
    duplicates: list[DuplicateUpdate]
    results: dict[bytes, Result]
    signers: dict[bytes, list[str]]
    accepted: list[RoundAccepted]
    demands: list[Demanded]
    answers: list[Answered]
    frauds: list[FraudProven]
    claims: list[Claimed]
    locks: dict[int, int]


def common_events(found: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The fields of RoundEvents, from the events by their names."""
    return {
        "results": dict(found["ResultProposed"]),
        "updates": found["UpdateRevealed"],
        "accepted": {event.round: event.digest for event in found["RoundAccepted"]},
        "demands": found["Demanded"],
        "answers": found["Answered"],
        "frauds": found["FraudProven"],
        "revocations": found["RoundRevoked"],
    }


class CountedUpdate(Protocol):
    """What the rolling hash of a round has of a counted reveal."""

    @property
    def party(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def root(self) -> bytes: ...


def counted(updates: Iterable[CountedUpdate]) -> list[tuple[int, bytes]]:
    """The counted reveals of a round as the arguments of contract calls, 64 bytes each."""
    return [(int(update.party, 16) << 96 | update.number, update.root) for update in updates]
