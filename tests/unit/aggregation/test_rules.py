"""The rules against plain Python integers, and what they promise beside being right."""

import itertools
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from vectors import arithmetic

from fl_orchestrator.aggregation import kernels
from fl_orchestrator.aggregation.rules import (
    AggregationError,
    Median,
    TrimmedMean,
    WeightedMean,
    next_global,
    rule_for,
)
from fl_orchestrator.model.fixed_point import encode_update, float_view, genesis_state
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.model.vector_file import (
    VectorKind,
    VectorMeta,
    VectorReader,
    in_blocks,
    write_vector,
)

Updates = list[NDArray[np.int16]]
# Each rule with its defaults, then with each of its parameters at its limits.
RULES = [RuleSpec.of(kind) for kind in RuleKind] + [
    RuleSpec.of(kind, **{parameter.field: limit})
    for kind in RuleKind
    for parameter in kind.parameters
    for limit in (0, parameter.most)
]
MEAN = RuleSpec.of(RuleKind.WEIGHTED_MEAN)

values = st.one_of(st.integers(-32_768, 32_767), st.sampled_from([-32_768, -1, 0, 1, 32_767]))
weights = st.integers(1, 255)


@st.composite
def columns(draw: st.DrawFn) -> tuple[Updates, list[int]]:
    """Up to 100 weighted updates of up to 5 values."""
    shape = draw(st.tuples(st.integers(1, 100), st.integers(1, 5)))
    return (
        list(draw(arrays(np.int16, shape, elements=values))),
        draw(arrays(np.int64, shape[0], elements=weights)).tolist(),
    )


def run(rule: RuleSpec, updates: Updates, w: list[int], size: int = 1 << 15) -> list[int]:
    blocks = rule_for(rule).aggregate([in_blocks(update, size) for update in updates], w)
    aggregate: list[int] = np.concatenate(list(blocks)).tolist()
    return aggregate


def expected(rule: RuleSpec, updates: Updates, w: list[int]) -> list[int]:
    per_coordinate = zip(*(update.tolist() for update in updates), strict=True)
    return [formula(rule, list(values), w) for values in per_coordinate]


def formula(rule: RuleSpec, values: list[int], w: list[int]) -> int:
    match rule.kind:
        case RuleKind.WEIGHTED_MEAN:
            return arithmetic.weighted_mean(values, w)
        case RuleKind.MEDIAN:
            return arithmetic.median(values)
        case RuleKind.TRIMMED_MEAN:
            return arithmetic.trimmed_mean(values, rule.trim_bps)
        case _:
            assert_never(rule.kind)


@given(columns(), st.data())
def test_every_rule_is_the_formula(case: tuple[Updates, list[int]], data: st.DataObject) -> None:
    updates, w = case
    for kind in RuleKind:
        drawn = {p.field: data.draw(st.integers(0, p.most)) for p in kind.parameters}
        rule = RuleSpec.of(kind, **drawn)
        assert run(rule, updates, w) == expected(rule, updates, w)


@given(columns(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_neither_order_nor_block_size_matters(
    case: tuple[Updates, list[int]], shuffler: random.Random, size: int
) -> None:
    updates, w = case
    order = list(range(len(updates)))
    shuffler.shuffle(order)
    for rule in RULES:
        shuffled = run(rule, [updates[i] for i in order], [w[i] for i in order], size)
        assert shuffled == run(rule, updates, w)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 100])
def test_whole_blocks_are_the_formula_too(rule: RuleSpec, count: int) -> None:
    """Wide enough for every vector path of a kernel, and for a short last block."""
    rng = np.random.default_rng(count)
    updates = list(rng.integers(-32_768, 32_768, (count, 5_003), np.int16))
    w = rng.integers(1, 256, count).tolist()
    assert run(rule, updates, w, size=2_050) == expected(rule, updates, w)


