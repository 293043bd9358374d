"""The outcomes of a federation's rounds, for reports to people."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.reverts import RequestRefused
from fl_orchestrator.chain.event_types import (
    Answered,
    Claimed,
    Demanded,
    DuplicateUpdate,
    FraudProven,
    RevealedUpdate,
    RoundAccepted,
    RoundHistory,
    RoundOpened,
)
from fl_orchestrator.chain.types import ModelView, Observation, Phase, included_indices
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.digests import Result


class NoSuchRound(InputError):
    """No round has this number yet."""


class NoModel(InputError):
    """The round has no model: it is not over, it is void, or it was revoked."""


class Outcome(enum.StrEnum):
    """The phase of a round, or its outcome."""

    SEEDING = "seeding"
    COMMIT = "commit"
    REVEAL = "reveal"
    CLAIM = "claim"
    ATTEST = "attest"
    ACCEPTED = "accepted"
    FINAL = "final"
    VOID = "void"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """A result that an aggregator signed; ``fraud`` is None unless it was proven wrong."""

    digest: bytes
    result: Result
    signers: tuple[str, ...]
    fraud: FraudProven | None


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A round, read from its events.

    ``opened`` is None until the seed's block exists. ``accepted`` is None if no result was
    accepted; ``accepted_at`` is the time of its block. ``parties`` have committed. ``updates`` are
    the reveals that count, ``duplicates`` those that do not. ``claims`` are those of a private
    round, and ``locked`` is what it locked, a bit set of places.
    """

    number: int
    outcome: Outcome
    opened: RoundOpened | None
    opened_at: int
    parties: tuple[str, ...]
    updates: tuple[RevealedUpdate, ...]
    duplicates: tuple[DuplicateUpdate, ...]
    results: tuple[ResultRecord, ...]
    accepted: RoundAccepted | None
    accepted_at: int
    demands: tuple[Demanded, ...]
    answers: tuple[Answered, ...]
    claims: tuple[Claimed, ...] = ()
    locked: int = 0

    @property
    def expelled(self) -> tuple[RevealedUpdate, ...]:
        """The locked updates that the accepted result leaves out: their parties misdealt."""
        if self.accepted_result is None:
            return ()
        locked = set(included_indices(self.locked)) - self.included
        return tuple(update for update in self.updates if update.index in locked)

    @property
    def accepted_result(self) -> ResultRecord | None:
        """The result that was accepted; it may have been revoked since."""
        digest = self.accepted and self.accepted.digest
        return next((result for result in self.results if result.digest == digest), None)

    @property
    def included(self) -> frozenset[int]:
        """The indices of the updates that the accepted result includes."""
        accepted = self.accepted_result
        return frozenset(included_indices(accepted.result.included) if accepted else ())


def require_round(seen: Observation, number: int) -> None:
    """Raise NoSuchRound unless the round was opened already."""
    last = seen.current.round
    if not 1 <= number <= last:
        raise NoSuchRound(
            f"There is no round {number}.",
            f"Rounds count from 1; the last one is {last}." if last else "None was opened yet.",
        )


def read_rounds(
    federation: Federation, from_block: int, first: int, last: int
) -> list[RoundRecord]:
    """The rounds ``first`` to ``last``, from the events from a block on.

    Raises NoSuchRound.
    """
    seen = federation.observe(federation.address)
    require_round(seen, first)
    require_round(seen, last)
    history = federation.history(from_block, first if first == last else None)
    opened = {event.round: event for event in history.opened}
    commit_period = federation.params().commit_period
    return [
        _record(federation, seen, n, opened.get(n), commit_period, history)
        for n in range(first, last + 1)
    ]


def _record(
    federation: Federation,
    seen: Observation,
    number: int,
    opened: RoundOpened | None,
    commit_period: int,
    events: RoundHistory,
) -> RoundRecord:
    accepted = next((event for event in events.accepted if event.round == number), None)
    frauds = {event.digest: event for event in events.frauds}
    return RoundRecord(
        number=number,
        outcome=_outcome(federation, seen, number, accepted),
        opened=opened,
        opened_at=opened.commit_end - commit_period if opened else 0,
        parties=tuple(event.party for event in events.commits if event.round == number),
        updates=tuple(update for update in events.updates if update.round == number),
        duplicates=tuple(event for event in events.duplicates if event.round == number),
        results=tuple(
            ResultRecord(digest, result, tuple(events.signers.get(digest, ())), frauds.get(digest))
            for digest, result in events.results.items()
            if result.round == number
        ),
        accepted=accepted,
        accepted_at=_time_of(federation, accepted.block_number) if accepted else 0,
        demands=tuple(event for event in events.demands if event.round == number),
        answers=tuple(event for event in events.answers if event.round == number),
        claims=tuple(event for event in events.claims if event.round == number),
        locked=events.locks.get(number, 0),
    )


def _outcome(
    federation: Federation, seen: Observation, number: int, accepted: RoundAccepted | None
) -> Outcome:
    if accepted is not None:
        if not federation.window(number).canonical:
            return Outcome.REVOKED
        return Outcome.FINAL if accepted.height <= seen.final_height else Outcome.ACCEPTED
    if number == seen.current.round and seen.current.phase not in (Phase.ACCEPTED, Phase.VOID):
        return Outcome(seen.current.phase.name.lower())
    return Outcome.VOID


def _time_of(federation: Federation, block_number: int) -> int:
    block = federation.block(block_number)
    if block is None:
        raise RequestRefused(f"The node has no block {block_number}.", "Use another RPC endpoint.")
    return block[1]


def model_of(federation: Federation, from_block: int, number: int) -> ModelView:
    """The model of a round of the history; round 0 gives genesis.

    Raises NoSuchRound, and NoModel with the reason.
    """
    seen = federation.observe(federation.address)
    if number:
        require_round(seen, number)
    # Binary search: a greater height has a greater round.
    low, high = 0, seen.head.height
    while low < high:
        middle = (low + high) // 2
        if federation.model(middle).round < number:
            low = middle + 1
        else:
            high = middle
    model = federation.model(low)
    if model.round == number:
        return model
    (record,) = read_rounds(federation, from_block, number, number)
    reasons = {
        Outcome.REVOKED: f"Round {number} was revoked: its model, or one that it starts from, "
        "was proven wrong.",
        Outcome.VOID: f"Round {number} is void: it has no model.",
    }
    raise NoModel(
        reasons.get(record.outcome, f"Round {number} is not over: it is in {record.outcome}."),
        "`flo round list` shows which rounds have a model.",
    )
