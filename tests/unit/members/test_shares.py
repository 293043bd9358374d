"""Whether signatures are those of a quorum, by the contract's arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.chain.shares.types import Seat, ordered
from fl_orchestrator.members.shares import Quorum


def seats_of(*stakes: int) -> list[Seat]:
    return [Seat(number, f"0x{number + 1:040x}", stake) for number, stake in enumerate(stakes)]


@pytest.mark.parametrize(
    ("stakes", "signed", "reached"),
    [
        ([1], [0], True),
        ([1], [], False),
        ([1, 1], [0], False),
        ([1, 1, 1], [0, 1], False),
        ([1, 1, 1, 1], [0, 1, 2], True),
        ([1, 1, 1, 1], [0, 1], False),
        ([1_000, 1, 1, 1, 1], [0], False),
        ([1_000, 1, 1, 1, 1], [0, 1], False),
        ([1_000, 1, 1, 1, 1], [0, 1, 2], True),
        ([1_000, 1, 1, 1, 1], [1, 2, 3, 4], False),
        ([1, 1, 1, 0], [0, 1, 2, 3], True),
        ([0, 0], [0, 1], False),
        ([], [], False),
    ],
)
def test_a_quorum_has_the_stake_and_the_seats(
    stakes: list[int], signed: list[int], reached: bool
) -> None:
    assert Quorum.of(seats_of(*stakes), signed).is_reached is reached


@given(st.lists(st.integers(0, 1 << 96), max_size=64), st.integers(0, (1 << 64) - 1))
def test_it_is_what_the_contract_computes(stakes: list[int], bitmap: int) -> None:
    signed = [number for number in range(len(stakes)) if bitmap >> number & 1]
    stake, count = sum(stakes[n] for n in signed), sum(stakes[n] != 0 for n in signed)
    seats = sum(stake != 0 for stake in stakes)
    in_solidity = not (3 * stake <= 2 * sum(stakes) or 2 * count <= seats)
    quorum = Quorum.of(seats_of(*stakes), signed)
    assert quorum.is_reached is in_solidity
    assert len(quorum.signed) + len(quorum.missing) == seats


def test_shares_are_in_the_order_of_their_accounts_and_none_is_zero() -> None:
    low, high, none = ("0x" + digit * 40 for digit in "1bc")
    assert [share.account for share in ordered({high: 2, low: 1, none: 0})] == [low, high]
