"""The federation's events as frozen dataclasses, each with the number of its block.

Their fields are those of ``IFederation.sol`` and ``IDisputes.sol``, in the same order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

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


@dataclasses.dataclass(frozen=True, slots=True)
class RoundHistory:
    """The events of rounds for reports to people, each kind in its order.

    ``results`` are all that an aggregator signed, by their digest; ``signers`` has their signers.
    """

    opened: list[RoundOpened]
    commits: list[Committed]
    updates: list[RevealedUpdate]
    duplicates: list[DuplicateUpdate]
    results: dict[bytes, Result]
    signers: dict[bytes, list[str]]
    accepted: list[RoundAccepted]
    demands: list[Demanded]
    answers: list[Answered]
    frauds: list[FraudProven]


def counted(updates: Iterable[RevealedUpdate]) -> list[tuple[int, bytes]]:
    """The counted reveals of a round as the arguments of contract calls, 64 bytes each."""
    return [(int(update.party, 16) << 96 | update.weight, update.root) for update in updates]
