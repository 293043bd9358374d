"""The sets of seats that cannot read."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden import each, unhex
from vectors.rounds import sets_of

from fl_orchestrator.privacy.sets import (
    MAX_SETS,
    SeatsError,
    cannot_read,
    maximal_sets,
    sets_without,
)

STAKES = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 2**96 - 1)), min_size=1, max_size=7)


@each("privateSets")
def test_the_sets_are_the_golden_ones(row: dict[str, Any]) -> None:
    stakes = [int.from_bytes(unhex(stake), "big") for stake in row["stakes"]]
    assert list(maximal_sets(stakes, row["secrecy"])) == row["sets"]


def test_as_many_sets_as_the_text_says() -> None:
    sizes = [len(maximal_sets([10**18] * n, 2)) for n in range(1, 11)]
    assert sizes == [1, 2, 3, 6, 10, 15, 35, 56, 84, 210]
    assert [len(maximal_sets([1] * n, 1)) for n in (4, 7, 10)] == [4, 21, 120]


@settings(max_examples=60)
@given(STAKES, st.sampled_from([1, 2]))
def test_the_sets_are_those_of_a_search_through_all(stakes: list[int], secrecy: int) -> None:
    assert list(maximal_sets(stakes, secrecy)) == sets_of(stakes, secrecy)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.sampled_from([1, 2]))
def test_who_cannot_read_lacks_a_share_and_who_can_lacks_none(
    stakes: list[int], secrecy: int
) -> None:
    sets = maximal_sets(stakes, secrecy)
    assert 1 <= len(sets) <= MAX_SETS
    assert list(sets) == sorted(set(sets))
    for members in range(1 << len(stakes)):
        held = {a for p in range(len(stakes)) if members >> p & 1 for a in sets_without(sets, p)}
        assert (len(held) < len(sets)) == cannot_read(stakes, secrecy, members)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.sampled_from([1, 2]))
def test_whoever_confirms_a_lock_can_open_it(stakes: list[int], secrecy: int) -> None:
    """A quorum, of more than 2/3 of the stake, has all shares."""
    for members in range(1 << len(stakes)):
        stake = sum(s for p, s in enumerate(stakes) if members >> p & 1)
        if 3 * stake > 2 * sum(stakes):
            assert not cannot_read(stakes, secrecy, members)


def test_exactly_the_limit_cannot_read() -> None:
    assert cannot_read([1, 1, 1], 1, 0b001)
    assert not cannot_read([1, 1, 1], 1, 0b011)
    assert cannot_read([1, 1, 1], 2, 0b011)
    assert not cannot_read([2, 1, 1], 2, 0b011)


@pytest.mark.parametrize(
    ("stakes", "secrecy", "words"),
    [
        ([], 2, "1 to 10"),
        ([1] * 11, 2, "1 to 10"),
        ([1, 0], 2, "without stake"),
        ([1], 0, "1 or 2"),
        ([1], 3, "1 or 2"),
    ],
)
def test_a_table_that_cannot_be_is_refused(stakes: list[int], secrecy: int, words: str) -> None:
    with pytest.raises(SeatsError, match=words):
        maximal_sets(stakes, secrecy)


@pytest.mark.parametrize("members", [-1, 0b100])
def test_a_position_outside_of_the_table_is_refused(members: int) -> None:
    with pytest.raises(SeatsError, match="positions"):
        cannot_read([1, 1], 2, members)
