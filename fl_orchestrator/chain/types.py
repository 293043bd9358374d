"""The federation's state as frozen dataclasses.

Field for field as ``IFederation.sol`` and ``IDisputes.sol`` have it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Hashable, Iterable
from typing import Any, TypeVar, get_type_hints

from eth_utils.address import to_checksum_address

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result

__all__ = [
    "Answered",
    "CommitView",
    "Committed",
    "Demand",
    "Demanded",
    "DuplicateUpdate",
    "Fraud",
    "FraudProven",
    "ModelView",
    "Observation",
    "Params",
    "Phase",
    "Result",
    "RevealedUpdate",
    "Role",
    "RoundAccepted",
    "RoundEvents",
    "RoundOpened",
    "RoundRevoked",
    "RoundView",
    "RuleKind",
    "Signature",
    "SignedCommit",
    "Slashed",
    "StakeView",
    "Update",
    "Window",
    "counted",
    "from_abi",
    "included_indices",
    "to_abi",
]

T = TypeVar("T")


class Role(enum.IntEnum):
    PARTY = 0
    AGGREGATOR = 1


class RuleKind(enum.IntEnum):
    WEIGHTED_MEAN = 0
    MEDIAN = 1
    TRIMMED_MEAN = 2


class Phase(enum.IntEnum):
    """Where the current round stands; ACCEPTED and VOID are ended rounds."""

    IDLE = 0
    SEEDING = 1
    COMMIT = 2
    REVEAL = 3
    ATTEST = 4
    ACCEPTED = 5
    VOID = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """What a federation is. Amounts in wei, periods in seconds, shares in basis points."""

    min_party_stake: int
    min_aggregator_stake: int
    max_parties: int
    participants: int
    min_updates: int
    max_updates: int
    open_admission: bool
    commit_period: int
    reveal_period: int
    attest_period: int
    challenge_period: int
    unbond_period: int
    answer_period: int
    rule: RuleKind
    trim_bps: int
    update_fraction_bits: int
    depth: int
    reward: int
    aggregator_share_bps: int
    unrevealed_slash_bps: int
    fraud_slash_bps: int
    demand_bond: int
    genesis_root: bytes
    genesis_cid: Cid
    manifest_digest: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class StakeView:
    stake: int
    frozen_stake: int
    unbond_at: int
    admitted: bool
    seat: int


@dataclasses.dataclass(frozen=True, slots=True)
class CommitView:
    commitment: bytes
    round: int
    revealed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class RoundView:
    """The current round. What a round has only once it is open is zero, or None, before."""

    round: int
    phase: Phase
    seed_block: int
    commit_end: int
    reveal_end: int
    attest_end: int
    commits: int
    opened: int
    reveals: int
    active_parties: int
    party_stake: int
    aggregator_stake: int
    base: int
    base_root: bytes
    base_cid: Cid | None
    seed: bytes
    updates_hash: bytes

    def base_model(self) -> tuple[Cid, bytes]:
        """CID and root of the model that an open round starts from."""
        if self.base_cid is None:
            raise ValueError(f"round {self.round} is not open yet")
        return self.base_cid, self.base_root


@dataclasses.dataclass(frozen=True, slots=True)
class ModelView:
    height: int
    round: int
    root: bytes
    cid: Cid


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """All that a role decides on, read in one call at one block."""

    block_number: int
    timestamp: int
    current: RoundView
    head: ModelView
    final_height: int
    finalizable_at: int
    free_pot: int
    party: StakeView
    aggregator: StakeView
    committed: CommitView
    drawn: bool
    unrevealed_slashable: bool
    beneficiary: str
    credit: int


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
class SignedCommit:
    """A party's commitment with its compact (ERC-2098) signature, for a keeper to carry."""

    party: str
    commitment: bytes
    r: bytes
    vs: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Update:
    """The preimage of a commitment."""

    party: str
    weight: int
    root: bytes
    cid: Cid
    salt: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A compact signature (ERC-2098)."""

    r: bytes
    vs: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """That the signers of an accepted result show the node (level, index) of its model's tree.

    ``bond`` in wei; ``answerer`` is None until it is answered, and ``until`` when that is due,
    afterwards until when the demander may descend. ``ended``: the descent does not go on from here.
    """

    demander: str
    bond: int
    answerer: str | None
    until: int
    round: int
    level: int
    ended: bool
    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class Fraud:
    """A proven fraud: ``challenger`` is None while there is none; ``slashed`` a bitmap of seats."""

    challenger: str | None
    round: int
    slashed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """When the results of a round may be disputed; times are 0 when nothing was attested in it.

    Before ``window_end`` come demands, and challenges of results that were not accepted; before
    ``final_at`` challenges of the accepted one. ``alive``: it was accepted and not revoked. A new
    descent costs ``demand_bond * (1 + open_descents)``.
    """

    alive: bool
    attest_end: int
    window_end: int
    final_at: int
    open_descents: int


# Events of a round and of its disputes, each with the number of its block.


@dataclasses.dataclass(frozen=True, slots=True)
class RoundOpened:
    """``base`` is the round whose model it starts from; 0 for genesis."""

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
    """A reveal that does not count: somebody revealed these numbers before."""

    round: int
    party: str
    root: bytes
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoundAccepted:
    """``digest``: of the accepted result. ``reserved``: of the reward pot, in wei."""

    round: int
    height: int
    digest: bytes
    reserved: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Demanded:
    """``previous`` is the demand that this one descends from, or 0. ``bond`` in wei."""

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
    """``content``: the 2^min(6, level) nodes below the demanded one, or the chunk."""

    round: int
    id: int
    answerer: str
    content: bytes
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class FraudProven:
    """A result is proven fraudulent: by its digest, which need not be the accepted one's."""

    round: int
    digest: bytes
    challenger: str
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoundRevoked:
    """The history ends below ``height``, which a later round takes."""

    round: int
    height: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Slashed:
    """``amount`` wei left the account's stake, ``burnt`` of it for nobody."""

    account: str
    role: Role
    round: int
    amount: int
    burnt: int
    block_number: int


