"""FedProx: trainers hold the weights back to those of the round's start, if they are asked to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.dp_sgd import PrivateTrainer, Protection
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.sklearn import SklearnTrainer
from fl_orchestrator.training.trainer import BadTrainingConfig, FloatArray, Settings, Trainer

CONFIG: dict[str, Any] = {"seed": 3, "epochs": 2, "batchSize": 8, "learningRate": 0.05}
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(np.int32)


def sgd(**how: Any) -> SGDClassifier:
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, **how)


TRAINERS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: NumpyLogistic(Rows(X, Y), 2),
    "sgd": lambda: SklearnTrainer(sgd(), X, Y),
    "regression": lambda: SklearnTrainer(SGDRegressor(learning_rate="constant"), X, X[:, 2]),
    "perceptron": lambda: SklearnTrainer(MLPClassifier((5,), solver="adam", random_state=0), X, Y),
}


def start_of(trainer: Any) -> list[FloatArray]:
    """The first weights, moved away from zero."""
    draw = np.random.default_rng(7)
    return [
        (each + draw.normal(0, 0.3, each.shape)).astype(np.float32)
        for each in trainer.initial_weights().values()
    ]


def distance(trainer: Trainer, weights: list[FloatArray], **more: Any) -> float:
    trained, _, _ = trainer.fit(weights, {**CONFIG, **more})
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(trained, weights, strict=True))))


@pytest.mark.parametrize("kind", TRAINERS)
def test_without_mu_training_is_what_it_is_without_the_setting(kind: str) -> None:
    trainer = TRAINERS[kind]()
    weights = start_of(trainer)
    plain, rows, metrics = trainer.fit(weights, CONFIG)
    again, same_rows, same_metrics = trainer.fit(weights, {**CONFIG, "proximalMu": 0})
    for left, right in zip(plain, again, strict=True):
        np.testing.assert_array_equal(left, right)
    assert (rows, metrics) == (same_rows, same_metrics)


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_larger_mu_the_nearer_the_weights_stay(kind: str) -> None:
    trainer = TRAINERS[kind]()
    weights = start_of(trainer)
    far = [distance(trainer, weights, proximalMu=mu) for mu in (0.0, 0.5, 10.0, 1e3, 1e6)]
    assert far == sorted(far, reverse=True)
    assert far[0] > 0.05
    assert far[3] < far[0] / 10
    assert far[4] < far[0] / 1_000


def test_a_step_is_that_of_the_optimizer_and_then_the_proximal_one() -> None:
    trainer = NumpyLogistic(Rows(X, Y), 2)
    weights = start_of(trainer)
    config = {**CONFIG, "steps": 1, "batchSize": 60}
    plain, _, _ = trainer.fit(weights, config)
    held, _, _ = trainer.fit(weights, {**config, "proximalMu": 20.0})
    for start, free, found in zip(weights, plain, held, strict=True):
        # Rate times mu is one, so half of the way is left.
        np.testing.assert_allclose(found, start + (free - start) / 2, atol=1e-6)


def test_it_tends_to_the_minimum_of_the_objective_with_the_term() -> None:
    """Where the gradient of the loss and of mu/2 |w - w0|^2 add up to nothing."""
    trainer, mu = NumpyLogistic(Rows(X, Y), 2), 0.7
    weights = start_of(trainer)
    config = {**CONFIG, "epochs": 400, "batchSize": 60, "learningRate": 0.5, "proximalMu": mu}
    found, _, _ = trainer.fit(weights, config)
    wide = [each.astype(np.float64) for each in found]
    slopes = trainer.row_gradients(wide, np.arange(60))
    for slope, now, start in zip(slopes, wide, weights, strict=True):
        np.testing.assert_allclose(slope.mean(axis=0), -mu * (now - start), atol=1e-4)


def test_many_steps_at_once_are_many_steps() -> None:
    settings = dataclasses.replace(Settings.from_config(CONFIG), proximal_mu=2.0)
    one, many, start = np.array([3.0]), np.array([3.0]), np.array([1.0])
    for _ in range(5):
        settings.pull([one], [start])
    settings.pull([many], [start], steps=5)
    assert many[0] == pytest.approx(one[0])
    assert many[0] == pytest.approx(1 + 2 / 1.1**5)


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), SGDClassifier(), sgd().set_params(learning_rate="optimal")]
)
def test_an_estimator_without_steps_of_a_known_length_is_refused(estimator: Any) -> None:
    trainer = SklearnTrainer(estimator, X, Y)
    weights = start_of(trainer)
    with pytest.raises(BadTrainingConfig, match="needs steps of a known length"):
        trainer.fit(weights, {**CONFIG, "proximalMu": 0.1})


@pytest.mark.parametrize("mu", [-0.1, float("nan"), float("inf"), True, "0.1"])
def test_another_value_is_refused(mu: object) -> None:
    with pytest.raises(BadTrainingConfig, match="proximalMu"):
        Settings.from_config({**CONFIG, "proximalMu": mu})


def test_record_level_privacy_is_not_combined_with_it() -> None:
    trainer = PrivateTrainer(NumpyLogistic(Rows(X, Y), 2), Protection(1.0, 1.0))
    weights = start_of(NumpyLogistic(Rows(X, Y), 2))
    with pytest.raises(BadTrainingConfig, match="record-level privacy"):
        trainer.fit(weights, {**CONFIG, "proximalMu": 0.1})
