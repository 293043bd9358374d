"""The federation's state as frozen dataclasses, with the fields of ``IFederation.sol`` and
``IDisputes.sol`` in their order."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.rules import LEARNING_RATE, MOMENTUM, RuleKind


class Role(enum.IntEnum):
    PARTY = 0
    AGGREGATOR = 1


class Phase(enum.IntEnum):
    """The phase of the current round; in ACCEPTED and VOID it has ended.

    Only a private round has CLAIM: it is between REVEAL and ATTEST, whatever its number.
    """

    IDLE = 0
    SEEDING = 1
    COMMIT = 2
    REVEAL = 3
    ATTEST = 4
    ACCEPTED = 5
    VOID = 6
    CLAIM = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """A federation's parameters. Amounts in wei, periods in seconds, shares in basis points."""

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
    server_learning_rate_bps: int
    server_momentum_bps: int
    chunk_norm_limit: int
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

    @property
    def clip_norm(self) -> float:
        """The largest norm of a chunk in the units of an update's values; 0 if none is clipped."""
        return self.chunk_norm_limit * 2.0**-self.update_fraction_bits

    @property
    def state_depth(self) -> int:
        """The depth of the tree of a state: with momentum, one level more than an update's."""
        return self.depth + 1 if self.server_momentum_bps else self.depth


#: What parameters that were added later stand for in federations of earlier versions.
ABSENT_PARAMS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "server_learning_rate_bps": LEARNING_RATE.default,
        "server_momentum_bps": MOMENTUM.default,
        "chunk_norm_limit": 0,
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class PrivateParams:
    """The parameters that only a private federation has (docs/protocol.md, section 12.2).

    ``parameters`` values of an update are masked. ``claim_period`` in seconds. ``step_limit`` is
    the largest step of a coordinate, in the fixed point of the updates. More than ``secrecy``
    thirds of the aggregators' stake can read updates.
    """

    parameters: int
    step_limit: int
    claim_period: int
    secrecy: int
    relock: bool


@dataclasses.dataclass(frozen=True, slots=True)
class StakeView:
    stake: int
    frozen_stake: int
    unbond_at: int
    admitted: bool
    seat: int


@dataclasses.dataclass(frozen=True, slots=True)
class CommitView:
    """A party's commit slot. ``absent``: it was marked absent, and has not come back."""

    commitment: bytes
    round: int
    revealed: bool
    absent: bool


#: The phases of a round that is over, or that never was.
ENDED: Final = (Phase.IDLE, Phase.ACCEPTED, Phase.VOID)


@dataclasses.dataclass(frozen=True, slots=True)
class RoundView:
    """The current round. Fields that only an open round has are zero, or None, before.

    ``commit_quota`` commits end the commit phase, where it is at least ``min_updates``.
    """

    round: int
    phase: Phase
    seed_block: int
    commit_end: int
    reveal_end: int
    attest_end: int
    commits: int
    commit_quota: int
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
        """CID and root of the model that the round starts from. Raises ValueError if not open."""
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
    """All state that a role needs to decide, read by one call at one block.

    ``missing``: `mark_absent` of this account would succeed.
    """

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
    missing: bool
    beneficiary: str
    credit: int

    @property
    def phase_end(self) -> int | None:
        """The deadline of the round's phase; None if the phase has none."""
        ends = {
            Phase.COMMIT: self.current.commit_end,
            Phase.REVEAL: self.current.reveal_end,
            Phase.ATTEST: self.current.attest_end,
        }
        return ends.get(self.current.phase)


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimView:
    """What only a private round has, and the observed aggregator's own claim in it.

    ``commits_hash`` is zero before the first commit. ``locked`` and ``held`` are bit sets of
    places; ``locked`` may grow until the phase has ended. ``claimed_seats``: a bitmap.
    """

    commits_hash: bytes
    claim_end: int
    locked: int
    claimed_seats: int
    claimed: bool
    held: int


@dataclasses.dataclass(frozen=True, slots=True)
class PrivateObservation(Observation):
    """An observation of a private federation."""

    claims: ClaimView

    @property
    def phase_end(self) -> int | None:
        if self.current.phase is Phase.CLAIM:
            return self.claims.claim_end
        # Without arguments, super() would mean the class before it got slots.
        return super(PrivateObservation, self).phase_end


@dataclasses.dataclass(frozen=True, slots=True)
class SignedCommit:
    """A party's commitment with its compact (ERC-2098) signature, for a keeper to relay."""

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
class SignedMaskedCommit:
    """A party's commit to a mask key with its compact signature, for a keeper to relay."""

    party: str
    weight: int
    mask_key: bytes
    r: bytes
    vs: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class MaskedUpdate:
    """The reveal of a masked update, signed for a keeper to relay; zeros if its party sends it."""

    party: str
    root: bytes
    cid: Cid
    r: bytes
    vs: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class SignedClaim:
    """An aggregator's claim to hold updates, a bit set of places, for anybody to send."""

    held: int
    r: bytes
    vs: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A compact signature (ERC-2098)."""

    r: bytes
    vs: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Attestation:
    """The signers of a result as a bitmap of seats, their stake in wei, and its acceptance."""

    signers: int
    stake: int
    accepted: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """A demand to the signers of an accepted result: show the node (level, index) of its model.

    ``bond`` is in wei. ``answerer`` is None until somebody answers. ``until`` is the deadline of
    the answer; after the answer, it is the deadline of the demander to descend. ``ended``: the
    descent does not continue from here.
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
    """The fraud of a result. ``challenger`` is None until it is proven; ``slashed``: a bitmap."""

    challenger: str | None
    round: int
    slashed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The times in which the results of a round may be disputed; 0 if none was attested.

    Demands, and challenges of results that were not accepted, end at ``window_end``; challenges of
    the accepted result end at ``final_at``. ``canonical``: the round was accepted and not revoked.
    A new descent costs a bond of ``demand_bond * (1 + open_descents)`` wei.
    """

    canonical: bool
    attest_end: int
    window_end: int
    final_at: int
    open_descents: int

    def challenge_end(self, *, accepted: bool) -> int:
        """Until when a result of the round, ``accepted`` or not, may be challenged."""
        return self.final_at if accepted and self.canonical else self.window_end


def included_indices(included: int) -> list[int]:
    """The indices of the set bits of a bitmap, lowest first."""
    return [i for i in range(included.bit_length()) if included >> i & 1]
