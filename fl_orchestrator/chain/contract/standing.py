"""What an observation says of one account, kept up to date by the contract's events.

It holds what the contract holds of the account, as far as that is known, and derives from it and
from the common part of an observation what the contract derives (`Views.sol`, `Shared.sol`). What
cannot be derived with certainty is read from the contract again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from fl_orchestrator.chain.types import (
    ClaimView,
    CommitView,
    Observation,
    Params,
    Phase,
    PrivateObservation,
    Role,
    StakeView,
)
from fl_orchestrator.model.digests import drawn
from fl_orchestrator.model.protocol import COMMITMENT_BYTES

_NO_STAKE: Final = StakeView(0, 0, 0, admitted=False, seat=0)
_NO_COMMIT: Final = CommitView(bytes(COMMITMENT_BYTES), 0, revealed=False, absent=False)
# As the contract has it for an account without payments.
_NOBODY: Final = "0x" + 40 * "0"
_MOST_CREDIT: Final = 2**96 - 1
# The third last round that commits were waited for in vain is at least so many rounds ago.
_MISSED_AT_LEAST: Final = 2


@dataclass(frozen=True, slots=True)
class Rules:
    """The parameters that an account's part of an observation depends on."""

    min_party_stake: int
    min_aggregator_stake: int
    min_updates: int
    participants: int
    everybody_drawn: bool
    open_admission: bool

    @classmethod
    def of(cls, params: Params) -> Rules:
        return cls(
            params.min_party_stake,
            params.min_aggregator_stake,
            params.min_updates,
            params.participants,
            params.max_parties <= params.participants,
            params.open_admission,
        )

    def newborn(self) -> Standing:
        """An account of which the contract has never heard."""
        admitted = replace(_NO_STAKE, admitted=self.open_admission)
        return Standing(0, admitted, _NO_STAKE, _NO_COMMIT, False, _NOBODY, 0, None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an account.

    ``round`` is that of the chain when the frozen stakes in ``party`` and ``aggregator`` were true.
    ``slashable``: whether its unrevealed commit of an earlier round may be slashed; None if that
    is not known. ``held`` is an aggregator's claim in a private round; None if it is not known.
    """

    round: int
    party: StakeView
    aggregator: StakeView
    committed: CommitView
    slashable: bool | None
    beneficiary: str
    credit: int
    held: int | None

    @classmethod
    def of(cls, seen: Observation) -> Standing:
        """From what was read of the account."""
        ended = seen.committed.round < seen.current.round
        claims = seen.claims if isinstance(seen, PrivateObservation) else None
        return cls(
            seen.current.round,
            seen.party,
            seen.aggregator,
            seen.committed,
            seen.unrevealed_slashable if ended else None,
            seen.beneficiary,
            seen.credit,
            claims.held if claims is not None and claims.claimed else None,
        )

    # ------------------------------------------------------------------ events

    def after(self, event: str, values: Mapping[str, Any], round_number: int) -> Standing | None:
        """What is known after an event of this account; None if it has to be read again.

        ``round_number`` is that of the chain at the event.
        """
        match event:
            case "Committed":
                return replace(self, committed=_commit_of(values), slashable=None)
            case "UpdateRevealed" | "DuplicateUpdate":
                return replace(self, committed=replace(self.committed, revealed=True))
            case "Credited":
                return replace(self, credit=min(self.credit + values["amount"], _MOST_CREDIT))
            case "RewardsWithdrawn":
                return replace(self, credit=0)
            case "Admitted":
                return self._admitted(Role(values["role"]))
            case "Registered":
                return self._registered(values, round_number)
        return None

    def _admitted(self, role: Role) -> Standing:
        if role is Role.PARTY:
            return replace(self, party=replace(self.party, admitted=True))
        return replace(self, aggregator=replace(self.aggregator, admitted=True))

    def _registered(self, values: Mapping[str, Any], round_number: int) -> Standing | None:
        """A new stake counts from the next round on."""
        same = round_number == self.round
        if not same and self.party.stake + self.aggregator.stake:
            # The stake in the other role may have another frozen value in this round.
            return None
        stake, beneficiary = values["stake"], values["beneficiary"]
        if Role(values["role"]) is Role.PARTY:
            # What counted in this round before a slash took all of it still does.
            before = self.party.frozen_stake if same else 0
            party = StakeView(stake, before, 0, self.party.admitted, 0)
            return replace(self, round=round_number, party=party, beneficiary=beneficiary)
        seat = StakeView(stake, 0, 0, self.aggregator.admitted, values["seat"])
        return replace(
            self, round=round_number, aggregator=seat, beneficiary=beneficiary, held=None
        )

    # ------------------------------------------------------------------ an observation

    def seen_with(self, common: Observation, account: str, rules: Rules) -> Observation | None:
        """The observation of the account; None if it has to be read.

        ``common`` is one of any account at the same block.
        """
        current = common.current
        party = self._frozen(self.party, current.round, rules.min_party_stake)
        aggregator = self._frozen(self.aggregator, current.round, rules.min_aggregator_stake)
        slashable = self._is_slashable(common, rules)
        missing = self._is_missing(common, rules)
        if slashable is None or missing is None:
            return None
        is_open = current.phase not in (Phase.IDLE, Phase.SEEDING)
        stake = party.frozen_stake
        is_drawn = is_open and stake != 0 and _is_drawn(common, account, stake, rules)
        fields = (
            *(common.block_number, common.timestamp, current, common.head),
            *(common.final_height, common.finalizable_at, common.free_pot),
            *(party, aggregator, self.committed, is_drawn, slashable, missing),
            *(self.beneficiary, self.credit),
        )
        if not isinstance(common, PrivateObservation):
            return Observation(*fields)
        claims = self._claims(common.claims)
        return None if claims is None else PrivateObservation(*fields, claims)

    def _frozen(self, view: StakeView, round_number: int, minimum: int) -> StakeView:
        """The stake with what of it counts in a round: after a round without events, all or none.

        See `Shared.frozenStake` and `Shared.voteWeight`.
        """
        if round_number == self.round:
            return view
        counts = view.unbond_at == 0 and view.stake >= minimum
        frozen = view.stake if counts else 0
        return view if frozen == view.frozen_stake else replace(view, frozen_stake=frozen)

    def _is_slashable(self, common: Observation, rules: Rules) -> bool | None:
        """`Shared.revealIsMissing`."""
        slot, current = self.committed, common.current
        if slot.revealed or not any(slot.commitment):
            return False
        if slot.round < current.round:
            return self.slashable
        if current.phase is Phase.VOID:
            return None  # A revocation may have orphaned it.
        enough = rules.min_updates <= current.commits
        return (
            enough and current.opened < current.commits and common.timestamp >= current.reveal_end
        )

    def _is_missing(self, common: Observation, rules: Rules) -> bool | None:
        """`Shared.isMissing`, where it does not depend on which rounds were incomplete."""
        current, view = common.current, self.party
        may_be = rules.everybody_drawn and 0 < current.commit_end <= common.timestamp
        active = view.unbond_at == 0 and view.stake >= rules.min_party_stake
        recent = self.committed.round >= current.round - _MISSED_AT_LEAST
        return None if may_be and active and not self.committed.absent and not recent else False

    def _claims(self, common: ClaimView) -> ClaimView | None:
        has_seat = self.aggregator.stake != 0
        claimed = has_seat and bool(common.claimed_seats >> self.aggregator.seat & 1)
        held = self.held if claimed else 0
        if held is None:
            return None
        return replace(common, claimed=claimed, held=held)


def _commit_of(values: Mapping[str, Any]) -> CommitView:
    """The slot after a commit: of a plain round, or (with a mask key) of a private one."""
    if "commitment" in values:
        kept = bytes(values["commitment"][:COMMITMENT_BYTES])
    else:
        kept = (values["index"] << 8 | values["weight"]).to_bytes(COMMITMENT_BYTES, "big")
    return CommitView(kept, values["round"], revealed=False, absent=False)


def _is_drawn(common: Observation, account: str, stake: int, rules: Rules) -> bool:
    """`Sortition.drawn`."""
    current = common.current
    return rules.everybody_drawn or drawn(
        current.seed, account, stake, current.party_stake, rules.participants
    )
