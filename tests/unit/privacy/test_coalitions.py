"""A coalition short of a quorum sees one sum of the honest parties, and nothing else.

All seat tables of up to five seats with stakes of 1 to 4, both values of ``secrecy``, all
coalitions that must not read, up to four parties of which any collude, all locks, and all
expulsions of colluding parties. What seats hold and release comes from the product's functions.
Each rule that section 12 names is then broken, and the coalition sees more.
"""

import functools
import random
from collections.abc import Iterator
from itertools import combinations, combinations_with_replacement, product

import pytest
from support.knowledge import RING, Knowledge, Label, echelon, generates, own_pair

from fl_orchestrator.privacy.release import indices, labels_for_expulsion, labels_for_lock
from fl_orchestrator.privacy.sets import cannot_read, maximal_sets, sets_without

SEATS, STAKES, PARTIES = 5, (1, 2, 3, 4), 4


def tables() -> Iterator[tuple[tuple[int, ...], int]]:
    for size in range(1, SEATS + 1):
        for stakes in combinations_with_replacement(STAKES, size):
            yield from ((stakes, secrecy) for secrecy in (1, 2))


def held(sets: tuple[int, ...], members: int) -> frozenset[int]:
    """The sets whose share a coalition of seats has."""
    return frozenset(a for p in indices(members) for a in sets_without(sets, p))


@functools.cache
def coalitions(*, reading: bool = False) -> frozenset[tuple[int, frozenset[int]]]:
    """The numbers of sets and the known ones, of all coalitions that can read or cannot."""
    found = set()
    for stakes, secrecy in tables():
        sets = maximal_sets(stakes, secrecy)
        for members in range(1 << len(stakes)):
            if cannot_read(stakes, secrecy, members) != reading:
                found.add((len(sets), held(sets, members)))
    return frozenset(found)


def by_number(
    found: frozenset[tuple[int, frozenset[int]]],
) -> list[tuple[int, frozenset[int]]]:
    """One coalition for each number of sets and of known ones: which ones makes no difference."""
    return list({(count, len(known)): (count, known) for count, known in found}.values())


