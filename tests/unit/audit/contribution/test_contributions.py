"""Contributions in real federations: hand-computed, summing up, and the same for everybody."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disputes import submit_updates, submit_vectors, update_vector, vector_federation
from support.federation import CLASSES, SmallFederation, rows_of, small_manifest
from support.private_federation import SmallPrivateFederation
from vectors import arithmetic

from fl_orchestrator.audit.contribution.contributions import (
    Contributions,
    Evaluate,
    NotMeasured,
    OnlySums,
    Settings,
)
from fl_orchestrator.audit.federation import Federation
from fl_orchestrator.errors import InputError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.rules import RuleKind, ServerStep
from fl_orchestrator.roles.party.rehearsal import evaluation
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.trainer import FloatArray, Metrics

FIRST = Settings(measure="first")


def first_value(weights: list[FloatArray], _round: int) -> tuple[Metrics, int]:
    return {"first": float(weights[0].flat[0])}, 1


def measured(
    world: SmallFederation, evaluate: Evaluate = first_value, settings: Settings = FIRST
) -> dict[str, Any]:
    auditor = Federation(world.federation, world.store, world.deployment.block)
    contributions = Contributions(auditor, evaluate, settings)
    outcomes = list(auditor.outcomes(contributions.look))
    assert [error for _, error in outcomes if error] == []
    return contributions.to_json()


def on_rows(manifest: Manifest, party: int = 50) -> Evaluate:
    """On the rows of somebody, as the command line does it."""
    trainer = NumpyLogistic(rows_of(party), CLASSES)
    return lambda weights, number: evaluation(trainer, manifest, weights, number)


def accept(world: SmallFederation) -> None:
    assert world.aggregator(0).step().action == "attest"


def by_all_orders(utility: Callable[[tuple[int, ...]], float], players: int) -> list[Fraction]:
    """The definition, in all orders of the players."""
    sums = [Fraction(0)] * players
    for order in itertools.permutations(range(players)):
        for place, player in enumerate(order):
            before, after = tuple(sorted(order[:place])), tuple(sorted(order[: place + 1]))
            sums[player] += Fraction(utility(after)) - Fraction(utility(before))
    return [total / math.factorial(players) for total in sums]


RULES: list[tuple[RuleKind, Callable[[list[int], list[int]], int]]] = [
    (RuleKind.WEIGHTED_MEAN, arithmetic.weighted_mean),
    (RuleKind.MEDIAN, lambda values, _: arithmetic.median(values)),
]


@pytest.mark.parametrize(("rule", "step"), RULES, ids=[kind.label for kind, _ in RULES])
def test_the_values_are_those_of_the_definition_with_the_protocols_integers(
    tmp_path: Path, rule: RuleKind, step: Callable[[list[int], list[int]], int]
) -> None:
    world = vector_federation(tmp_path, rule=rule, updates=5)
    submit_updates(world)
    accept(world)
    bits = world.manifest.update_fraction_bits
    values = [int(update_vector(world, party, 1)[0]) for party in range(5)]

    def utility(some: tuple[int, ...]) -> float:
        moved = step([values[i] for i in some], [1 + i for i in some]) if some else 0
        return arithmetic.view(arithmetic.next_state(2**22, moved, bits), 0)

    found = measured(world)
    right = dict(zip([k.address for k in world.parties], by_all_orders(utility, 5), strict=True))
    assert {one["party"]: one["shapley"] for one in found["parties"]} == {
        party: float(value) for party, value in right.items()
    }
    assert {one["standardError"] for one in found["parties"]} == {0.0}
    everybody = tuple(range(5))
    for number, key in enumerate(world.parties):
        (one,) = [one for one in found["parties"] if one["party"] == key.address]
        without = utility(tuple(i for i in everybody if i != number))
        assert one["leaveOneOut"] == float(Fraction(utility(everybody)) - Fraction(without))
    assert found["gained"] == float(Fraction(utility(everybody)) - Fraction(utility(())))
    assert found["evaluations"] == 32


def test_with_momentum_nobody_is_credited_with_the_movement_of_earlier_rounds(
    tmp_path: Path,
) -> None:
    server = ServerStep(learning_rate_bps=5_000, momentum_bps=9_000)
    world = vector_federation(tmp_path, server=server)
    state, momentum = 2**22, 0
    bits = world.manifest.update_fraction_bits
    wanted: dict[str, Fraction] = {key.address: Fraction(0) for key in world.parties}
    for number in (1, 2):
        submit_updates(world, number)
        accept(world)
        values = [int(update_vector(world, party, number)[0]) for party in range(3)]

        def moved(
            some: tuple[int, ...],
            values: list[int] = values,
            state: int = state,
            momentum: int = momentum,
        ) -> tuple[int, int]:
            weights = [1 + i for i in some]
            step = arithmetic.weighted_mean([values[i] for i in some], weights) if some else 0
            return arithmetic.server_step(state, momentum, step, bits, 5_000, 9_000)

        shares = by_all_orders(lambda some: arithmetic.view(moved(some)[0], 0), 3)
        for key, share in zip(world.parties, shares, strict=True):
            wanted[key.address] += share
        state, momentum = moved((0, 1, 2))
    found = measured(world)
    assert {one["party"]: one["shapley"] for one in found["parties"]} == {
        party: float(value) for party, value in wanted.items()
    }
    # The second round moves the model even without an update.
    first, second = found["rounds"]
    assert second["none"] != first["all"]


def test_the_values_of_all_rounds_sum_to_what_the_head_gained(tmp_path: Path) -> None:
    world = SmallFederation(tmp_path, parties=4)
    for number in (1, 2, 3):
        world.run_round(world.everybody(), number)
    evaluate = on_rows(world.manifest)
    found = measured(world, evaluate, Settings())
    auditor = Federation(world.federation, world.store)
    first, last = (
        evaluate(list(auditor.weights(number).values()), 1)[0]["loss"] for number in (0, 3)
    )
    assert found["gained"] == float(Fraction(first) - Fraction(last)) > 0
    assert sum(one["shapley"] for one in found["parties"]) == pytest.approx(found["gained"])
    assert [one["rounds"] for one in found["parties"]] == [3] * 4
    assert [one["all"] for one in found["rounds"][:-1]] == [
        one["none"] for one in found["rounds"][1:]
    ]


def test_a_party_that_sends_zeros_gains_nothing_and_one_that_harms_loses(tmp_path: Path) -> None:
    world = vector_federation(tmp_path, parameters=300, updates=5)
    honest = [np.full(300, 4_000 + 100 * party, np.int16) for party in range(3)]
    submit_vectors(
        world, 1, [*honest, np.zeros(300, np.int16), np.full(300, -4_000, np.int16)], [10] * 5
    )
    accept(world)

    def distance(weights: list[FloatArray], _round: int) -> tuple[Metrics, int]:
        """From the best value of every coordinate, that all honest updates move to."""
        return {"loss": float(np.mean(np.abs(weights[0] - 0.5)))}, 1

    found = measured(world, distance, Settings())
    value = {one["party"]: one["shapley"] for one in found["parties"]}
    *good, idle, bad = [value[key.address] for key in world.parties]
    assert min(good) > 0
    # Not quite 0: zeros are a vote for no change, which shortens the mean's step.
    assert -min(good) / 2 < idle <= 0
    assert bad < 2 * idle


def test_the_same_seed_and_data_give_the_same_bytes_and_another_seed_others(
    tmp_path: Path,
) -> None:
    world = SmallFederation(tmp_path, parties=7)
    world.run_round(world.everybody())
    evaluate = on_rows(world.manifest)
    few = Settings(permutations=2, seed=1)
    once, again = (to_json(measured(world, evaluate, few)) for _ in range(2))
    assert once == again
    other = measured(world, evaluate, Settings(permutations=2, seed=2))
    assert other["parties"] != measured(world, evaluate, few)["parties"]
    on_others = measured(world, on_rows(world.manifest, 51), few)
    assert on_others["utilitiesDigest"] != measured(world, evaluate, few)["utilitiesDigest"]


def test_a_sample_states_an_error_and_the_exact_values_are_near(tmp_path: Path) -> None:
    world = SmallFederation(tmp_path, parties=7)
    world.run_round(world.everybody())
    evaluate = on_rows(world.manifest)
    sampled = measured(world, evaluate, Settings(permutations=14))
    exact = measured(world, evaluate, Settings(permutations=21))
    assert [one["rounds"][0]["method"] for one in (sampled, exact)] == ["sampled", "exact"]
    assert sampled["rounds"][0]["coalitions"] < exact["rounds"][0]["coalitions"] == 128
    for rough, right in zip(sampled["parties"], exact["parties"], strict=True):
        assert rough["standardError"] > 0
        low, high = rough["interval95"]
        assert low < right["shapley"] < high


def test_where_more_is_better_or_less_a_gain_is_positive(tmp_path: Path) -> None:
    world = SmallFederation(tmp_path)
    world.run_round(world.everybody())
    evaluate = on_rows(world.manifest)

    def turned(weights: list[FloatArray], number: int) -> tuple[Metrics, int]:
        metrics, rows = evaluate(weights, number)
        return {"error": 1 - metrics["accuracy"]}, rows

    better = measured(world, evaluate, Settings(measure="accuracy"))
    worse = measured(world, turned, Settings(measure="-error"))
    assert worse["lessIsBetter"]
    assert not better["lessIsBetter"]
    assert better["gained"] > 0
    assert worse["gained"] == pytest.approx(better["gained"])


def test_a_private_federation_has_only_sums(tmp_path: Path) -> None:
    world = SmallPrivateFederation(tmp_path)
    auditor = Federation(world.federation, world.store, world.deployment.block)
    with pytest.raises(OnlySums, match="only their sum is public") as refused:
        Contributions(auditor, first_value, FIRST)
    assert "what the chain tells of each party" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("metrics", "rows", "said"),
    [
        ({"loss": math.nan}, 3, "is nan"),
        ({"loss": math.inf}, 3, "is inf"),
        ({"accuracy": 0.5}, 3, "gives no 'loss'"),
        ({}, 0, "no validation rows"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(
    tmp_path: Path, metrics: Metrics, rows: int, said: str
) -> None:
    world = SmallFederation(tmp_path)
    world.run_round(world.everybody())
    with pytest.raises(NotMeasured, match=said):
        measured(world, lambda *_: (metrics, rows), Settings())


@pytest.mark.parametrize("wrong", [{"permutations": 1}, {"seed": -1}, {"seed": 1 << 256}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_updates_are_clipped_as_the_federation_clips_them(tmp_path: Path) -> None:
    limit = 5_000
    world = vector_federation(tmp_path, parameters=300, norm_limit=limit)
    submit_updates(world)
    accept(world)
    found = measured(world)["rounds"][0]
    values = [
        arithmetic.clipped_chunk(update_vector(world, party, 1)[:256].tolist(), limit)[0]
        for party in range(3)
    ]
    step = arithmetic.weighted_mean(values, [1, 2, 3])
    bits = small_manifest().update_fraction_bits
    assert found["all"] == arithmetic.view(arithmetic.next_state(2**22, step, bits), 0)
