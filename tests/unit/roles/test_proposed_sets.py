"""A signer that proposes result after result gets few of them considered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.chain.contract.federation import Attestation
from fl_orchestrator.roles.updates import (
    MAX_OF_ONE_SIGNER,
    MAX_PROPOSALS,
    worth_considering,
)

DUST, HONEST = 1, 10**18


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_dust_aggregators_flood_comes_after_what_stake_has_signed() -> None:
    flood = {digest(n): Attestation(0b1, DUST, False) for n in range(100)}
    honest = {digest(200 + n): Attestation(0b10 << n, HONEST, False) for n in range(3)}
    chosen = worth_considering({**flood, **honest})
    assert set(chosen[:3]) == set(honest)
    assert len(chosen) == 3 + MAX_OF_ONE_SIGNER


def test_a_flood_that_somebody_else_has_signed_a_part_of_counts_for_both() -> None:
    both = {digest(n): Attestation(0b11, 2 * HONEST, False) for n in range(5)}
    alone = {digest(10 + n): Attestation(0b1, HONEST, False) for n in range(5)}
    assert len(worth_considering({**both, **alone})) == MAX_OF_ONE_SIGNER


def test_what_was_accepted_is_considered_first_and_always() -> None:
    others = {digest(n): Attestation(1 << n, 2 * HONEST, False) for n in range(64)}
    accepted = {digest(99): Attestation(0b1, DUST, True)}
    assert worth_considering({**others, **accepted})[0] == digest(99)


SIGNED = st.builds(
    Attestation,
    st.integers(1, 2**64 - 1),
    st.integers(1, 10**24),
    st.just(False),
)


@given(st.lists(SIGNED, max_size=80))
def test_there_is_a_bound_for_all_and_for_each(signed: list[Attestation]) -> None:
    proposals = {digest(n): attestation for n, attestation in enumerate(signed)}
    chosen = worth_considering(proposals)
    assert len(chosen) <= MAX_PROPOSALS
    stakes = [proposals[d].stake for d in chosen]
    assert stakes == sorted(stakes, reverse=True)
    for seat in range(64):
        alone = [d for d in chosen if proposals[d].signers == 1 << seat]
        assert len(alone) <= MAX_OF_ONE_SIGNER
    if proposals:
        assert proposals[chosen[0]].stake == max(a.stake for a in signed)
