"""Trainers for scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import (
    Lasso,
    LogisticRegression,
    LogisticRegressionCV,
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from fl_orchestrator.training.data import BadRows
from fl_orchestrator.training.sklearn import SklearnTrainer, UnsupportedEstimator
from fl_orchestrator.training.trainer import BadTrainingConfig, BadWeights

Table = tuple[Any, Any]
CONFIG = {"seed": 7, "epochs": 5, "batchSize": 16, "learningRate": 0.05, "round": 1}


def _scaled(table: Table) -> Table:
    return StandardScaler().fit_transform(table[0]), table[1]


BINARY = _scaled(load_breast_cancer(return_X_y=True))
DIGITS = _scaled(load_digits(return_X_y=True))
NUMBERS = _scaled(load_diabetes(return_X_y=True))
NUMBERS = NUMBERS[0], NUMBERS[1] / 100

with warnings.catch_warnings():
    # scikit-learn 1.8 has deprecated both, and still has them.
    warnings.simplefilter("ignore", FutureWarning)
    PASSIVE = PassiveAggressiveClassifier(), PassiveAggressiveRegressor()

#: By name: estimator, rows, and the metric that five rounds must reach.
KINDS: dict[str, tuple[Any, Table, str, float]] = {
    "svm": (SGDClassifier(), BINARY, "accuracy", 0.93),
    "logistic by SGD": (
        SGDClassifier(loss="log_loss", learning_rate="constant"),
        BINARY,
        "accuracy",
        0.95,
    ),
    "ten classes": (SGDClassifier(loss="log_loss"), DIGITS, "accuracy", 0.9),
    "perceptron": (Perceptron(), BINARY, "accuracy", 0.9),
    "passive aggressive": (PASSIVE[0], DIGITS, "accuracy", 0.85),
    "logistic": (LogisticRegression(), BINARY, "accuracy", 0.95),
    "logistic by saga": (LogisticRegression(solver="saga"), DIGITS, "accuracy", 0.9),
    "network": (MLPClassifier((16, 8), solver="sgd"), DIGITS, "accuracy", 0.8),
    "network by adam": (MLPClassifier(16), BINARY, "accuracy", 0.9),
    "regression": (SGDRegressor(learning_rate="constant"), NUMBERS, "rmse", 0.65),
    "passive aggressive regression": (PASSIVE[1], NUMBERS, "rmse", 0.9),
    "network regression": (
        MLPRegressor(hidden_layer_sizes=16, solver="sgd"),
        NUMBERS,
        "rmse",
        0.65,
    ),
}


def make(name: str, rows: slice = slice(None), **options: Any) -> SklearnTrainer:
    estimator, (x, y), _, _ = KINDS[name]
    return SklearnTrainer(estimator, x[rows], y[rows], **options)


def start(trainer: SklearnTrainer) -> list[NDArray[np.float32]]:
    return list(trainer.initial_weights().values())


def averaged(trainers: list[SklearnTrainer], rounds: int) -> list[NDArray[np.float32]]:
    """A plain loop of FedAvg."""
    weights = start(trainers[0])
    for number in range(rounds):
        answers = [t.fit(weights, {**CONFIG, "seed": number}) for t in trainers]
        rows = [samples for _, samples, _ in answers]
        weights = [
            np.average(tensors, axis=0, weights=rows).astype(np.float32)
            for tensors in zip(*[trained for trained, _, _ in answers], strict=True)
        ]
    return weights


@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
@pytest.mark.parametrize("name", KINDS)
def test_three_parties_learn_together(name: str) -> None:
    _, (x, y), metric, wanted = KINDS[name]
    classes = None if y.dtype.kind == "f" else np.unique(y).tolist()
    order = np.random.default_rng(0).permutation(len(y))
    trainers = [
        SklearnTrainer(KINDS[name][0], x[part], y[part], (x, y), classes)
        for part in np.array_split(order, 3)
    ]
    before = trainers[0].evaluate(start(trainers[0]), CONFIG)
    loss, rows, metrics = trainers[0].evaluate(averaged(trainers, 5), CONFIG)
    assert rows == len(y)
    assert loss < before[0]
    assert metrics[metric] >= wanted if classes else metrics[metric] <= wanted


@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
@pytest.mark.parametrize("name", KINDS)
def test_equal_weights_and_seed_give_equal_bits_whatever_was_trained_before(name: str) -> None:
    first, second = make(name), make(name)
    weights = start(first)
    before = [array.copy() for array in weights]
    trained, rows, _ = first.fit(weights, CONFIG)
    first.fit(trained, {**CONFIG, "seed": 1})
    again, _, _ = first.fit(weights, CONFIG)
    elsewhere, _, _ = second.fit(weights, CONFIG)
    assert rows == len(KINDS[name][1][1])
    for one, two, three in zip(trained, again, elsewhere, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    for array, kept in zip(weights, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_one_fit_is_what_scikit_learn_does_by_itself() -> None:
    x, y = BINARY
    own = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05)
    own.set_params(random_state=np.random.RandomState(7))
    for _ in range(5):
        own.partial_fit(x, y, classes=[0, 1])
    trained, _, _ = make("logistic by SGD").fit(start(make("logistic by SGD")), CONFIG)
    np.testing.assert_array_equal(trained[0], own.coef_.astype(np.float32))
    np.testing.assert_array_equal(trained[1], own.intercept_.astype(np.float32))


@pytest.mark.parametrize("name", ["svm", "logistic", "network by adam"])
def test_a_site_without_a_class_trains_the_federations_model(name: str) -> None:
    x, y = KINDS[name][1]
    alone = SklearnTrainer(KINDS[name][0], x[y == 1], y[y == 1])
    weights = start(make(name))
    config = {**CONFIG, "classes": ["0", "1"]}
    trained, rows, metrics = alone.fit(weights, config)
    assert rows == (y == 1).sum()
    assert [a.shape for a in trained] == [a.shape for a in weights]
    assert metrics["accuracy"] > 0.9
    assert "auc" not in metrics


def test_classes_may_be_texts() -> None:
    x, y = BINARY
    trainer = SklearnTrainer(LogisticRegression(), x, np.array(["malignant", "benign"])[y])
    assert trainer.classes() == ["benign", "malignant"]
    config = {**CONFIG, "classes": ["benign", "malignant"]}
    _, _, metrics = trainer.fit(start(trainer), config)
    assert metrics["accuracy"] > 0.9


def test_numbers_and_texts_of_numbers_are_not_mixed() -> None:
    """Their orders differ, and so the rows of the weights would mean different classes."""
    x, y = BINARY
    eleven = [str(number) for number in range(11)]
    make("svm").fit(
        [np.zeros((11, 30), np.float32), np.zeros(11, np.float32)], CONFIG | {"classes": eleven}
    )
    texts = SklearnTrainer(SGDClassifier(), x, y.astype(str))
    with pytest.raises(BadTrainingConfig, match="the 2 here differ"):
        texts.fit(start(texts), {**CONFIG, "classes": eleven})


def test_classes_that_differ_are_refused() -> None:
    x, y = BINARY
    with pytest.raises(BadTrainingConfig, match="none of the 2 classes"):
        SklearnTrainer(SGDClassifier(), x, y, classes=[1, 2]).initial_weights()
    for named in (["no", "yes"], ["1", "0"], ["0", "1", "many"]):
        with pytest.raises(BadTrainingConfig, match="the 2 here differ"):
            make("svm").fit(start(make("svm")), {**CONFIG, "classes": named})
    given = SklearnTrainer(SGDClassifier(), x, y, classes=[0, 1, 2])
    with pytest.raises(BadTrainingConfig, match="the 3 here differ"):
        given.fit(start(given), {**CONFIG, "classes": ["0", "1"]})
    with pytest.raises(BadTrainingConfig, match="is a regression"):
        make("regression").fit(start(make("regression")), {**CONFIG, "classes": ["0", "1"]})


def test_a_pipeline_keeps_its_fixed_steps() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    scaler = StandardScaler().fit(x)
    piped = SklearnTrainer(make_pipeline(scaler, "passthrough", SGDClassifier()), x, y)
    plain = make("svm")
    for one, two in zip(
        piped.fit(start(piped), CONFIG)[0], plain.fit(start(plain), CONFIG)[0], strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert scaler.n_samples_seen_ == len(y)
    with pytest.raises(UnsupportedEstimator, match="StandardScaler is not fitted"):
        SklearnTrainer(make_pipeline(StandardScaler(), SGDClassifier()), x, y)
    SklearnTrainer(make_pipeline(FunctionTransformer(np.log1p), SGDClassifier()), abs(x), y)


def test_architectures_differ_with_what_the_model_computes() -> None:
    x, y = load_breast_cancer(return_X_y=True)

    def digest(*steps: Any) -> str:
        return SklearnTrainer(make_pipeline(*steps), x, y).architecture()

    scaler, other = StandardScaler().fit(x), StandardScaler().fit(x[:-1])
    digests = [
        digest(SGDClassifier()),
        digest(SGDClassifier(loss="log_loss")),
        digest(LogisticRegression()),
        digest(scaler, SGDClassifier()),
        digest(other, SGDClassifier()),
        digest(PCA(3, random_state=0).fit(x), SGDClassifier()),
        digest(MLPClassifier(8)),
        digest(MLPClassifier(8, activation="tanh")),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(SGDClassifier(alpha=1)) == digest(SGDClassifier(eta0=2, random_state=5))


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (DecisionTreeClassifier(), "Trees do not average"),
        (RandomForestRegressor(), "Trees do not average"),
        (GradientBoostingClassifier(), "Trees do not average"),
        (KNeighborsClassifier(), "no weights that can be averaged"),
        (Lasso(), "no weights that can be averaged"),
        (SGDClassifier(average=True), "average=True"),
        (MLPClassifier(solver="lbfgs"), "lbfgs"),
        (MLPClassifier(early_stopping=True), "early stopping"),
        (LogisticRegression(solver="liblinear"), "liblinear"),
        (LogisticRegressionCV(), "no weights that can be averaged"),
        (SGDClassifier(early_stopping=True), "early stopping"),
        (SGDClassifier(class_weight="balanced"), "balanced classes"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_cannot_be_averaged_is_refused_in_a_sentence(estimator: Any, words: str) -> None:
    with pytest.raises(UnsupportedEstimator, match=words):
        SklearnTrainer(estimator, *BINARY)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w[:1],
        lambda w: [w[0].T, w[1]],
        lambda w: [w[0].astype(np.float64), w[1]],
    ],
    ids=["fewer", "shape", "dtype"],
)
def test_weights_of_another_model_are_refused(change: Callable[[Any], Any]) -> None:
    trainer = make("ten classes")
    with pytest.raises(BadWeights):
        trainer.fit(change(start(trainer)), CONFIG)


def test_rows_that_cannot_be_used_are_refused() -> None:
    x, y = BINARY
    with pytest.raises(BadRows):
        SklearnTrainer(SGDClassifier(), x[:5], y[:4])
    with pytest.raises(BadRows):
        SklearnTrainer(SGDClassifier(), x[:0], y[:0])
    trainer = make("svm")
    with pytest.raises(BadTrainingConfig, match="steps"):
        trainer.fit(start(trainer), {**CONFIG, "steps": 3})


def test_rows_may_be_float32_sparse_or_lists() -> None:
    from scipy import sparse

    x, y = DIGITS
    for rows in (x.astype(np.float32), sparse.csr_matrix(x), x.tolist()):
        for estimator in (SGDClassifier(), LogisticRegression(), MLPClassifier(4)):
            trainer = SklearnTrainer(estimator, rows, y)
            config = {**CONFIG, "epochs": 1}
            trained, count, _ = trainer.fit(start(trainer), config)
            assert count == len(y)
            assert all(np.isfinite(array).all() for array in trained)
