"""Trainers for scikit-learn: linear models and multi-layer perceptrons, alone or in a Pipeline.

Equal weights, rows and seed give equal bits on one kind of machine and one version of scikit-learn:
the linear algebra of a fit runs in one thread.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from fl_orchestrator.errors import TrainingError, install_hint
from fl_orchestrator.json_text import to_json
from fl_orchestrator.training.data import BadRows, arrays_digest
from fl_orchestrator.training.sklearn.estimators import UnsupportedEstimator, kind_of, one_thread
from fl_orchestrator.training.sklearn.gradients import LinearDescent, require_rows_apart
from fl_orchestrator.training.trainer import (
    BadTrainingConfig,
    FloatArray,
    Metrics,
    Settings,
    WeightSpec,
    check_weights,
)

# The parameters that decide what a model computes from its weights, which all parties must share.
# All others decide how it is trained.
_COMPUTATION: Final = ("loss", "fit_intercept", "activation", "hidden_layer_sizes")


class SklearnMissing(TrainingError):
    """scikit-learn cannot be imported."""


def load_sklearn() -> Any:
    """Import scikit-learn. Raises SklearnMissing."""
    try:
        import sklearn
        import sklearn.linear_model
        import sklearn.metrics
        import sklearn.neural_network
        import sklearn.pipeline
    except ImportError as error:
        raise SklearnMissing(
            f"scikit-learn cannot be imported: {error}.",
            install_hint("sklearn"),
        ) from error
    return sklearn


class SklearnTrainer:
    """A party's trainer: a scikit-learn estimator and the party's own rows (see `Trainer`).

    Linear models have the tensors `coef` and `intercept`, perceptrons `layer_0/kernel`,
    `layer_0/bias`, and so on, all in scikit-learn's shapes.

    An epoch is one pass over the rows (`partial_fit`). `LogisticRegression` has no passes: it
    continues from the given weights for `epochs` iterations of its solver. The manifest's learning
    rate is used where an estimator has a constant one, and its batch size by perceptrons.
    """

    def __init__(
        self,
        estimator: Any,
        x: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        classes: Sequence[Any] | None = None,
    ) -> None:
        """Train a copy of `estimator` on rows `x` (array, sparse matrix or DataFrame), labels `y`.

        In a Pipeline the last step is trained. The steps before it must be fitted already, with the
        same constants at every site, and are not changed. `classes` are all labels that any party
        may have. Without them they are the manifest's, and before there is a manifest those of `y`.
        Models are evaluated on `validation`, or else on the rows themselves.

        Raises:
            SklearnMissing: scikit-learn is not installed.
            UnsupportedEstimator: such an estimator cannot be federated.
            BadRows: there are no rows, or not as many labels.
        """
        self._sklearn = load_sklearn()
        steps = list(estimator.steps) if hasattr(estimator, "steps") else [("model", estimator)]
        self._before = [
            _fitted(step) for _, step in steps[:-1] if step not in (None, "passthrough")
        ]
        self._estimator = self._sklearn.base.clone(steps[-1][1])
        self._kind = kind_of(self._sklearn, self._estimator)
        self._x, self._y = self._prepared(x), np.asarray(y)
        rows = self._x.shape[0]
        if rows == 0 or self._y.shape[:1] != (rows,):
            raise BadRows(f"There are {rows} rows of features and {self._y.shape[:1]} labels.")
        self._test = (
            (self._x, self._y)
            if validation is None
            else (self._prepared(validation[0]), np.asarray(validation[1]))
        )
        self._given = None if classes is None else list(classes)
        self._template: Any = None
        self._classes: list[Any] = []

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights` on this party's rows; the metrics are those of the rows afterwards.

        Raises:
            BadTrainingConfig: a setting is unusable, or this site has a label that is none of the
                federation's classes.
            BadWeights: `weights` are not this model's.
        """
        settings = Settings.from_config(config)
        if settings.steps is not None:
            raise BadTrainingConfig("scikit-learn trains by epochs, not steps.", "Leave out steps.")
        model = self._with(weights, config)
        self._kind.train(model, self._x, self._y, self._classes, settings)
        loss, metrics = self._measured(model, self._x, self._y)
        trained = [np.array(array, np.float32) for array in self._kind.weights(model).values()]
        return trained, self._x.shape[0], {"loss": loss, **metrics}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Return the loss, the number and the metrics of this trainer's test rows.

        The loss is the mean cross-entropy of models with probabilities, the hinge loss of other
        classifiers, and the squared error of regressors.

        Raises:
            BadTrainingConfig, BadWeights: as in `fit`.
        """
        model = self._with(weights, config)
        x, y = self._test
        loss, metrics = self._measured(model, x, y)
        return loss, x.shape[0], metrics

    def validation_digest(self) -> str | None:
        """The digest of the rows that models are evaluated on; None if they are sparse."""
        x, y = self._test
        return arrays_digest((x, y)) if isinstance(x, np.ndarray) else None

    def require_rows_apart(self) -> None:
        """Raise CannotProtect if DP-SGD is not defined for the estimator."""
        require_rows_apart(self._sklearn, self._estimator)

    def row_count(self) -> int:
        return int(self._x.shape[0])

    @contextmanager
    def descent(self, weights: list[FloatArray], config: dict[str, Any]) -> Iterator[LinearDescent]:
        """Train by single gradients (see `dp_sgd.Descending`); raises what `fit` does."""
        rate, model = Settings.from_config(config).learning_rate, self._with(weights, config)
        yield LinearDescent(model, self._x, self._y, self._classes, rate)

    def initial_weights(self) -> dict[str, FloatArray]:
        """Names and initial values of the model's tensors: zeros, or a perceptron's own start.

        A perceptron's start follows from its `random_state`, or from 0 if it has none.
        """
        self._agree_on(None)
        return {
            name: np.array(array, np.float32)
            for name, array in self._kind.weights(self._template).items()
        }

    def classes(self) -> list[str] | None:
        """A classifier's labels as texts, sorted, for the manifest; None of a regressor."""
        self._agree_on(None)
        return [str(label) for label in self._classes] or None

    def architecture(self) -> str:
        """A digest of the model's kind and settings, and of what the fixed steps were fitted to."""
        own = self._estimator.get_params(deep=False)
        described = {
            "model": type(self._estimator).__name__,
            "settings": {name: _canonical(own[name]) for name in _COMPUTATION if name in own},
            "before": [_canonical(step) for step in self._before],
        }
        return hashlib.sha256(to_json(described, sort_keys=True).encode()).hexdigest()

    # ------------------------------------------------------------------ the model and its classes

    def _prepared(self, x: Any) -> Any:
        for step in self._before:
            x = step.transform(x)
        return x if hasattr(x, "shape") else np.asarray(x)

    def _agree_on(self, named: Sequence[str] | None) -> None:
        """Choose the classes, and make a model of the right shapes. Raises BadTrainingConfig."""
        classes: list[Any] = []
        if self._kind.classifies:
            own = np.unique(self._y if self._given is None else np.asarray(self._given)).tolist()
            classes = own if named is None else self._as_named(named, own)
            if unknown := set(np.unique(self._y).tolist()) - set(classes):
                raise BadTrainingConfig(
                    f"{len(unknown)} labels of these rows are none of the {len(classes)} classes.",
                    "Give all classes of all parties.",
                )
        elif named is not None:
            raise BadTrainingConfig(
                f"The federation's classes are {', '.join(named)}, but this is a regression.",
                "Use the model that the manifest describes.",
            )
        if self._template is None or classes != self._classes:
            with one_thread():
                self._template = self._kind.template(self._estimator, self._x, classes, self._y)
            self._classes = classes

    def _as_named(self, named: Sequence[str], own: list[Any]) -> list[Any]:
        """The federation's classes as labels of this site's type. Raises BadTrainingConfig."""
        if [str(label) for label in own] == list(named):
            return own
        labels = {str(label): label for label in own}
        kind = type(own[0])
        try:
            classes = [labels.get(name, kind(name)) for name in named]
            usable = self._given is None and set(labels) <= set(named)
            # scikit-learn sorts classes: texts of numbers have another order than numbers.
            usable = usable and np.unique(np.asarray(classes)).tolist() == classes
        except ValueError:
            usable = False
        if not usable:
            raise BadTrainingConfig(
                f"The federation's classes are {', '.join(named)}; the {len(own)} here differ.",
                "Name the labels as the manifest does, with the same type as the other parties.",
            )
        return classes

    def _with(self, weights: list[FloatArray], config: Mapping[str, Any]) -> Any:
        """A model with these weights, whose optimizer has no past."""
        self._agree_on(config.get("classes"))
        shapes = {k: np.shape(v) for k, v in self._kind.weights(self._template).items()}
        check_weights(weights, [WeightSpec(name, shape) for name, shape in shapes.items()])
        model = copy.deepcopy(self._template)
        self._kind.set_weights(model, [array.astype(np.float64) for array in weights])
        return model

    def _measured(self, model: Any, x: Any, y: Any) -> tuple[float, Metrics]:
        metrics = self._sklearn.metrics
        if not self._kind.classifies:
            loss = float(metrics.mean_squared_error(y, model.predict(x)))
            return loss, {"rmse": math.sqrt(loss)}
        found: Metrics = {"accuracy": float((model.predict(x) == y).mean())}
        two = len(self._classes) == 2
        if hasattr(model, "predict_proba"):
            scores = model.predict_proba(x)
            loss = float(metrics.log_loss(y, scores, labels=self._classes))
            scores = scores[:, 1]
        else:
            scores = model.decision_function(x)
            loss = float(metrics.hinge_loss(y, scores, labels=self._classes))
        if two and len(np.unique(y)) == 2:
            found["auc"] = float(metrics.roc_auc_score(y == self._classes[1], scores))
        return loss, found


def _fitted(step: Any) -> Any:
    """A copy of a preprocessing step. Raises UnsupportedEstimator if it has to be fitted first."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(step)
    except NotFittedError as error:
        raise UnsupportedEstimator(
            f"The step {type(step).__name__} is not fitted, and each site would fit it to rows of "
            "its own.",
            "Fit it to constants that all sites share before you make the trainer.",
        ) from error
    return copy.deepcopy(step)


def _canonical(value: Any) -> Any:
    """A value for a digest: settings and what was fitted, by names and in full."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic):
        return [str(np.shape(value)), [_canonical(item) for item in np.ravel(value).tolist()]]
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if hasattr(value, "get_params"):
        fitted = {k: v for k, v in vars(value).items() if k.endswith("_") and k[0] != "_"}
        settings = value.get_params(deep=False)
        return [type(value).__name__, _canonical({**settings, **fitted})]
    return getattr(value, "__qualname__", type(value).__name__)