@pytest.mark.parametrize("size", [4_095, 4_096, 4_097, 8_193])
@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 21])
def test_a_mean_of_blocks_of_several_tiles_is_the_formula_too(count: int, size: int) -> None:
    """Ten updates are added at a time, and 4,096 of their sums."""
    rng = np.random.default_rng(count)
    updates = list(rng.integers(-32_768, 32_768, (count, size), np.int16))
    w = rng.integers(1, 256, count).tolist()
    assert run(MEAN, updates, w) == expected(MEAN, updates, w)


@pytest.mark.parametrize("extreme", [-32_768, 32_767])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_hundred_extreme_updates_of_the_largest_weight_do_not_overflow(
    rule: RuleSpec, extreme: int
) -> None:
    updates = [np.full(40, extreme, np.int16)] * 100
    assert run(rule, updates, [255] * 100) == [extreme] * 40


def test_division_is_exact_for_every_sum_of_weights() -> None:
    for count in range(1, 25_501):
        most = 32_768 * count
        near = np.array([0, 1, count // 2, (count - 1) // 2, count, most - 1 - count], np.int64)
        sums = np.concatenate([near, -near, [-most, most - count]])
        sums = sums[(sums >= -most) & (sums <= 32_767 * count)].astype(np.int32)
        wanted = (2 * sums.astype(np.int64) + count) // (2 * count)
        assert np.array_equal(kernels.rounded_mean(sums, count), wanted), count


@given(st.integers(1, 25_500), st.data())
def test_division_is_exact(count: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(-32_768 * count, 32_767 * count))
    found = kernels.rounded_mean(np.array([total], np.int32), count)
    assert found.tolist() == [arithmetic.rounded(total, count)]


@pytest.mark.parametrize("size", range(1, 12))
def test_a_selection_network_selects(size: int) -> None:
    """By the 0-1 principle, a network that orders zeros and ones orders everything."""
    inputs = np.array(list(itertools.product((0, 1), repeat=size)), np.int16).T.copy()
    for low, high in itertools.combinations(range(size + 1), 2):
        rows, sums = inputs.copy(), np.zeros(inputs.shape[1], np.int32)
        kernels.add_ranks(sums, rows, kernels.selection_network(size, low, high), low, high)
        assert np.array_equal(rows[low:high], np.sort(inputs, axis=0)[low:high])
        assert np.array_equal(sums, rows[low:high].sum(axis=0))


def test_selecting_takes_fewer_comparators_than_sorting() -> None:
    assert len(kernels.selection_network(10, 4, 5)) < len(kernels.selection_network(10, 0, 10))


@given(st.integers(-(2**31), 2**31 - 1), columns(), st.integers(0, 24))
def test_the_next_state_is_the_formula(
    state: int, case: tuple[Updates, list[int]], fraction_bits: int
) -> None:
    updates, w = case
    base = np.full(updates[0].size, state, np.int32)
    steps = expected(MEAN, updates, w)
    blocks = next_global(
        WeightedMean(), in_blocks(base), [in_blocks(u) for u in updates], w, fraction_bits
    )
    found = np.concatenate(list(blocks)).tolist()
    assert found == [arithmetic.next_state(state, step, fraction_bits) for step in steps]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_a_round_is_within_a_step_of_float_fedavg(seed: int, parties: int) -> None:
    """At most 2^-15 in any weight, against float64 FedAvg of the same local weights."""
    rng = np.random.default_rng(seed)
    layout = Layout.of([("w", (40, 50), 0), ("b", (50,), 0)])
    genesis = [rng.uniform(-1, 1, t.shape).astype(np.float32) for t in layout.tensors]
    state = genesis_state(layout, genesis)
    start = float_view(layout, state)
    w = rng.integers(1, 256, parties)
    local = [
        [(s + rng.uniform(-0.9, 0.9, s.shape)).astype(np.float32) for s in start]
        for _ in range(parties)
    ]
    updates = [encode_update(layout, 15, weights, state).vector for weights in local]
    next_value = np.concatenate(
        list(
            next_global(
                WeightedMean(), in_blocks(state), [in_blocks(u) for u in updates], w.tolist(), 15
            )
        )
    )
    for tensor, start_weights in enumerate(start):
        deltas = [p[tensor].astype(np.float64) - start_weights for p in local]
        fedavg = start_weights + np.average(deltas, axis=0, weights=w)
        found = layout.split(next_value)[tensor] / 2.0**24
        assert np.abs(found - fedavg).max() <= 2**-15


def blocks_of(path: Path, layout: Layout) -> Iterator[NDArray[np.int16]]:
    with path.open("rb") as stream:
        yield from VectorReader(stream, layout).blocks()


@pytest.mark.parametrize("rule", RULES[: len(RuleKind)], ids=str)
def test_memory_does_not_grow_with_the_model(rule: RuleSpec, tmp_path: Path) -> None:
    peaks = []
    for parameters in (200_000, 2_000_000):
        layout = Layout.of([("w", [parameters], 0)])
        path = tmp_path / f"{parameters}.safetensors"
        meta = VectorMeta(VectorKind.UPDATE, 1, "0x" + "00" * 20, 1)
        with path.open("wb") as stream:
            write_vector(stream, layout, meta, in_blocks(np.ones(parameters, np.int16)))
        sum(1 for _ in rule_for(rule).aggregate([blocks_of(path, layout)] * 1, [1]))  # compiles
        tracemalloc.start()
        total = sum(
            int(block.sum())
            for block in rule_for(rule).aggregate(
                [blocks_of(path, layout) for _ in range(10)], [3] * 10
            )
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert total == parameters
    assert peaks[1] < 1.1 * peaks[0] < 5_000_000


def test_a_manifest_names_its_rule() -> None:
    assert rule_for(RuleSpec()) == WeightedMean()
    assert rule_for(RuleSpec(kind=RuleKind.MEDIAN)) == Median()
    assert rule_for(RuleSpec(kind=RuleKind.TRIMMED_MEAN, trim_bps=7)) == TrimmedMean(7)
    assert len({type(rule_for(RuleSpec.of(kind))) for kind in RuleKind}) == len(RuleKind)


ONE = np.ones(3, np.int16)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(
    ("updates", "w"),
    [
        ([], []),
        ([ONE] * 101, [1] * 101),
        ([ONE], [1, 1]),
        ([ONE], [0]),
        ([ONE], [256]),
        ([ONE], [-1]),
        ([ONE, np.ones(2, np.int16)], [1, 1]),
        ([ONE, ONE.astype(np.int32)], [1, 1]),
        ([ONE.astype(np.float32)], [1]),
        ([ONE, np.ones(9, np.int16)], [1, 1]),
        ([np.ones(4, np.int16), np.ones(8, np.int16)], [1, 1]),
    ],
)
def test_updates_that_no_rule_takes_are_refused(
    rule: RuleSpec, updates: Updates, w: list[int]
) -> None:
    with pytest.raises(AggregationError):
        run(rule, updates, w, size=4)


@pytest.mark.parametrize("trim_bps", [-1, 5000])
def test_a_trim_that_leaves_nothing_is_refused(trim_bps: int) -> None:
    with pytest.raises(AggregationError):
        list(TrimmedMean(trim_bps).aggregate([in_blocks(ONE)], [1]))


@pytest.mark.parametrize("size", [2, 4])
def test_a_base_that_does_not_match_the_updates_is_refused(size: int) -> None:
    base = in_blocks(np.zeros(size, np.int32), 3)
    with pytest.raises(AggregationError):
        list(next_global(Median(), base, [[ONE]], [1], 15))


def test_a_base_of_another_type_is_refused() -> None:
    base: list[Any] = [np.zeros(3, np.float32)]
    with pytest.raises(AggregationError):
        list(next_global(Median(), base, [[ONE]], [1], 15))
