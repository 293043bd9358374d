"""DP-SGD in the Keras trainer: gradients of single rows, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.dp_sgd import CannotProtect, PrivateTrainer, Protection, seeded
from fl_orchestrator.training.keras import KerasModel, KerasTrainer, load_tensorflow
from fl_orchestrator.training.sklearn import SklearnTrainer

load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

CONFIG: dict[str, Any] = {"seed": 11, "epochs": 3, "batchSize": 8, "learningRate": 0.05}


def rows(count: int, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 6)).astype(np.float32)
    return Rows(x, (x[:, 0] + x[:, 1] > 0).astype(np.int32))


def build(*more: Any, optimizer: str = "sgd") -> Any:
    start = keras.initializers.GlorotUniform
    dense = keras.layers.Dense
    model = keras.Sequential(
        [
            keras.Input((6,)),
            dense(5, "relu", kernel_initializer=start(1), kernel_regularizer="l2", name="hidden"),
            *more,
            dense(1, "sigmoid", kernel_initializer=start(2), name="output"),
        ]
    )
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def model() -> KerasModel:
    return KerasModel(build)


def norm(gradient: list[Any]) -> float:
    return float(np.sqrt(sum(float((part**2).sum()) for part in gradient)))


def test_gradients_of_rows_equal_training_on_each_row_alone(model: KerasModel) -> None:
    data, start = rows(7), model.initial_weights
    alone = []
    for number in range(7):
        one = KerasTrainer(model, data.take(np.array([number])))
        moved, _, _ = one.fit(start, {**CONFIG, "steps": 1, "batchSize": 1})
        alone.append([(a.astype(np.float64) - b) / 0.05 for a, b in zip(start, moved, strict=True)])
    lengths = [norm(gradient) for gradient in alone]
    clip = float(np.median(lengths))  # some rows are clipped, and some are not
    with KerasTrainer(model, data).descent(start, CONFIG) as descent:
        for bound in (clip, 1e6):
            expected = [
                sum(
                    min(1.0, bound / size) * part for size, part in zip(lengths, parts, strict=True)
                )
                for parts in zip(*alone, strict=True)
            ]
            for mine, theirs in zip(
                descent.clipped_sum(np.arange(7), bound), expected, strict=True
            ):
                np.testing.assert_allclose(mine, theirs, atol=2e-5)
        for number in range(7):
            single = descent.clipped_sum(np.array([number]), 0.01)
            assert norm(single) <= 0.01 * (1 + 1e-5)


def test_the_clipped_sum_of_scikit_learn_is_that_of_the_same_model_here() -> None:
    linear = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, "sigmoid", name="dense")])
    linear.compile("sgd", "binary_crossentropy")
    data, draw, chosen = rows(40), np.random.default_rng(5), np.arange(0, 40, 3)
    kernel, bias = (draw.normal(size=size).astype(np.float32) for size in ((6, 1), 1))
    sklearn = SklearnTrainer(LogisticRegression(), data.x, data.y)
    with sklearn.descent([np.ascontiguousarray(kernel.T), bias], CONFIG) as descent:
        coef, intercept = descent.clipped_sum(chosen, 0.6)
    with KerasTrainer(linear, data).descent([kernel, bias], CONFIG) as descent:
        of_kernel, of_bias = descent.clipped_sum(chosen, 0.6)
    np.testing.assert_allclose(coef.T, of_kernel, atol=1e-5)
    np.testing.assert_allclose(intercept, of_bias, atol=1e-5)


def test_a_row_that_is_not_finite_counts_as_zero(model: KerasModel) -> None:
    data = rows(3)
    data.x[1, 0] = np.nan
    with KerasTrainer(model, data).descent(model.initial_weights, CONFIG) as descent:
        both = descent.clipped_sum(np.array([0, 1, 2]), 1.0)
        without = descent.clipped_sum(np.array([0, 2]), 1.0)
    for one, other in zip(both, without, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_it_learns_with_noise_and_repeats_under_a_seed(model: KerasModel) -> None:
    trainer = KerasTrainer(model, rows(200), rows(100, seed=1))
    private = PrivateTrainer(trainer, Protection(0.5, 1.0), seeded)
    config = {**CONFIG, "learningRate": 0.3, "batchSize": 20}
    trained, count, metrics = private.fit(model.initial_weights, config)
    again, _, _ = private.fit(model.initial_weights, config)
    assert (count, metrics) == (200, {})
    assert all(np.array_equal(a, b) for a, b in zip(trained, again, strict=True))
    assert private.evaluate(trained, {})[2]["accuracy"] > 0.8


def test_dropout_and_any_optimizer_train_with_noise() -> None:
    dropping = KerasModel(lambda: build(keras.layers.Dropout(0.3, name="drop"), optimizer="adam"))
    private = PrivateTrainer(KerasTrainer(dropping, rows(20)), Protection(1.0, 1.0), seeded)
    trained, _, _ = private.fit(dropping.initial_weights, CONFIG)
    assert all(np.isfinite(array).all() for array in trained)
    assert not np.array_equal(trained[0], dropping.initial_weights[0])


def test_batch_normalisation_is_refused_in_a_sentence() -> None:
    layer = keras.layers.BatchNormalization(name="norm")
    mixing = KerasTrainer(KerasModel(lambda: build(layer)), rows(20))
    with pytest.raises(CannotProtect, match="norm normalises each row by the others of its batch"):
        PrivateTrainer(mixing, Protection(1.0, 1.0))
