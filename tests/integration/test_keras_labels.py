"""What the Keras adapter takes: labels of every kind, and models as people really compile them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fl_orchestrator.training.data import BadRows, Rows
from fl_orchestrator.training.keras import (
    KerasModel,
    KerasTrainer,
    UnsupportedModel,
    load_tensorflow,
)
from fl_orchestrator.training.trainer import BadTrainingConfig, FloatArray

load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

CONFIG = {"seed": 1, "epochs": 20, "batchSize": 8, "learningRate": 0.1}
X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
CLASSES = (X[:, 0] > 0).astype(np.int32)

Build = Callable[[], Any]


CATEGORICAL, SPARSE = "categorical_crossentropy", "sparse_categorical_crossentropy"


def network(
    loss: Any = "binary_crossentropy",
    optimizer: Any = "sgd",
    outputs: int = 1,
    activation: str | None = "sigmoid",
    layers: tuple[Any, ...] = (),
) -> Build:
    def build() -> Any:
        dense = keras.layers.Dense(outputs, activation=activation, name="out")
        model = keras.Sequential([keras.Input((4,)), *layers, dense], name="model")
        model.compile(optimizer, loss)
        return model

    return build


def two_inputs() -> Any:
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate(name="joined")([left, right])
    dense = keras.layers.Dense(1, activation="sigmoid", name="out")(joined)
    model = keras.Model([left, right], dense, name="model")
    model.compile("sgd", "binary_crossentropy")
    return model


def losses(build: Build, labels: Any, **config: Any) -> tuple[float, float]:
    """The loss before and after a training."""
    model = KerasModel(build)
    trainer = KerasTrainer(model, Rows(X, labels))
    trained, _, _ = trainer.fit(model.initial_weights, {**CONFIG, **config})
    before, after = (trainer.evaluate(w, {})[0] for w in (model.initial_weights, trained))
    return before, after


def test_the_loss_of_numbers_is_that_of_the_numbers_and_not_of_whole_ones() -> None:
    model = KerasModel(network("mean_squared_error", activation=None))
    labels: Any = np.array([0.2, 0.7] * 32, np.float64)
    trainer = KerasTrainer(model, Rows(X, labels))
    zero = [np.zeros((4, 1), np.float32), np.zeros(1, np.float32)]
    assert trainer.evaluate(zero, {})[0] == pytest.approx(0.265)
    trained, _, _ = trainer.fit(zero, CONFIG)
    assert trained[1][0] == pytest.approx(0.45, abs=0.1)


@pytest.mark.parametrize(
    ("build", "labels", "config"),
    [
        (network(), CLASSES, {}),
        (network(), CLASSES.astype(bool), {}),
        (network(), CLASSES.astype(np.float64), {}),
        (network("mse", activation=None), X[:, 1] / 3, {"loss": "mean_squared_error"}),
        (network("mean_squared_error", activation=None), X[:, :1], {"loss": "mse"}),
        (network("mse", outputs=2, activation=None), X[:, :2], {}),
        (
            network(CATEGORICAL, outputs=2, activation="softmax"),
            np.eye(2)[CLASSES],
            {},
        ),
        (network(SPARSE, outputs=2, activation="softmax"), CLASSES, {}),
        (network(outputs=2), np.stack([CLASSES, 1 - CLASSES], axis=1), {}),
        (network(keras.losses.binary_crossentropy), CLASSES, {"loss": "binary_crossentropy"}),
        (network(keras.losses.BinaryCrossentropy()), CLASSES, {"loss": "binary_crossentropy"}),
        (network(), CLASSES, {"optimizer": "SGD"}),
        (network(optimizer="SGD"), CLASSES, {"optimizer": "sgd"}),
        (two_inputs, CLASSES, {}),
    ],
    ids=lambda value: None,
)
def test_labels_losses_and_optimizers_under_their_usual_names_are_trained(
    build: Build, labels: Any, config: dict[str, Any]
) -> None:
    before, after = losses(build, labels, **config)
    assert after < before


def test_one_model_takes_rows_of_two_kinds_of_labels() -> None:
    model = KerasModel(network())
    whole, floats = Rows(X, CLASSES.astype(np.int32)), Rows(X, CLASSES.astype(np.float32))
    trained = [
        KerasTrainer(model, rows).fit(model.initial_weights, CONFIG)[0] for rows in (whole, floats)
    ]
    for a, b in zip(*trained, strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_a_learning_rate_schedule_of_the_model_is_kept() -> None:
    def build(rate: float) -> Build:
        schedule = keras.optimizers.schedules.ExponentialDecay(rate, 10, 0.9)
        return network(optimizer=keras.optimizers.SGD(schedule))

    def step(rate: float) -> float:
        model = KerasModel(build(rate))
        weights = [np.zeros((4, 1), np.float32), np.zeros(1, np.float32)]
        trained, _, _ = KerasTrainer(model, Rows(X, CLASSES)).fit(weights, CONFIG)
        return float(np.abs(trained[0]).max())

    assert step(0.001) < step(0.1) / 10


def test_integers_of_a_layer_stay_at_the_site_and_its_floats_are_federated() -> None:
    model = KerasModel(network(layers=(keras.layers.Normalization(name="scale"),)))
    names = [tensor.name for tensor in model.tensors]
    assert names == ["scale/mean", "scale/variance", "out/kernel", "out/bias"]
    trained, _, _ = KerasTrainer(model, Rows(X, CLASSES)).fit(model.initial_weights, CONFIG)
    assert [array.dtype for array in trained] == [np.float32] * 4


def test_a_variance_that_rounding_made_negative_gives_finite_outputs() -> None:
    model = KerasModel(network(layers=(keras.layers.BatchNormalization(epsilon=0.001, name="bn"),)))
    names = [tensor.name for tensor in model.tensors]
    weights: list[FloatArray] = [array.copy() for array in model.initial_weights]
    weights[names.index("bn/moving_variance")][:] = -0.01
    loss, _, _ = KerasTrainer(model, Rows(X, CLASSES)).evaluate(weights, {})
    assert np.isfinite(loss)


def test_another_loss_or_optimizer_than_the_models_is_refused() -> None:
    for config in ({"loss": "mae"}, {"optimizer": "adam"}, {"loss": "no_such_loss"}):
        with pytest.raises(BadTrainingConfig, match="but the model has"):
            losses(network("mse"), X[:, 0], **config)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array(["benign", "malignant"] * 32), "not numbers"),
        (CLASSES[:-1], "64 rows of features and 63 labels"),
        (np.array(3), "64 rows of features and 1 labels"),
    ],
)
def test_labels_that_are_no_numbers_or_too_few_are_refused(labels: Any, said: str) -> None:
    with pytest.raises(BadRows, match=said):
        Rows(X, labels)


def test_labels_that_do_not_go_with_the_loss_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"shape \('rows', 3\) do not go with"):
        losses(network(CATEGORICAL, outputs=2), np.eye(3)[CLASSES])


def test_rows_that_are_too_narrow_for_the_model_are_refused() -> None:
    model = KerasModel(network())
    with pytest.raises(UnsupportedModel, match="3 values each; the model's inputs take 4"):
        KerasTrainer(model, Rows(X[:, :3], CLASSES)).fit(model.initial_weights, CONFIG)