def subsets(members: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for size in range(len(members) + 1):
        yield from combinations(members, size)


def as_bits(members: tuple[int, ...]) -> int:
    return sum(1 << k for k in members)


def rounds() -> Iterator[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """(size, honest, locked) of all rounds with an honest party."""
    for size in range(1, PARTIES + 1):
        everybody = tuple(range(size))
        for honest, locked in product(subsets(everybody), subsets(everybody)):
            if honest:
                yield size, honest, locked


def opened(size: int, locked: tuple[int, ...], expelled: tuple[int, ...] = ()) -> set[Label]:
    """What honest seats release for a lock, and after expulsions."""
    labels = set(labels_for_lock(size, as_bits(locked)))
    for k in expelled:
        labels |= set(labels_for_expulsion(as_bits(locked), k))
    return labels


@pytest.mark.parametrize("size", range(1, PARTIES + 1))
def test_a_coalition_that_must_not_read_sees_only_the_sum(size: int) -> None:
    cases = 0
    for count, known in coalitions() if size < PARTIES else by_number(coalitions()):
        for _, honest, locked in (r for r in rounds() if r[0] == size):
            colluding = tuple(k for k in locked if k not in honest)
            for expelled in subsets(colluding):
                knows = Knowledge(size, count, known, honest)
                knows.release(opened(size, locked, expelled))
                assert knows.sees_only(locked), (count, known, honest, locked, expelled)
                cases += 1
    assert cases >= 10 * 3**size


@pytest.mark.parametrize("size", range(1, PARTIES + 1))
def test_without_a_release_it_sees_nothing(size: int) -> None:
    for count, known in coalitions():
        for honest in subsets(tuple(range(size))):
            assert Knowledge(size, count, known, honest).sees_only(())


def test_the_sum_itself_is_seen_by_all() -> None:
    """What is released suffices: the public, without any share of its own, has the sum."""
    for size, honest, locked in rounds():
        expelled = tuple(k for k in locked if k not in honest)
        for members in (expelled, ()):
            knows = Knowledge(size, 6, frozenset(), honest).release(opened(size, locked, members))
            assert knows.sees({k: 1 for k in locked if k in honest})


def test_with_everybody_honest_the_public_has_nothing_but_the_sum() -> None:
    for size, _, locked in rounds():
        everybody = tuple(range(size))
        knows = Knowledge(size, 6, frozenset(), everybody).release(opened(size, locked))
        assert knows.sees_only(locked)


def test_the_tables_have_coalitions_of_every_kind() -> None:
    assert {count for count, _ in coalitions()} >= {1, 2, 3, 4, 5, 6, 10}
    assert all(len(known) < count for count, known in coalitions())
    assert all(len(known) == count for count, known in coalitions(reading=True))


# What follows breaks one rule each. In all of it, the coalition must see more.

FOUR = tuple(range(4))
ONE_SET = (1, frozenset[int]())


def broken(honest: tuple[int, ...], labels: set[Label], **more: object) -> Knowledge:
    return Knowledge(4, *ONE_SET, honest, **more).release(labels)  # type: ignore[arg-type]


def test_a_coalition_with_more_stake_reads_every_update() -> None:
    for count, known in coalitions(reading=True):
        knows = Knowledge(4, count, known, FOUR)
        assert all(knows.sees({k: 1}) for k in FOUR)
        assert not knows.sees_only(FOUR)


def test_seats_that_release_for_two_locks_show_the_sums_of_both() -> None:
    for first, second in combinations([s for s in subsets(FOUR) if s], 2):
        knows = broken(FOUR, opened(4, first) | opened(4, second))
        assert knows.sees(dict.fromkeys(first, 1))
        assert knows.sees(dict.fromkeys(second, 1))
        assert not knows.sees_only(first)
        assert not knows.sees_only(second)


def test_a_lock_over_places_would_be_one_word_for_two_sets_of_parties() -> None:
    """Two forks have the reveals in another order; 0b0111 of places is confirmed on both."""
    here, there = [0, 1, 2, 3], [3, 0, 1, 2]
    locks = [tuple(sorted(order[place] for place in range(3))) for order in (here, there)]
    knows = broken(FOUR, opened(4, locks[0]) | opened(4, locks[1]))
    assert knows.sees({2: 1, 3: -1})
    assert not knows.sees_only(locks[0])


def test_the_pieces_of_two_locked_parties_labels_open_single_parties() -> None:
    everything = {(k, label) for k in FOUR for label in FOUR}
    knows = broken(FOUR, everything)
    assert all(knows.sees({k: 1}) for k in FOUR)


def test_the_pieces_of_a_party_that_is_not_locked_open_it() -> None:
    labels = opened(4, (0, 1, 2)) | {(3, label) for label in FOUR}
    knows = broken(FOUR, labels)
    assert knows.sees({3: 1})
    assert not knows.sees_only((0, 1, 2))


def test_without_indices_in_the_pairs_a_copied_mask_key_opens_its_owner() -> None:
    """Party 3 copies the mask key of party 1 and drops out; its masks are those of 1."""

    def copied(i: int, j: int) -> Label:
        return own_pair(*(1 if k == 3 else k for k in (i, j)))

    honest, locked = (0, 1, 2), (0, 1, 2)
    assert broken(honest, opened(4, locked)).sees_only(locked)
    knows = broken(honest, opened(4, locked), pair=copied)
    assert knows.sees({1: 1})
    assert not knows.sees_only(locked)


def test_an_honest_party_that_one_seats_word_expels_is_opened() -> None:
    knows = broken(FOUR, opened(4, FOUR, expelled=(2,)))
    assert knows.sees({2: 1})
    assert not knows.sees_only(FOUR)


def test_a_party_that_tells_a_seed_of_another_pair_opens_more() -> None:
    """Seeds of honest pairs have to stay closed: here those of party 0 are told."""
    told = frozenset((0, label) for label in (1, 2, 3))
    knows = broken(FOUR, opened(4, FOUR), told=told)
    assert knows.sees({0: 1})
    assert not knows.sees_only(FOUR)


def test_two_updates_under_one_mask_show_their_difference() -> None:
    """After a retraining or a reorganisation: the masks of y and y' are the same streams."""
    once = list(Knowledge(4, *ONE_SET, FOUR).unknown_streams())
    twice = echelon([[*row, *row] for row in once], 8)
    difference = [1, 0, 0, 0, -1, 0, 0, 0]
    for row in twice:
        assert sum(a * b for a, b in zip(row, difference, strict=True)) % RING == 0
    apart = [[*row, 0, 0, 0, 0] for row in once] + [[0, 0, 0, 0, *row] for row in once]
    assert any(row[0] for row in apart)
    assert all(
        generates(echelon(apart, 8), [int(column == place) for column in range(8)])
        for place in range(8)
    )


def test_the_algebra_finds_what_a_search_through_a_small_module_finds() -> None:
    """Rows with entries that are no units too, against all combinations of the module."""
    draw, step = random.Random(7), 2**30
    for _ in range(60):
        rows = [[draw.randrange(4) * step for _ in range(3)] for _ in range(draw.randint(1, 3))]
        factors = product(range(4), repeat=len(rows))
        module = {
            tuple(
                sum(f * row[column] for f, row in zip(chosen, rows, strict=True)) % RING
                for column in range(3)
            )
            for chosen in factors
        }
        form = echelon(rows, 3)
        for target in product((0, step, 2 * step, 3 * step), repeat=3):
            assert generates(form, list(target)) == (target in module)
