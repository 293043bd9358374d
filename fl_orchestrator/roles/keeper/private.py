"""The keeper of a private federation: carries commits, reveals, claims and attestations there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.sending.batches import SIGNATURE_GAS
from fl_orchestrator.chain.types import (
    MaskedUpdate,
    Observation,
    PrivateObservation,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.roles.keeper.keeper import Duty, Keeper, given_up_at
from fl_orchestrator.roles.masked.relay import SignedPrivateResult


class PrivateKeeper(Keeper):
    """A keeper of one private federation."""

    _COMMIT: ClassVar[type[Any]] = SignedMaskedCommit
    _REVEAL: ClassVar[type[Any]] = MaskedUpdate
    _ATTESTATION: ClassVar[type[Any]] = SignedPrivateResult

    @property
    def _private(self) -> PrivateFederation:
        return cast(PrivateFederation, self._federation)

    def _claims(self, _seen: Observation) -> Iterator[Duty]:
        seen = cast(PrivateObservation, _seen)
        claims = self._waiting(seen, SignedClaim, SIGNATURE_GAS)
        if not claims:
            return
        # It is not known which seats there are without their events: one per member is expected.
        missing = self._seats(seen) - seen.claims.claimed_seats.bit_count() - len(claims)
        if self._leaves(seen, missing, given_up_at(seen, seen.claims.claim_end)):
            yield Duty(self._private.claim(claims), claims)

    def _seats(self, seen: Observation) -> int:
        """How many seats count, at most: by the smallest stake that a seat may have."""
        return seen.current.aggregator_stake // self._private.params().min_aggregator_stake

    def _attest_start(self, seen: Observation) -> int:
        return cast(PrivateObservation, seen).claims.claim_end

    def _commit_call(self, commits: Sequence[Any]) -> Call:
        return self._private.commit_masks_for(commits)

    def _reveal_call(self, seen: Observation, updates: Sequence[Any]) -> Call:
        return self._private.reveal_masked(
            cast(PrivateObservation, seen).claims.commits_hash, updates
        )

    def _attest_call(self, signed: Sequence[Any]) -> Call:
        first: SignedPrivateResult = signed[0]
        signatures = [message.signature for message in signed]
        return self._private.attest_private(first.result, first.seeds, signatures)
