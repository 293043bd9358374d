"""Partitions: every row dealt once, enough for everybody, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_orchestrator.training.data import (
    MIN_ROWS,
    BadPartition,
    FeatureScale,
    Indices,
    PartitionSpec,
    Rows,
    concatenate,
    partition,
    stratified_split,
)

LABELS = np.repeat(np.arange(3), [200, 150, 100]).astype(np.int32)


def deal(spec: str, parties: int = 5, seed: int = 0) -> list[Indices]:
    return partition(PartitionSpec.parse(spec), LABELS, {}, parties, seed)


@settings(max_examples=40, deadline=None)
@given(
    spec=st.sampled_from(["iid", "dirichlet:0.5", "dirichlet:5", "shards:2", "shards:3"]),
    parties=st.integers(1, 10),
    seed=st.integers(0, 2**32),
)
def test_every_row_goes_to_exactly_one_party_and_each_gets_enough(
    spec: str, parties: int, seed: int
) -> None:
    dealt = deal(spec, parties, seed)
    assert len(dealt) == parties
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(LABELS)))
    assert min(map(len, dealt)) >= MIN_ROWS


@pytest.mark.parametrize("spec", ["iid", "dirichlet:0.5", "shards:2"])
def test_a_partition_follows_its_seed(spec: str) -> None:
    first, again, other = deal(spec, seed=1), deal(spec, seed=1), deal(spec, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_small_alpha_skews_labels_and_a_large_one_does_not() -> None:
    def largest_share(alpha: float) -> float:
        shares = [
            np.bincount(LABELS[indices], minlength=3).max() / len(indices)
            for seed in range(5)
            for indices in deal(f"dirichlet:{alpha}", seed=seed)
        ]
        return float(np.mean(shares))

    overall = 200 / 450
    assert largest_share(1000) == pytest.approx(overall, abs=0.03)
    assert largest_share(0.1) > 0.8


def test_a_party_of_two_shards_sees_few_labels() -> None:
    for indices in deal("shards:2", parties=9):
        assert len(indices) == 50
        assert len(np.unique(LABELS[indices])) <= 3
    assert any(len(np.unique(LABELS[indices])) < 3 for indices in deal("shards:2", parties=9))


def test_draws_with_too_few_rows_are_repeated_by_seed() -> None:
    # With this alpha most single draws starve somebody.
    for seed in range(5):
        assert min(map(len, deal("dirichlet:0.1", parties=8, seed=seed))) >= MIN_ROWS


def test_a_partition_that_starves_a_party_in_every_draw_is_refused() -> None:
    with pytest.raises(BadPartition, match=r"gave each of 50 parties 8 rows.*Use fewer parties"):
        deal("dirichlet:0.001", parties=50)


def test_more_parties_than_rows_allow_are_refused() -> None:
    with pytest.raises(BadPartition, match="at most 56 parties"):
        deal("iid", parties=57)
    with pytest.raises(BadPartition, match="at least one party"):
        deal("iid", parties=0)


def test_a_column_makes_its_groups_the_parties() -> None:
    hospital = np.repeat([0, 1, 2, 3], [100, 200, 100, 50])
    dealt = partition(PartitionSpec.parse("column:hospital"), LABELS, {"hospital": hospital}, 4, 0)
    assert [len(indices) for indices in dealt] == [100, 200, 100, 50]
    assert all(len(set(hospital[indices])) == 1 for indices in dealt)


def test_a_column_that_does_not_fit_is_refused() -> None:
    groups = {"hospital": np.repeat([0, 1], [445, 5])}
    column = PartitionSpec.parse("column:hospital")
    with pytest.raises(BadPartition, match="no column 'hospital'"):
        partition(column, LABELS, {}, 2, 0)
    with pytest.raises(BadPartition, match="makes 2 parties, not 3"):
        partition(column, LABELS, groups, 3, 0)
    with pytest.raises(BadPartition, match="a party with 5 rows"):
        partition(column, LABELS, groups, 2, 0)


@pytest.mark.parametrize(
    "spec",
    [
        *("", "IID", "iid:", "iid:2", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1"),
        *("dirichlet:nan", "dirichlet:inf", "dirichlet:x", "shards", "shards:0", "shards:1.5"),
        *("shards:-2", "column", "column:", "random"),
    ],
)
def test_a_misspelt_partition_is_refused(spec: str) -> None:
    with pytest.raises(BadPartition, match="is not a partition"):
        PartitionSpec.parse(spec)


def test_a_party_holds_no_reference_to_the_rows_of_others() -> None:
    everything = Rows(np.arange(40, dtype=np.float32).reshape(20, 2), np.zeros(20, np.int32))
    own = everything.take(np.array([1, 3]))
    assert own.x.base is None
    assert own.y.base is None
    everything.x[:] = -1
    assert own.x.tolist() == [[2, 3], [6, 7]]
    assert len(own) == 2


def test_concatenated_rows_keep_their_order() -> None:
    parts = [Rows(np.full((n, 1), n, np.float32), np.full(n, n, np.int32)) for n in (1, 2)]
    assert concatenate(parts).x.tolist() == [[1], [2], [2]]
    assert concatenate(parts).y.tolist() == [1, 2, 2]


def test_a_scale_of_one_value_stands_for_all_features() -> None:
    x = np.array([[0, 255], [51, 102]], np.float32)
    scaled = FeatureScale((0.0,), (255.0,)).apply(x)
    assert scaled.dtype == np.float32
    assert scaled.tolist() == np.array([[0, 1], [0.2, 0.4]], np.float32).tolist()


def test_own_rows_scale_to_mean_zero_and_deviation_one_and_a_constant_to_zero() -> None:
    x = np.random.default_rng(0).normal(50, 9, (30, 3)).astype(np.float32)
    x[:, 1] = 4
    scaled = FeatureScale.of_own_rows(x).apply(x)
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert scaled.std(axis=0, ddof=1) == pytest.approx([1, 0, 1], abs=1e-6)


def test_a_stratified_split_keeps_the_share_of_each_class() -> None:
    train, test = stratified_split(LABELS, 0.25)
    assert sorted([*train, *test]) == list(range(len(LABELS)))
    assert np.bincount(LABELS[test]).tolist() == [50, 38, 25]
