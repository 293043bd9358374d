"""Sums of all sites' rows: exact, bounded, and the same plan everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fl_orchestrator.model.fixed_point import encode_update, genesis_state
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.training.preprocessing.statistics import (
    FRACTION_BITS,
    NAMES,
    BadStatistics,
    Categories,
    Numbers,
    Plan,
    StatisticsTrainer,
    statistics_of,
)

PLAN = Plan((Numbers("age", 0, 120), Categories("sex", ("f", "m"))), 10_000)


def columns(seed: int, rows: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    age = draw.normal(50 + seed, 12, rows)
    age[::7] = np.nan
    return {"age": age, "sex": draw.choice(["f", "m", "x", ""], rows)}


def summed(plan: Plan, tables: list[dict[str, Any]]) -> dict[str, Any]:
    """The model after one round in which these sites took part with equal weights."""
    layout = Layout.of((t.name, t.shape, 0) for t in plan.tensors)
    first = [np.zeros(t.shape, np.float32) for t in plan.tensors]
    state = genesis_state(layout, first)
    vectors = []
    for table in tables:
        trained, rows, _ = StatisticsTrainer(plan, table).fit(first, {})
        assert rows == 1
        encoded = encode_update(layout, FRACTION_BITS, trained, state)
        assert encoded.clipped == 0
        vectors.append(encoded.vector.astype(np.float64))
    # As the rule rounds the mean.
    mean = np.floor(np.mean(vectors, axis=0) + 0.5) / 2.0**FRACTION_BITS
    flat = [mean[t.start : t.stop].astype(np.float32) for t in layout.tensors]
    return dict(zip(NAMES, flat, strict=True))


def test_the_sums_of_sites_of_very_different_sizes_are_those_of_the_pooled_rows() -> None:
    tables = [columns(0, 9_000), columns(1, 3), columns(2, 700)]
    found = statistics_of(PLAN, summed(PLAN, tables), len(tables))
    age = np.concatenate([table["age"] for table in tables])
    sex = np.concatenate([table["sex"] for table in tables])
    assert found.rows == 9_703
    one = found.numbers["age"]
    assert one.rows == np.isfinite(age).sum()
    assert one.mean == pytest.approx(np.nanmean(age), abs=1e-4)
    assert one.scale == pytest.approx(np.nanstd(age), rel=1e-4)
    assert found.categories["sex"] == {
        "f": (sex == "f").sum(),
        "m": (sex == "m").sum(),
        None: (sex == "x").sum(),
    }


def test_values_out_of_bounds_count_as_the_nearest_and_a_constant_keeps_its_scale() -> None:
    plan = Plan((Numbers("a", 0, 10), Numbers("b", 0, 10), Numbers("c", 0, 10)), 10)
    nothing = [np.nan, np.nan]
    table = {"a": [-1e9, 1e9], "b": [4, 4], "c": nothing}
    found = statistics_of(plan, summed(plan, [table]), 1).numbers
    assert found["a"].mean == pytest.approx(5)
    assert found["a"].scale == pytest.approx(5)
    assert found["b"].mean == pytest.approx(4, abs=1e-5)
    assert found["b"].scale == 1
    assert (found["c"].rows, found["c"].mean, found["c"].scale) == (0, 5.0, 5.0)


def test_a_hundred_sites_are_summed_exactly() -> None:
    plan = Plan((Categories("kind", ("a", "b")),), 1 << 20)
    draw = np.random.default_rng(0)
    tables = [{"kind": draw.choice(["a", "b", "c"], draw.integers(1, 50))} for _ in range(100)]
    found = statistics_of(plan, summed(plan, tables), 100)
    everything = np.concatenate([table["kind"] for table in tables])
    assert found.rows == len(everything)
    assert found.categories["kind"] == {
        "a": (everything == "a").sum(),
        "b": (everything == "b").sum(),
        None: (everything == "c").sum(),
    }


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Plan((), 10), "different names"),
        (lambda: Plan((Numbers("a", 0, 1), Categories("a", ())), 10), "different names"),
        (lambda: Plan((Numbers("a", 1, 1),), 10), "bounds of a"),
        (lambda: Plan((Numbers("a", 0, float("inf")),), 10), "bounds of a"),
        (lambda: Plan((Numbers("a", 0, 1),), 0), "most_rows is 0"),
        (lambda: StatisticsTrainer(PLAN, {"age": [1]}), "no column 'sex'"),
        (lambda: StatisticsTrainer(PLAN, {"age": [1], "sex": []}), "different numbers of rows"),
        (lambda: StatisticsTrainer(PLAN, {"age": [], "sex": []}), "0 rows"),
        (lambda: StatisticsTrainer(PLAN, columns(0, 10_001)), "10,001 rows"),
        (lambda: StatisticsTrainer(PLAN, {"age": ["old"], "sex": ["f"]}), "has texts"),
        (lambda: statistics_of(PLAN, {"other": np.zeros(1, np.float32)}, 1), "other tensors"),
    ],
)
def test_what_cannot_be_summed_is_refused_in_a_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(BadStatistics, match=sentence):
        make()


def test_sites_with_other_bounds_have_another_digest() -> None:
    other = Plan((Numbers("age", 0, 121), PLAN.columns[1]), PLAN.most_rows)
    assert StatisticsTrainer(PLAN, columns(0, 5)).architecture() == PLAN.digest != other.digest
