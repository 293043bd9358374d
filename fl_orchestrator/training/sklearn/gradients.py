"""The gradients of single rows of scikit-learn's linear models, for DP-SGD (see `dp_sgd`).

A model is trained by plain SGD on its own loss and penalty, whatever its solver or schedule is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.dp_sgd import Array, CannotProtect, clipped_sum
from fl_orchestrator.training.trainer import FloatArray


def _squared_hinge(score: Array, target: Array) -> Array:
    return -2 * target * np.maximum(0.0, 1 - score * target)


def _modified_huber(score: Array, target: Array) -> Array:
    slopes: Array = -2 * target * np.clip(1 - score * target, 0.0, 2.0)
    return slopes


def _log_loss(score: Array, target: Array) -> Array:
    # 1 / (1 + exp(margin)), written so that it does not overflow
    slopes: Array = -0.5 * target * (1 - np.tanh(0.5 * score * target))
    return slopes


#: The derivative of each loss by the score. Targets are 1 and -1, or a regression's numbers.
#: `epsilon` is that of the model.
_SLOPES: Final[dict[str, Callable[[Array, Array, float], Array]]] = {
    "hinge": lambda score, target, _: np.where(score * target <= 1, -target, 0.0),
    "perceptron": lambda score, target, _: np.where(score * target <= 0, -target, 0.0),
    "squared_hinge": lambda score, target, _: _squared_hinge(score, target),
    "modified_huber": lambda score, target, _: _modified_huber(score, target),
    "log_loss": lambda score, target, _: _log_loss(score, target),
    "squared_error": lambda score, target, _: score - target,
    "huber": lambda score, target, epsilon: np.clip(score - target, -epsilon, epsilon),
    "epsilon_insensitive": lambda score, target, epsilon: (
        np.sign(score - target) * (np.abs(score - target) > epsilon)
    ),
    "squared_epsilon_insensitive": lambda score, target, epsilon: (
        2 * np.sign(score - target) * np.maximum(0.0, np.abs(score - target) - epsilon)
    ),
}


def require_rows_apart(sklearn: Any, estimator: Any) -> None:
    """Refuse an estimator whose loss has no gradient of a single row that is known here.

    Raises:
        CannotProtect: with its name.
    """
    linear, name = sklearn.linear_model, type(estimator).__name__
    # Not PassiveAggressive…, whose steps are no gradients, nor the same as a schedule.
    known = linear.SGDClassifier, linear.SGDRegressor, linear.Perceptron, linear.LogisticRegression
    passive = getattr(estimator, "learning_rate", "") in ("pa1", "pa2")
    if not isinstance(estimator, known) or passive:
        raise CannotProtect(
            f"{name} does not show the gradients of single rows, which record-level privacy limits "
            "one by one.",
            "Use SGDClassifier, SGDRegressor, Perceptron or LogisticRegression; for a network, "
            "Keras or PyTorch.",
        )
    if getattr(estimator, "class_weight", None) == "balanced":
        raise CannotProtect(
            "class_weight='balanced' computes weights from how often each label occurs here, "
            "which has no noise.",
            "Give the weights as numbers, such as class_weight={'ill': 5}.",
        )


class LinearDescent:
    """One training of a linear model by single gradients, in float64."""

    def __init__(
        self, model: Any, x: Any, y: NDArray[Any], classes: list[Any], rate: float
    ) -> None:
        """`model` has the weights to start from; `classes` are empty for a regression."""
        self._x, self._rate, self._model = x, rate, model
        self._now = [np.array(each, np.float64) for each in (model.coef_, model.intercept_)]
        self._kernel = self._now[0].reshape(-1, self._now[0].shape[-1])
        self._slopes = _slopes_of(model, len(classes))
        self._targets, self._row_weights = _targets(model, y, classes)
        self._l2, self._l1 = _penalties(model, x.shape[0])

    def clipped_sum(self, rows: NDArray[np.int64], clip_norm: float) -> list[Array]:
        return clipped_sum(self.row_gradients(rows), clip_norm)

    def row_gradients(self, rows: NDArray[np.int64]) -> list[Array]:
        """The gradients of these rows' losses, without the penalty, which depends on no row."""
        x = self._x.iloc[rows] if hasattr(self._x, "iloc") else self._x[rows]
        x = np.asarray(x.toarray() if hasattr(x, "toarray") else x, np.float64)
        scores = np.einsum("nf,cf->nc", x, self._kernel) + self._now[1]
        slopes = self._slopes(scores, self._targets[rows]) * self._row_weights[rows, None]
        kernel = np.einsum("nc,nf->ncf", slopes, x)
        bias = slopes if self._model.fit_intercept else np.zeros_like(slopes)
        return [kernel.reshape(len(rows), *self._now[0].shape), bias]

    def move(self, gradient: list[Array]) -> None:
        """A step of SGD, and one of the penalty, which leaves the intercept alone."""
        coef, intercept = self._now
        coef -= self._rate * gradient[0]
        coef *= max(0.0, 1 - self._rate * self._l2)
        coef[...] = np.sign(coef) * np.maximum(0.0, np.abs(coef) - self._rate * self._l1)
        if self._model.fit_intercept:
            intercept -= self._rate * gradient[1]

    def weights(self) -> list[FloatArray]:
        return [each.astype(np.float32) for each in self._now]


def _slopes_of(model: Any, classes: int) -> Callable[[Array, Array], Array]:
    if not hasattr(model, "loss"):  # LogisticRegression
        return _softmax_slopes if classes > 2 else _log_loss
    slopes, epsilon = _SLOPES[model.loss], getattr(model, "epsilon", 0.0)
    return lambda score, target: slopes(score, target, epsilon)


def _softmax_slopes(scores: Array, targets: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True) - (targets > 0)
    return shares


def _targets(model: Any, y: NDArray[Any], classes: list[Any]) -> tuple[Array, Array]:
    """For each row its targets (rows, scores) and its weight (rows,)."""
    if not classes:
        return y.astype(np.float64)[:, None], np.ones(len(y))
    scored = classes[1:] if len(classes) == 2 else classes
    targets = np.stack([np.where(y == label, 1.0, -1.0) for label in scored], axis=1)
    given = getattr(model, "class_weight", None) or {}
    weights = np.ones(len(y))
    for label, weight in given.items():
        weights[y == label] = weight
    return targets, weights


def _penalties(model: Any, rows: int) -> tuple[float, float]:
    """The strengths of the squared and the absolute penalty, for a mean over the rows."""
    penalty, share = model.penalty, model.l1_ratio
    if hasattr(model, "C"):
        strength = 0.0 if penalty is None else 1 / (model.C * rows)
    else:
        strength = 0.0 if penalty is None else model.alpha
    if penalty in ("l1", "l2"):
        share = float(penalty == "l1")
    share = share or 0.0
    return strength * (1 - share), strength * share