@dataclasses.dataclass(frozen=True, slots=True)
class RoundEvents:
    """What a range of blocks says of rounds, each kind in its order.

    ``results`` are all that anybody signed, by their digest, ``accepted`` the accepted ones'
    digests by their round.
    """

    results: dict[bytes, Result]
    updates: list[RevealedUpdate]
    accepted: dict[int, bytes]
    demands: list[Demanded]
    answers: list[Answered]
    frauds: list[FraudProven]
    revocations: list[RoundRevoked]


def counted(updates: Iterable[RevealedUpdate]) -> list[tuple[int, bytes]]:
    """The counted reveals of a round as the contract takes them back: 64 bytes each."""
    return [(int(update.party, 16) << 96 | update.weight, update.root) for update in updates]


def included_indices(included: int) -> list[int]:
    """The set bits of a bitmap, lowest first."""
    return [i for i in range(included.bit_length()) if included >> i & 1]


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls)


def from_abi(cls: type[T], values: Any) -> T:
    """Build ``cls`` from a decoded ABI tuple by position, nested dataclasses and enums included.

    Text is an address, and gets its checksum. One, or a CID, that may be None is so when it is
    zero.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy takes type[T] for unhashable
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    arguments = {}
    for field, value in zip(fields, values, strict=True):
        kind = hints[field.name]
        if kind == Cid | None:
            value = from_abi(Cid, value) if any(value[0]) else None
        elif kind == str | None:
            value = to_checksum_address(value) if int(value, 16) else None
        elif kind is str:
            value = to_checksum_address(value)
        elif dataclasses.is_dataclass(kind):
            value = from_abi(kind, value)  # type: ignore[arg-type]
        elif isinstance(kind, type) and issubclass(kind, enum.Enum):
            value = kind(value)
        arguments[field.name] = value
    return cls(**arguments)


def to_abi(value: Any) -> Any:
    """The tuple of a dataclass, nested ones included, as the ABI encoder takes it."""
    if dataclasses.is_dataclass(value):
        return tuple(to_abi(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, (list, tuple)):
        return [to_abi(item) for item in value]
    return value
