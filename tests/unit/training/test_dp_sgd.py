"""DP-SGD: what clips, what samples, what the noise is, and that nobody can predict it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.dp_sgd import (
    BadProtection,
    CannotProtect,
    Mechanism,
    PrivateTrainer,
    Protection,
    RowsChanged,
    clipped_sum,
    gaussian,
    poisson_sample,
    seeded,
)
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights, tensors
from fl_orchestrator.training.trainer import FloatArray, Metrics

CONFIG = {"seed": 3, "epochs": 5, "batchSize": 16, "learningRate": 0.1}


def blobs(rows: int = 120, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, rows).astype(np.int32)
    centres = np.array([[2, 0, 0, 1], [0, 2, 0, 1], [0, 0, 2, 1]])
    return Rows((centres[y] + draw.normal(0, 0.5, (rows, 4))).astype(np.float32), y)


def some_weights(seed: int = 5) -> list[FloatArray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=t.shape).astype(np.float32) for t in tensors(4, 3)]


def test_gradients_of_rows_equal_training_on_each_row_alone() -> None:
    rows, weights = blobs(9), some_weights()
    exact = [array.astype(np.float64) for array in weights]
    together = NumpyLogistic(rows, 3).row_gradients(exact, np.arange(9))
    for number in range(9):
        alone = NumpyLogistic(rows.take(np.array([number])), 3)
        moved, _, _ = alone.fit(weights, {**CONFIG, "steps": 1, "batchSize": 1})
        for before, after, gradient in zip(weights, moved, together, strict=True):
            slope = (before.astype(np.float64) - after) / CONFIG["learningRate"]
            np.testing.assert_allclose(gradient[number], slope, atol=1e-5)


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5).map(np.array),
        min_size=1,
        max_size=6,
    ),
    st.floats(1e-3, 1e3),
)
def test_no_row_moves_the_sum_by_more_than_the_clip_norm(rows: list[Any], clip: float) -> None:
    gradients = np.stack(rows)
    parts = [gradients[:, :2].reshape(-1, 2, 1), gradients[:, 2:]]
    whole = clipped_sum(parts, clip)
    without = clipped_sum([part[1:] for part in parts], clip) if len(rows) > 1 else None
    change = [
        a - b for a, b in zip(whole, without or [np.zeros_like(w) for w in whole], strict=True)
    ]
    norm = math.sqrt(sum(float((part**2).sum()) for part in change))
    own = float(np.linalg.norm(gradients[0]))
    assert norm == pytest.approx(min(clip, own), rel=1e-6, abs=1e-6 * clip * len(rows))


def test_a_row_whose_gradient_is_not_finite_counts_as_zero() -> None:
    for strange in (np.nan, np.inf, -np.inf, 1e300):
        gradients = [np.array([[3.0, 4.0], [strange, 0.0]])]
        (total,) = clipped_sum(gradients, 1.0)
        np.testing.assert_allclose(total, [0.6, 0.8])


def test_the_noise_is_normal_and_has_the_variance_that_is_stated() -> None:
    values = gaussian(seeded(1), (400_001,))
    assert values.shape == (400_001,)
    assert abs(values.mean()) < 5 / math.sqrt(values.size)
    assert values.var() == pytest.approx(1.0, abs=5 * math.sqrt(2 / values.size))
    for bound, share in ((1.0, 0.682689), (2.0, 0.954500), (3.0, 0.997300)):
        inside = (np.abs(values) < bound).mean()
        assert inside == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / values.size))
    # The two halves come from the same pairs, and must not depend on each other.
    half = values.size // 2
    assert abs(np.corrcoef(values[:half], values[half : 2 * half])[0, 1]) < 5 / math.sqrt(half)


def test_the_noise_of_an_update_is_multiplier_times_clip_norm_over_the_expected_rows() -> None:
    """All gradients are zero here, so that noise is all that an update has."""

    class Flat(NumpyLogistic):
        def row_gradients(self, weights: list[Any], rows: Any) -> list[Any]:
            return [np.zeros((len(rows), *array.shape)) for array in weights]

    flat = Flat(blobs(64), 3)
    config = {**CONFIG, "steps": 400, "batchSize": 16}
    start = initial_weights(4, 3)
    private = PrivateTrainer(flat, Protection(2.0, 0.5), seeded)
    moved = np.concatenate(
        [np.ravel(a) for n in range(40) for a in private.fit(start, {**config, "seed": n})[0]]
    )
    expected = CONFIG["learningRate"] * (2.0 * 0.5) / 16 * math.sqrt(400)
    assert moved.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * moved.size))


def test_each_row_is_taken_with_the_stated_probability_on_its_own() -> None:
    draw = seeded(4)
    taken = np.zeros((3000, 50))
    for step in range(3000):
        taken[step, poisson_sample(draw, 50, 0.1)] = 1
    sizes = taken.sum(axis=1)
    assert taken.mean(axis=0) == pytest.approx(np.full(50, 0.1), abs=5 * math.sqrt(0.09 / 3000))
    # Batches have no fixed size: that of independent draws has this variance.
    assert sizes.var() == pytest.approx(50 * 0.1 * 0.9, rel=0.15)
    assert (sizes == 0).sum() > 0
    assert len(poisson_sample(draw, 50, 1.0)) == 50


def test_a_seeded_training_repeats_and_learns() -> None:
    trainer = NumpyLogistic(blobs(), 3, test=blobs(seed=1))
    private = PrivateTrainer(trainer, Protection(0.5, 1.0), seeded)
    start = initial_weights(4, 3)
    trained, rows, metrics = private.fit(start, CONFIG)
    again, _, _ = private.fit(start, CONFIG)
    assert (rows, metrics) == (120, {})
    assert all(np.array_equal(a, b) for a, b in zip(trained, again, strict=True))
    assert private.evaluate(trained, {})[2]["accuracy"] > 0.9
    other, _, _ = private.fit(start, {**CONFIG, "seed": 4})
    assert not np.array_equal(trained[0], other[0])


def test_by_default_the_seed_does_not_decide_the_noise() -> None:
    private = PrivateTrainer(NumpyLogistic(blobs(), 3), Protection(1.0, 1.0))
    start = initial_weights(4, 3)
    first, second = (private.fit(start, CONFIG)[0] for _ in range(2))
    assert not np.array_equal(first[0], second[0])


def test_what_an_accountant_counts_is_what_training_does() -> None:
    steps: list[int] = []

    class Counted(NumpyLogistic):
        def row_gradients(self, weights: list[Any], rows: Any) -> list[Any]:
            steps.append(len(rows))
            return super().row_gradients(weights, rows)

    private = PrivateTrainer(Counted(blobs(), 3), Protection(1.5, 1.0), seeded)
    assert private.mechanism(CONFIG) == Mechanism(1.5, 16 / 120, 5 * 8)
    private.fit(initial_weights(4, 3), CONFIG)
    assert len(steps) == 40
    assert np.mean(steps) == pytest.approx(16, abs=4)
    assert private.mechanism({**CONFIG, "batchSize": 500}).rate == 1.0


def test_a_trainer_without_gradients_of_rows_is_refused() -> None:
    class Opaque:
        def fit(self, weights: Any, config: Any) -> tuple[list[FloatArray], int, Metrics]:
            raise AssertionError

        def evaluate(self, weights: Any, config: Any) -> tuple[float, int, Metrics]:
            raise AssertionError

    with pytest.raises(CannotProtect, match=r"Opaque.*does not give the gradients of single rows"):
        PrivateTrainer(Opaque(), Protection(1.0, 1.0))


def test_rows_that_came_or_went_since_the_start_are_refused() -> None:
    class Growing(NumpyLogistic):
        more = 0

        def row_count(self) -> int:
            return super().row_count() + self.more

    growing = Growing(blobs(), 3)
    private = PrivateTrainer(growing, Protection(1.0, 1.0))
    growing.more = 1
    with pytest.raises(RowsChanged, match="121 rows, and had 120"):
        private.fit(initial_weights(4, 3), CONFIG)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_settings_out_of_their_range_are_refused(value: float) -> None:
    with pytest.raises(BadProtection, match="noise multiplier"):
        Protection(value, 1.0)
    with pytest.raises(BadProtection, match="clip norm"):
        Protection(1.0, value)
