"""Shapley values: by their definition, by all orders, and by a sample of them."""

from __future__ import annotations

import hashlib
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from fl_orchestrator.audit.contribution.shapley import (
    Utilities,
    Value,
    exact_values,
    groups_of,
    is_enumerated,
    sampled_values,
    seeded_groups,
    student95,
)

NAMES = [f"0x{number:040x}" for number in range(6)]


def shapley(values: list[Value]) -> list[Fraction]:
    return [value.shapley for value in values]


def of_table(players: int, seed: int = 0) -> Utilities:
    """A game with no structure at all."""
    draw = np.random.Generator(np.random.PCG64(seed))
    table = draw.normal(size=1 << players).tolist()
    return Utilities(lambda coalition: table[coalition])


def gloves(coalition: int) -> float:
    """One left glove, two right ones: a pair is worth 1. Known values: 2/3, 1/6, 1/6."""
    return float(bool(coalition & 1) and bool(coalition & 0b110))


def test_the_glove_game_has_its_known_values() -> None:
    values = exact_values(Utilities(gloves), 3)
    assert shapley(values) == [Fraction(2, 3), Fraction(1, 6), Fraction(1, 6)]
    assert [value.leave_one_out for value in values] == [1, 0, 0]
    assert {value.variance for value in values} == {0}


def test_in_a_sum_everybody_has_its_own_part() -> None:
    parts = [0.5, -2.0, 0.0, 3.25]
    game = Utilities(lambda s: sum(part for i, part in enumerate(parts) if s >> i & 1))
    groups = seeded_groups(7, b"", NAMES[:4], 10)
    for values in (exact_values(game, 4), sampled_values(game, 4, groups)):
        assert shapley(values) == [Fraction(part) for part in parts]
        assert [value.leave_one_out for value in values] == parts
        assert {value.variance for value in values} == {0}


@pytest.mark.parametrize("players", [1, 2, 3, 5])
def test_all_orders_give_the_exact_values(players: int) -> None:
    game = of_table(players)
    orders = [*itertools.permutations(range(players))]
    # One group has no error, so they are taken twice.
    sampled = sampled_values(game, players, [orders, orders])
    assert shapley(sampled) == shapley(exact_values(game, players))
    assert len(game.known) == 1 << players


@pytest.mark.parametrize("players", [1, 2, 4, 6])
def test_the_values_sum_to_what_all_gain_exactly(players: int) -> None:
    game = of_table(players, seed=3)
    gained = game((1 << players) - 1) - game(0)
    groups = seeded_groups(0, b"", NAMES[:players], 5)
    for values in (exact_values(game, players), sampled_values(game, players, groups)):
        assert sum(shapley(values), Fraction(0)) == gained


def test_a_player_that_changes_nothing_has_nothing() -> None:
    inner = of_table(3)
    game = Utilities(lambda s: float(inner(s & 0b111)))
    values = exact_values(game, 4)
    assert values[3] == Value(Fraction(0), Fraction(0), Fraction(0))


def test_the_stated_interval_has_the_right_value_95_times_in_a_hundred() -> None:
    players, count = 6, 8
    game = of_table(players, seed=5)
    exact = shapley(exact_values(game, players))
    inside = []
    for seed in range(300):
        groups = seeded_groups(seed, b"", NAMES, count)
        for value, right in zip(sampled_values(game, players, groups), exact, strict=True):
            off = abs(float(value.shapley - right))
            inside.append(off <= student95(count - 1) * math.sqrt(value.variance))
    assert 0.93 < float(np.mean(inside)) < 0.97


def test_a_gain_that_depends_on_the_place_alone_is_no_error() -> None:
    """As of FedAvg with alike updates: the first one moves the model, the others hardly do."""
    game = Utilities(lambda s: 1.0 - 0.5 ** (4 * s.bit_count()))
    values = sampled_values(game, 6, seeded_groups(0, b"", NAMES, 2))
    assert {value.variance for value in values} == {0}
    assert shapley(values) == shapley(exact_values(game, 6))


def test_orders_are_a_function_of_seed_scope_and_names() -> None:
    groups = seeded_groups(1, b"round 1", NAMES, 50)
    assert groups == seeded_groups(1, b"round 1", NAMES, 50)
    assert groups[:20] == seeded_groups(1, b"round 1", NAMES, 20)
    assert groups != seeded_groups(2, b"round 1", NAMES, 50)
    assert groups != seeded_groups(1, b"round 2", NAMES, 50)
    for group in groups:
        assert all(sorted(order) == list(range(6)) for order in group)
        assert all(sorted(place) == list(range(6)) for place in zip(*group, strict=True))
    # In whatever order the players are listed, it is the same order of names.
    turned = seeded_groups(1, b"round 1", NAMES[::-1], 50)
    assert [[[NAMES[i] for i in order] for order in group] for group in groups] == [
        [[NAMES[::-1][i] for i in order] for order in group] for group in turned
    ]


def test_orders_are_those_of_the_text_of_the_function() -> None:
    """So that somebody else's program finds the same ones."""
    ((order, second, *_),) = seeded_groups(5, b"\x01", NAMES, 1)
    head = (5).to_bytes(32, "big") + (0).to_bytes(8, "big") + b"\x01"
    ranks = {i: hashlib.sha256(head + NAMES[i].encode()).hexdigest() for i in range(6)}
    assert order == sorted(ranks, key=ranks.__getitem__)
    assert second == [*order[1:], order[0]]


def test_every_player_is_as_likely_to_follow_another() -> None:
    firsts = [group[0] for group in seeded_groups(0, b"", NAMES, 6_000)]
    for place in range(6):
        counts = np.bincount([order[place] for order in firsts], minlength=6)
        # 1,000 each; a deviation of 6 sigma is 173.
        assert np.abs(counts - 1_000).max() < 173


@pytest.mark.parametrize(
    ("players", "permutations", "groups", "enumerated"),
    [(1, 2, 2, True), (3, 2, 2, True), (5, 2, 2, True), (10, 110, 11, False), (10, 111, 12, True)],
)
def test_few_players_need_no_sample(
    players: int, permutations: int, groups: int, enumerated: bool
) -> None:
    assert groups_of(players, permutations) == groups
    assert is_enumerated(players, groups) is enumerated


@pytest.mark.parametrize(
    ("freedom", "point"), [(1, 12.706), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_the_points_of_students_distribution_are_those_of_its_tables(
    freedom: int, point: float
) -> None:
    assert student95(freedom) == pytest.approx(point, abs=1.5e-3)


def test_each_coalition_is_evaluated_once() -> None:
    asked: list[int] = []

    def utility(coalition: int) -> float:
        asked.append(coalition)
        return float(coalition.bit_count())

    game = Utilities(utility)
    sampled_values(game, 4, seeded_groups(0, b"", NAMES[:4], 200))
    exact_values(game, 4)
    assert sorted(asked) == list(range(16))
