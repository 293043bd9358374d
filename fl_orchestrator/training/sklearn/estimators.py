"""How each kind of estimator of scikit-learn shows its weights, takes them, and trains on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from fl_orchestrator.errors import InputError
from fl_orchestrator.training.trainer import BadTrainingConfig, Settings

# Too small to change a weight, but more than zero, as scikit-learn demands.
_NO_STEP: Final = 1e-300
_WARM_SOLVERS: Final = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")


class UnsupportedEstimator(InputError):
    """An estimator whose weights cannot be averaged, or that cannot train on from given weights."""


class Linear:
    """Models with `coef_` and `intercept_` that are trained row by row with `partial_fit`."""

    def __init__(self, classifies: bool) -> None:
        self.classifies = classifies

    def template(self, estimator: Any, x: Any, classes: list[Any], y: Any) -> Any:
        """A model of the right shapes, with weights of zero."""
        model = copy.deepcopy(estimator)
        self._pass(model, x[:1], y[:1], classes)
        self.set_weights(model, [np.zeros(np.shape(a)) for a in self.weights(model).values()])
        return model

    def weights(self, model: Any) -> dict[str, Any]:
        return {"coef": model.coef_, "intercept": model.intercept_}

    def set_weights(self, model: Any, weights: list[Any]) -> None:
        kind = model.coef_.dtype
        model.coef_, model.intercept_ = (array.astype(kind) for array in weights)
        model.t_ = 1.0  # the schedule of learning rates begins again

    def train(self, model: Any, x: Any, y: Any, classes: list[Any], settings: Settings) -> None:
        chosen: dict[str, Any] = {"random_state": np.random.RandomState(settings.seed % 2**32)}
        has_rate = "eta0" in model.get_params(deep=False)
        if has_rate and model.learning_rate in ("constant", "invscaling", "adaptive"):
            chosen["eta0"] = settings.learning_rate
        if settings.proximal_mu and not (has_rate and model.learning_rate == "constant"):
            raise no_proximal(model)
        model.set_params(**chosen)
        self._passes(model, x, y, classes, settings)

    def _passes(self, model: Any, x: Any, y: Any, classes: list[Any], settings: Settings) -> None:
        with one_thread():
            if not settings.proximal_mu:
                for _ in range(settings.epochs):
                    self._pass(model, x, y, classes)
                return
            start = [np.array(each) for each in self.weights(model).values()]
            x = x.tocsr() if hasattr(x, "tocsr") else x
            for rows in settings.batches(x.shape[0]):
                batch = x.iloc[rows] if hasattr(x, "iloc") else x[rows]
                steps = self._steps_on(model, batch, y[rows], classes)
                settings.pull([*self.weights(model).values()], start, steps)

    def _steps_on(self, model: Any, x: Any, y: Any, classes: list[Any]) -> int:
        """Train on a batch; return the number of steps: one for each row."""
        self._pass(model, x, y, classes)
        return int(x.shape[0])

    def _pass(self, model: Any, x: Any, y: Any, classes: list[Any]) -> None:
        known = {"classes": np.asarray(classes)} if self.classifies else {}
        model.partial_fit(x, y, **known)


class Perceptron(Linear):
    """Multi-layer perceptrons, trained by batches with `partial_fit`."""

    def template(self, estimator: Any, x: Any, classes: list[Any], y: Any) -> Any:
        """A model of the right shapes, with its own random start."""
        model = copy.deepcopy(estimator)
        own = model.get_params(deep=False)
        start = 0 if own["random_state"] is None else own["random_state"]
        model.set_params(random_state=start, solver="sgd", learning_rate_init=_NO_STEP)
        self._pass(model, x[:1], y[:1], classes)
        return model.set_params(solver=own["solver"])

    def weights(self, model: Any) -> dict[str, Any]:
        layers = enumerate(zip(model.coefs_, model.intercepts_, strict=True))
        return {
            f"layer_{number}/{name}": array
            for number, pair in layers
            for name, array in zip(("kernel", "bias"), pair, strict=True)
        }

    def set_weights(self, model: Any, weights: list[Any]) -> None:
        kind = model.coefs_[0].dtype
        weights = [array.astype(kind) for array in weights]
        model.coefs_, model.intercepts_ = weights[::2], weights[1::2]
        model.t_ = 0
        del model._optimizer  # a new one is made, without momentum

    def train(self, model: Any, x: Any, y: Any, classes: list[Any], settings: Settings) -> None:
        model.set_params(
            batch_size=min(settings.batch_size, x.shape[0]),
            learning_rate_init=settings.learning_rate,
            random_state=np.random.RandomState(settings.seed % 2**32),
        )
        self._passes(model, x, y, classes, settings)

    def _steps_on(self, model: Any, x: Any, y: Any, classes: list[Any]) -> int:
        """Train on a batch, in one step."""
        self._pass(model.set_params(batch_size=x.shape[0]), x, y, classes)
        return 1


class WarmStart(Linear):
    """`LogisticRegression`: a solver that continues from given weights."""

    def template(self, estimator: Any, x: Any, classes: list[Any], y: Any) -> Any:  # noqa: ARG002
        model = copy.deepcopy(estimator).set_params(warm_start=True)
        model.classes_ = np.asarray(classes)
        rows = 1 if len(classes) == 2 else len(classes)
        model.coef_, model.intercept_ = np.zeros((rows, x.shape[1])), np.zeros(rows)
        model.n_features_in_ = x.shape[1]
        return model

    def set_weights(self, model: Any, weights: list[Any]) -> None:
        model.coef_, model.intercept_ = weights

    def train(self, model: Any, x: Any, y: Any, classes: list[Any], settings: Settings) -> None:
        """Train with one more row of each class, of weight zero: a site may lack a class."""
        if settings.proximal_mu:
            raise no_proximal(model)
        model.set_params(max_iter=settings.epochs, random_state=settings.seed % 2**32)
        weights = np.concatenate([np.ones(x.shape[0]), np.zeros(len(classes))])
        if hasattr(x, "toarray"):
            from scipy import sparse

            x = sparse.vstack([x, sparse.csr_matrix((len(classes), x.shape[1]), dtype=x.dtype)])
        else:
            x = np.concatenate([np.asarray(x), np.zeros((len(classes), x.shape[1]))])
        y = np.concatenate([y, np.asarray(classes, y.dtype if y.dtype.kind != "U" else None)])
        with one_thread(), warnings.catch_warnings():
            # A round stops before the optimum by design.
            warnings.filterwarnings("ignore", module="sklearn", category=UserWarning)
            model.fit(x, y, sample_weight=weights)


def no_proximal(model: Any) -> BadTrainingConfig:
    """Why an estimator cannot take proximal steps: they need the length of its own ones."""
    return BadTrainingConfig(
        f"FedProx (proximalMu) needs steps of a known length, which {type(model).__name__} with "
        "these settings does not have.",
        "Use SGDClassifier or SGDRegressor with learning_rate='constant', or a perceptron.",
    )


def kind_of(sklearn: Any, estimator: Any) -> Linear:
    """How an estimator is trained. Raises UnsupportedEstimator."""
    linear, network = sklearn.linear_model, sklearn.neural_network
    name = type(estimator).__name__
    if isinstance(estimator, network.MLPClassifier | network.MLPRegressor):
        if estimator.solver == "lbfgs" or estimator.early_stopping:
            raise UnsupportedEstimator(
                f"{name} cannot go on training with the solver lbfgs or with early stopping.",
                "Use the solver sgd or adam, without early_stopping.",
            )
        return Perceptron(isinstance(estimator, network.MLPClassifier))
    # Its cross-validation is a fit of its own, from zero.
    searches = isinstance(estimator, linear.LogisticRegressionCV)
    if isinstance(estimator, linear.LogisticRegression) and not searches:
        if estimator.solver not in _WARM_SOLVERS:
            raise UnsupportedEstimator(
                f"The solver {estimator.solver} cannot go on from given weights.",
                f"Use one of {', '.join(_WARM_SOLVERS)}.",
            )
        return WarmStart(classifies=True)
    # PassiveAggressive… is deprecated and will be removed.
    classifiers, regressors = (
        tuple(getattr(linear, each) for each in names if hasattr(linear, each))
        for names in (
            ("SGDClassifier", "Perceptron", "PassiveAggressiveClassifier"),
            ("SGDRegressor", "PassiveAggressiveRegressor"),
        )
    )
    if isinstance(estimator, (*classifiers, *regressors)):
        if getattr(estimator, "average", False):
            raise UnsupportedEstimator(
                f"{name} with average=True keeps weights besides those that it shows.",
                "Leave out average: the federation averages.",
            )
        balanced = getattr(estimator, "class_weight", None) == "balanced"
        if balanced or getattr(estimator, "early_stopping", False):
            raise UnsupportedEstimator(
                f"{name} cannot go on training with early stopping or with balanced classes.",
                "Leave out early_stopping, and give class_weight as numbers.",
            )
        return Linear(isinstance(estimator, classifiers))
    if type(estimator).__module__.startswith(("sklearn.tree", "sklearn.ensemble")):
        raise UnsupportedEstimator(
            f"Trees do not average: the mean of two {name}s is no {name}.",
            "Use a linear model or a multi-layer perceptron.",
        )
    raise UnsupportedEstimator(
        f"{name} has no weights that can be averaged and trained on.",
        "Use SGDClassifier, SGDRegressor, LogisticRegression, Perceptron, PassiveAggressive…, "
        "MLPClassifier or MLPRegressor.",
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra in one thread: the order of additions must not depend on the machine."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
