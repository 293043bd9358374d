"""Checks that a user's trainer follows the `Trainer` protocol, and words what is wrong with it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.log import get_logger
from fl_orchestrator.training.dp_sgd import CannotProtect, PrivateTrainer, Protection
from fl_orchestrator.training.failures import BadTrainerFile, TrainerFailed, users_code
from fl_orchestrator.training.site.state import SiteState
from fl_orchestrator.training.trainer import FloatArray, Handed, Metrics, Trainer, WeightSpec

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel

_log = get_logger(__name__)

HINT: Final = "docs/operating-a-party.md shows what a trainer is; examples/ has two."
_DEBUG_HINT: Final = "Run `flo --debug …` for the traceback."
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_T = TypeVar("_T")


class CheckedTrainer:
    """Wraps a user's trainer, and checks everything that it returns.

    Weights are copied in both directions, because a trainer may train in place, or return views of
    its memory; those that are `Handed` are not, and then the result is to be used before the next
    call. Harmless faults are logged once as a warning. ``source`` is the file whose lines
    errors refer to.
    """

    def __init__(self, trainer: Trainer, source: Path) -> None:
        self._trainer = trainer
        self._source = source
        self._warned: set[str] = set()

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train. Shapes and kinds of dtype are those of `weights`; the rows are above zero.

        Floating-point arrays are cast to float32. Only tensors that stay at the site are integers.

        Raises:
            TrainerFailed: the trainer raised an error, or returned something invalid.
        """
        answer = self._call("fit", lambda: self._trainer.fit(_copies(weights), dict(config)))
        trained, samples, metrics = self._triple("fit", answer)
        # Of what was handed over there is no other copy, and none of the result either.
        read = np.asarray if isinstance(weights, Handed) else np.array
        arrays = self._arrays("fit", trained, weights, read)
        return arrays, self._count("fit", samples), self._metrics("fit", metrics)

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Return loss, number of rows and metrics. A loss or metric may be NaN for a bad model.

        If the trainer has no validation rows (it returns 0 rows, or raises NotImplementedError),
        the result is NaN, 0 and no metrics.

        Raises:
            TrainerFailed: the trainer raised an error, or returned something invalid.
        """
        try:
            answer = self._call(
                "evaluate", lambda: self._trainer.evaluate(_copies(weights), dict(config))
            )
        except TrainerFailed as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            answer = math.nan, 0, {}
        loss, samples, metrics = self._triple("evaluate", answer)
        rows = self._count("evaluate", samples, least=0)
        if rows == 0:
            self._warn("the trainer has no validation rows: models are not evaluated here")
            return math.nan, 0, {}
        number = _number(loss)
        if number is None:
            raise self._wrong("evaluate", f"the loss {shown(loss)}", "a number")
        return number, rows, self._metrics("evaluate", metrics)

    def initial_weights(self) -> dict[str, NDArray[Any]] | None:
        """Names and initial values of the model's tensors, in order; None if it has none.

        Floating-point tensors are float32; others can only stay at the site (`LocalTensors`).

        Raises:
            TrainerFailed: the trainer raised an error, or returned something invalid.
        """
        method = self._attribute("initial_weights")
        if method is None:
            return None
        initial = self._call("initial_weights", method)
        if initial is None:
            return None
        if not isinstance(initial, Mapping) or not all(isinstance(name, str) for name in initial):
            raise self._wrong("initial_weights", shown(initial), "arrays by their names")
        names = list(initial)
        if twice := [name for name in names if names.count(name) > 1]:
            raise self._wrong(
                "initial_weights", f"two tensors called {shown(twice[0])}", "one for each name"
            )
        arrays = self._arrays("initial_weights", list(initial.values()), None)
        return dict(zip(names, arrays, strict=True))

    def architecture(self) -> str | None:
        """The hex sha256 of what the model computes, if the trainer has one.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        return self._digest("architecture")

    def validation_digest(self) -> str | None:
        """The hex sha256 of the rows that `evaluate` measures on, if the trainer can say it.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        return self._digest("validation_digest")

    def classes(self) -> list[str] | None:
        """The labels of a classifier in the order of its outputs, if the trainer has any.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        method = self._attribute("classes")
        if not callable(method):
            return None
        labels = self._call("classes", method)
        if labels is not None and not (
            isinstance(labels, list | tuple) and all(isinstance(label, str) for label in labels)
        ):
            raise self._wrong("classes", shown(labels), "a list of texts")
        return None if labels is None else list(labels)

    def require_model(self, tensors: Sequence[WeightSpec], architecture: str | None = None) -> None:
        """Check that the trainer's model is this one, if the trainer describes its model.

        ``architecture`` is the digest of the manifest, if it has one.

        Raises:
            BadTrainerFile: the tensors differ; the message has the first difference.
        """
        self._require_tensors(tensors)
        use = self._attribute("use_tensors")
        if callable(use):
            self._call("use_tensors", lambda: use(list(tensors)))
        own = self.architecture() if architecture else None
        if own != architecture and own is not None:
            raise BadTrainerFile(
                "The trainer's model has the federation's tensors, but computes something else: "
                f"its architecture is {own[:12]}…, the manifest's {(architecture or '')[:12]}….",
                "Compare layers, activations and their settings with what the others run.",
            )

    def _require_tensors(self, tensors: Sequence[WeightSpec]) -> None:
        initial = self.initial_weights()
        if initial is None:
            return
        own = [WeightSpec(name, array.shape) for name, array in initial.items()]
        for mine, theirs in zip(own, tensors, strict=False):
            if mine != theirs:
                raise BadTrainerFile(
                    f"The trainer's tensor {mine.name} {mine.shape} is {theirs.name} "
                    f"{theirs.shape} in the federation's manifest.",
                    "Build the model that the manifest describes.",
                )
        if len(own) != len(tensors):
            raise BadTrainerFile(
                f"The trainer's model has {len(own)} tensors, the federation's {len(tensors)}.",
                "Build the model that the manifest describes.",
            )

    def site_state(self) -> SiteState:
        """What the trainer keeps at the site; empty if it keeps nothing. Raises TrainerFailed."""
        method = self._attribute("site_state")
        if not callable(method):
            return {}
        state = self._call("site_state", method)
        named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
        if not named or not all(isinstance(array, np.ndarray) for array in state.values()):
            raise self._wrong("site_state", shown(state), "NumPy arrays by their names")
        return {name: array.copy() for name, array in state.items()}

    def restore_site_state(self, state: SiteState) -> None:
        """Give the trainer a state of `site_state`, if it keeps one. Raises TrainerFailed."""
        method = self._attribute("restore_site_state")
        if callable(method):
            self._call("restore_site_state", lambda: method(dict(state)))

    def private(self, protection: Protection) -> tuple[PrivateTrainer, CheckedTrainer]:
        """The DP-SGD of this trainer, and its checked form. Raises CannotProtect, TrainerFailed."""
        try:
            private = self._call("row gradients", lambda: PrivateTrainer(self._trainer, protection))
        except TrainerFailed as error:
            if isinstance(error.__cause__, CannotProtect):
                raise error.__cause__ from None
            raise
        return private, CheckedTrainer(private, self._source)

    @property
    def plan(self) -> Any:
        """What a `StatisticsTrainer` sums; None for other trainers. Raises TrainerFailed."""
        return self._attribute("plan")

    @property
    def keras_model(self) -> KerasModel | None:
        """The model of a `KerasTrainer`; None for other trainers. Raises TrainerFailed."""
        model: KerasModel | None = self._attribute("keras_model")
        return model

    @property
    def keeps_state(self) -> bool:
        """Whether the trainer says what it keeps at the site (`Stateful`). Raises TrainerFailed."""
        names = ("site_state", "restore_site_state")
        return all(callable(self._attribute(name)) for name in names)

    def compiled(self) -> dict[str, Any]:
        """How a Keras model was compiled, as far as names tell; of other trainers nothing."""
        keras = self.keras_model
        if keras is None:
            return {}
        from fl_orchestrator.training.keras.optimizers import canonical, inner, losses

        library, optimizer = keras.tensorflow.keras, inner(keras.model.optimizer)
        return {
            "optimizer": canonical(optimizer, library.optimizers.get),
            "loss": ",".join(losses(library, keras.model)),
            "learning_rate": float(optimizer.learning_rate),
        }

    # ------------------------------------------------------------------ what it does, and answers

    def _attribute(self, name: str) -> Any:
        """An attribute of the trainer, or None: it may be a property, which is the user's code."""
        return self._call(name, lambda: getattr(self._trainer, name, None))

    def _call(self, name: str, function: Callable[[], _T]) -> _T:
        with users_code(f"The trainer's {name} failed", self._source, _DEBUG_HINT):
            return function()

    def _digest(self, name: str) -> str | None:
        """The answer of a method that the trainer may have, which returns a digest or None."""
        method = self._attribute(name)
        if not callable(method):
            return None
        digest = self._call(name, method)
        if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise self._wrong(name, shown(digest), "64 hexadecimal digits")
        return digest

    def _triple(self, name: str, answer: Any) -> tuple[Any, Any, Any]:
        if not isinstance(answer, tuple) or len(answer) != 3:
            first = "weights" if name == "fit" else "loss"
            raise self._wrong(name, shown(answer), f"({first}, number of rows, metrics)")
        return answer

    def _arrays(
        self,
        name: str,
        arrays: Any,
        like: Sequence[NDArray[Any]] | None,
        read: Callable[[Any], NDArray[Any]] = np.array,
    ) -> list[NDArray[Any]]:
        if not isinstance(arrays, list | tuple):
            raise self._wrong(name, shown(arrays), "a list of arrays")
        # This fails for a tensor on a GPU, or for one that requires a gradient.
        found = [self._call(name, partial(read, array)) for array in arrays]
        numbers = [is_float(array.dtype) or array.dtype.kind in "biu" for array in found]
        if not all(numbers):
            wrong = found[numbers.index(False)].dtype
            raise self._wrong(name, f"an array of {wrong}", "arrays of float32")
        if like is not None:
            for array, wanted in zip(found, like, strict=False):
                if is_float(array.dtype) != is_float(wanted.dtype):
                    raise self._wrong(
                        name, f"an array of {array.dtype}", f"arrays of {wanted.dtype}"
                    )
            if [array.shape for array in found] != [array.shape for array in like]:
                raise self._wrong(
                    name,
                    f"shapes {', '.join(str(array.shape) for array in found) or 'of nothing'}",
                    f"those of the model, {', '.join(str(array.shape) for array in like)}",
                )
        return [self._cast(name, array) for array in found]

    def _cast(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        if not is_float(array.dtype) or array.dtype == np.float32:
            return array
        self._warn(f"{name} returned {array.dtype}: it is cast to float32")
        with np.errstate(over="ignore"):  # infinity is reported when the update is encoded
            return array.astype(np.float32)

    def _count(self, name: str, samples: Any, least: int = 1) -> int:
        number = None if isinstance(samples, bool) else _number(samples)
        if number is None or number < least or not number.is_integer():
            wanted = "a whole number above zero" if least else "a whole number"
            raise self._wrong(name, f"{shown(samples)} rows", wanted)
        return int(number)

    def _metrics(self, name: str, metrics: Any) -> Metrics:
        if not isinstance(metrics, Mapping):
            raise self._wrong(name, f"the metrics {shown(metrics)}", "numbers by their names")
        items = self._call(name, lambda: [(str(key), value) for key, value in metrics.items()])
        numbers = {key: _number(value) for key, value in items}
        for key, number in numbers.items():
            if number is None:
                self._warn(f"the metric {key!r} of {name} is left out: it is not a number")
        return {key: number for key, number in numbers.items() if number is not None}

    def _warn(self, what: str) -> None:
        """Log a warning, but only the first time."""
        if what not in self._warned:
            self._warned.add(what)
            _log.warning(what, trainer=str(self._source))

    def _wrong(self, name: str, what: str, wanted: str) -> TrainerFailed:
        where = f"The trainer's {name} in {self._source}"
        return TrainerFailed(
            f"{where} returned {what}, not {wanted}.", HINT, f"{where} did not return {wanted}."
        )


def checked_trainer(trainer: Any) -> CheckedTrainer:
    """A trainer with its checks; its errors name the lines of the file that defines its class."""
    if isinstance(trainer, CheckedTrainer):
        return trainer
    try:
        source = inspect.getsourcefile(type(trainer))
    except TypeError:
        source = None
    return CheckedTrainer(trainer, Path(source or type(trainer).__module__))


def _copies(weights: Sequence[FloatArray]) -> list[FloatArray]:
    return list(weights) if isinstance(weights, Handed) else [array.copy() for array in weights]


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether it is a floating-point type; bfloat16, which NumPy knows from extensions, is one."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _number(value: Any) -> float | None:
    """A number, bool or array of one element as a float; None of anything else."""
    try:
        array = np.asarray(value)
        return float(array.reshape(())) if array.dtype.kind in "biuf" else None
    except Exception:
        return None


def shown(value: Any) -> str:
    """Format a value for a sentence; a long one is replaced by its type."""
    try:
        text = repr(value)
    except Exception:  # of the user's own class
        text = ""
    return text if 0 < len(text) <= 60 else f"a {type(value).__name__}"
