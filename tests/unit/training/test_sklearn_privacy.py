"""DP-SGD of scikit-learn's linear models: gradients of single rows in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import (
    LogisticRegression,
    PassiveAggressiveClassifier,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.dp_sgd import (
    CannotProtect,
    Mechanism,
    PrivateTrainer,
    Protection,
    seeded,
)
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.sklearn import SklearnTrainer
from fl_orchestrator.training.trainer import FloatArray

CONFIG: dict[str, Any] = {"seed": 3, "epochs": 5, "batchSize": 16, "learningRate": 0.05}
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(80, 4))
THREE = np.argmax(X[:, :3] + DRAW.normal(0, 0.2, (80, 3)), axis=1)
TWO = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "ill", "well")
NUMBERS = X[:, 2] - 0.5 * X[:, 0]

CLASSIFYING = ("hinge", "log_loss", "squared_hinge", "modified_huber")
COUNTING = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")


def constant(kind: Any, **how: Any) -> Any:
    return kind(learning_rate="constant", penalty=None, **how)


MODELS: dict[str, tuple[Any, Any]] = {
    **{
        f"{loss} of {name}": (constant(SGDClassifier, loss=loss), y)
        for loss in (*CLASSIFYING, *COUNTING, "perceptron")
        for name, y in (("two", TWO), ("three", THREE))
    },
    **{loss: (constant(SGDRegressor, loss=loss), NUMBERS) for loss in COUNTING},
    "weighted": (constant(SGDClassifier, loss="log_loss", class_weight={"ill": 3.0}), TWO),
    "perceptron": (Perceptron(), THREE),
}


def some_weights(trainer: SklearnTrainer, seed: int = 7) -> list[FloatArray]:
    draw = np.random.default_rng(seed)
    shapes = [each.shape for each in trainer.initial_weights().values()]
    return [draw.normal(0, 0.7, shape).astype(np.float32) for shape in shapes]


def gradients(trainer: SklearnTrainer, weights: list[FloatArray]) -> list[Any]:
    with trainer.descent(weights, CONFIG) as descent:
        return descent.row_gradients(np.arange(trainer.row_count()))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_rows_equal_training_on_each_row_alone(name: str) -> None:
    estimator, y = MODELS[name]
    classes = None if y.dtype.kind == "f" else np.unique(y).tolist()
    whole = SklearnTrainer(estimator, X[:8], y[:8], classes=classes)
    weights = some_weights(whole)
    together = gradients(whole, weights)
    assert any(np.abs(part).max() > 0.1 for part in together)
    for number in range(8):
        row = slice(number, number + 1)
        alone = SklearnTrainer(estimator, X[row], y[row], classes=classes)
        moved, _, _ = alone.fit(weights, {**CONFIG, "epochs": 1, "learningRate": 1e-2})
        for before, after, gradient in zip(weights, moved, together, strict=True):
            slope = (before.astype(np.float64) - after) / 1e-2
            np.testing.assert_allclose(gradient[number], slope, atol=2e-4)


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_at_the_optimum_of_logistic_regression_the_gradients_add_up_to_the_penalty(y: Any) -> None:
    fitted = LogisticRegression(C=0.7, tol=1e-10, max_iter=2_000).fit(X, y)
    found = [fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32)]
    of_coef, of_intercept = gradients(SklearnTrainer(LogisticRegression(C=0.7), X, y), found)
    np.testing.assert_allclose(of_coef.sum(axis=0), -fitted.coef_ / 0.7, atol=1e-4)
    np.testing.assert_allclose(of_intercept.sum(axis=0), 0, atol=1e-4)


def test_the_clipped_sum_is_that_of_the_same_model_in_numpy() -> None:
    numpy = NumpyLogistic(Rows(X.astype(np.float32), THREE.astype(np.int32)), 3)
    mine = SklearnTrainer(LogisticRegression(), X.astype(np.float32), THREE)
    weights = some_weights(mine)
    rows = np.arange(0, 80, 3)
    private = PrivateTrainer(numpy, Protection(1.0, 0.4))
    turned = [weights[0].T.copy(), weights[1]]
    with private._descent(turned, CONFIG) as theirs, mine.descent(weights, CONFIG) as own:
        kernel, bias = theirs.clipped_sum(rows, 0.4)
        coef, intercept = own.clipped_sum(rows, 0.4)
    np.testing.assert_allclose(coef, kernel.T, atol=1e-12)
    np.testing.assert_allclose(intercept, bias, atol=1e-12)


@pytest.mark.parametrize(
    "estimator",
    [SGDClassifier(loss="log_loss"), SGDClassifier(), LogisticRegression(), Perceptron()],
    ids=lambda estimator: type(estimator).__name__,
)
def test_it_learns_with_noise_and_repeats_under_a_seed(estimator: Any) -> None:
    trainer = SklearnTrainer(estimator, X, TWO)
    private = PrivateTrainer(trainer, Protection(0.3, 1.0), seeded)
    start = list(trainer.initial_weights().values())
    config = {**CONFIG, "epochs": 10}
    trained, rows, metrics = private.fit(start, config)
    again, _, _ = private.fit(start, config)
    assert (rows, metrics) == (80, {})
    assert all(np.array_equal(a, b) for a, b in zip(trained, again, strict=True))
    assert private.evaluate(trained, config)[2]["accuracy"] > 0.85
    assert private.mechanism(config) == Mechanism(0.3, 0.2, 50)


def test_the_noise_of_an_update_is_multiplier_times_clip_norm_over_the_expected_rows() -> None:
    """All rows are zero, and the intercept is not fitted: noise is all that an update has."""
    flat = SGDRegressor(fit_intercept=False, penalty=None)
    trainer = SklearnTrainer(flat, np.zeros((64, 50)), np.zeros(64))
    private = PrivateTrainer(trainer, Protection(2.0, 0.5), seeded)
    start = list(trainer.initial_weights().values())
    config = {**CONFIG, "steps": 25}
    fits = [private.fit(start, {**config, "seed": seed})[0] for seed in range(40)]
    moved = np.concatenate([coef for coef, _ in fits])
    expected = CONFIG["learningRate"] * (2.0 * 0.5) / 16 * math.sqrt(25)
    assert moved.size == 2_000
    assert moved.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * moved.size))
    assert abs(moved.mean()) < 5 * expected / math.sqrt(moved.size)
    assert all((intercept == 0).all() for _, intercept in fits)


def test_rows_may_be_sparse_and_those_that_are_not_finite_count_as_zero() -> None:
    weights = some_weights(SklearnTrainer(LogisticRegression(), X, THREE))
    dense = gradients(SklearnTrainer(LogisticRegression(), X, THREE), weights)
    thin = gradients(SklearnTrainer(LogisticRegression(), sparse.csr_array(X), THREE), weights)
    for one, other in zip(dense, thin, strict=True):
        np.testing.assert_array_equal(one, other)
    damaged = X.copy()
    damaged[1, 0] = np.nan
    with SklearnTrainer(LogisticRegression(), damaged, THREE).descent(weights, CONFIG) as descent:
        both = descent.clipped_sum(np.array([0, 1, 2]), 1.0)
        without = descent.clipped_sum(np.array([0, 2]), 1.0)
    for one, other in zip(both, without, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_penalty_pulls_all_but_the_intercept_by_every_step() -> None:
    """No row has a gradient, and the noise is too small to be seen."""
    for how, expected in (
        ({"penalty": "l2", "alpha": 0.5}, [0.975, -0.4875]),
        ({"penalty": "l1", "alpha": 0.5}, [0.975, -0.475]),
        ({"penalty": "elasticnet", "alpha": 0.5, "l1_ratio": 0.5}, [0.975, -0.48125]),
        ({"penalty": None}, [1.0, -0.5]),
    ):
        trainer = SklearnTrainer(SGDRegressor(**how), np.zeros((9, 2)), np.ones(9))
        private = PrivateTrainer(trainer, Protection(1e-9, 1.0), seeded)
        start = [np.array([1, -0.5], np.float32), np.array([1], np.float32)]
        (coef, intercept), _, _ = private.fit(start, {**CONFIG, "steps": 1})
        np.testing.assert_allclose(coef, expected, atol=1e-3)
        assert intercept == pytest.approx(1)
    penalised = SklearnTrainer(LogisticRegression(C=0.5), np.zeros((80, 4)), TWO)
    start = [np.ones((1, 4), np.float32), np.zeros(1, np.float32)]
    private = PrivateTrainer(penalised, Protection(1e-9, 1e-9), seeded)
    (coef, _), _, _ = private.fit(start, {**CONFIG, "steps": 1})
    np.testing.assert_allclose(coef, 1 - 0.05 / (0.5 * 80), atol=1e-6)


def test_a_class_that_this_site_lacks_comes_from_the_manifest() -> None:
    few = THREE < 2
    trainer = SklearnTrainer(SGDClassifier(loss="log_loss"), X[few], THREE[few])
    private = PrivateTrainer(trainer, Protection(0.3, 1.0), seeded)
    start = [np.zeros((3, 4), np.float32), np.zeros(3, np.float32)]
    trained, _, _ = private.fit(start, {**CONFIG, "classes": ["0", "1", "2"]})
    assert trained[1][2] < 0


@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
def test_what_has_no_gradients_of_single_rows_is_refused_by_its_name() -> None:
    for estimator in (MLPClassifier((4,)), PassiveAggressiveClassifier()):
        trainer = SklearnTrainer(estimator, X, TWO)
        with pytest.raises(CannotProtect, match=rf"^{type(estimator).__name__} does not show"):
            PrivateTrainer(trainer, Protection(1.0, 1.0))


def test_weights_by_how_often_a_class_occurs_are_refused() -> None:
    trainer = SklearnTrainer(LogisticRegression(class_weight="balanced"), X, TWO)
    with pytest.raises(CannotProtect, match="how often each label occurs here"):
        PrivateTrainer(trainer, Protection(1.0, 1.0))
