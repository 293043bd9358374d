"""Which aggregators could read an update together, and whether a party accepts them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.privacy.sets import cannot_read
from fl_orchestrator.roles.party.readers import Readers

A, B, C, D = "0xAa", "0xBb", "0xCc", "0xDd"


def of(*stakes: int, secrecy: int = 2, trusts: frozenset[str] | None = None) -> Readers:
    return Readers(tuple(zip((A, B, C, D), stakes, strict=False)), secrecy, trusts)


def test_three_of_four_equal_seats_read_together_or_two_if_a_third_is_enough() -> None:
    assert (of(1, 1, 1, 1).fewest, of(1, 1, 1, 1, secrecy=1).fewest) == (3, 2)
    assert of(1, 1, 1, 1).alone is None


def test_a_seat_with_a_quorum_reads_alone() -> None:
    readers = of(1, 7, 1, 1)
    assert (readers.alone, readers.fewest) == (B, 1)
    assert of(1, 6, 1, 1).alone is None


def test_all_seats_are_trusted_unless_some_are_named() -> None:
    assert of(1, 7, 1, 1).accepted
    assert of(1, 7, 1, 1).others == ()


def test_the_seats_outside_the_list_may_have_as_much_as_cannot_read() -> None:
    assert of(1, 1, 1, 1, trusts=frozenset({A.lower(), B.upper().replace("X", "x")})).accepted
    only_one = of(1, 1, 1, 1, trusts=frozenset({A}))
    assert only_one.others == ((B, 1), (C, 1), (D, 1))
    assert not only_one.accepted
    assert not of(1, 1, 1, 1, trusts=frozenset({"0xEe"})).accepted
    assert of(1, 1, 1, trusts=frozenset({A})).accepted


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([1, 2]))
def test_the_fewest_readers_are_the_smallest_set_that_can_read(
    stakes: list[int], secrecy: int
) -> None:
    places = range(len(stakes))
    smallest = next(
        size
        for size in range(1, len(stakes) + 1)
        if any(
            not cannot_read(stakes, secrecy, sum(1 << p for p in chosen))
            for chosen in itertools.combinations(places, size)
        )
    )
    assert of(*stakes, secrecy=secrecy).fewest == smallest
