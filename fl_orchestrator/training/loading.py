"""Loads a trainer from a person's own file, and holds it to the `Trainer` protocol.

The file is the person's code: it runs with all their rights, and only because they named it.
Nothing that came over a network names one.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from fl_orchestrator.errors import FloError, InputError, TrainingError
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer, WeightSpec

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel

DEFAULT_FUNCTION: Final = "make_trainer"
_HINT: Final = "docs/operating-a-party.md shows what a trainer is; examples/ has two."
# Of an error's text. What follows a quote, a bracket, a colon or a digit may be a value.
_MOST_LOGGED: Final = 80
_VALUES: Final = re.compile(r"""['"`‘“\[({<:=|\n\r\t0-9]""")
_T = TypeVar("_T")


class BadTrainerFile(InputError):
    """The file, or what its function returns, is no trainer."""


class TrainerFailed(TrainingError):
    """A trainer raised an error, or returned something that is no model, loss or metric.

    The message may have values of the site's data in it, as frameworks put them into theirs. So a
    log has ``summary`` alone: what kind of error, where, and how its text begins.
    """

    def __init__(self, message: str, hint: str | None, summary: str) -> None:
        super().__init__(message, hint)
        self._summary = summary

    @property
    def for_log(self) -> str:
        return self._summary


class CheckedTrainer:
    """A trainer whose every answer is looked at: the user's, behind the `Trainer` protocol.

    ``source`` is the file that errors are traced to.
    """

    def __init__(self, trainer: Trainer, source: Path) -> None:
        self._trainer = trainer
        self._source = source

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train; the shapes are those of `weights`, the number of rows is above zero.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        answer = self._call("fit", lambda: self._trainer.fit(weights, dict(config)))
        trained, samples, metrics = self._triple("fit", answer)
        arrays = self._arrays("fit", trained, [array.shape for array in weights])
        return arrays, self._count("fit", samples), self._metrics("fit", metrics)

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Loss, rows and metrics; they may be NaN, which is what a ruined model gives.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        answer = self._call("evaluate", lambda: self._trainer.evaluate(weights, dict(config)))
        loss, samples, metrics = self._triple("evaluate", answer)
        if not _is_number(loss):
            raise self._wrong("evaluate", f"the loss {_shown(loss)}", "a number")
        return float(loss), self._count("evaluate", samples), self._metrics("evaluate", metrics)

    def initial_weights(self) -> dict[str, FloatArray] | None:
        """Names and first values of the model's tensors, in order, if the trainer has them.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        method: Any = getattr(self._trainer, "initial_weights", None)
        if method is None:
            return None
        initial = self._call("initial_weights", method)
        if not isinstance(initial, Mapping) or not all(isinstance(name, str) for name in initial):
            raise self._wrong("initial_weights", _shown(initial), "arrays by their names")
        arrays = self._arrays("initial_weights", list(initial.values()), None)
        return dict(zip(initial, arrays, strict=True))

    def require_model(self, tensors: Sequence[WeightSpec]) -> None:
        """Refuse a trainer of another model, where it says what its model is.

        Raises:
            BadTrainerFile: with the first difference.
        """
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

    @property
    def keras_model(self) -> KerasModel | None:
        """The model of a `KerasTrainer`; None of any other."""
        model: KerasModel | None = getattr(self._trainer, "keras_model", None)
        return model

    # ------------------------------------------------------------------ what it does, and answers

    def _call(self, name: str, function: Callable[[], _T]) -> _T:
        try:
            return function()
        except Exception as error:
            raise _failure(
                f"The trainer's {name} failed",
                error,
                self._source,
                None if isinstance(error, FloError) else "Run `flo --debug …` for all of it.",
            ) from error

    def _triple(self, name: str, answer: Any) -> tuple[Any, Any, Any]:
        if not isinstance(answer, tuple) or len(answer) != 3:
            first = "weights" if name == "fit" else "loss"
            raise self._wrong(name, _shown(answer), f"({first}, number of rows, metrics)")
        return answer

    def _arrays(
        self, name: str, arrays: Any, shapes: Sequence[tuple[int, ...]] | None
    ) -> list[FloatArray]:
        if not isinstance(arrays, list | tuple):
            raise self._wrong(name, _shown(arrays), "a list of arrays")
        found = [np.asarray(array) for array in arrays]
        if wrong := [array.dtype for array in found if array.dtype.kind != "f"]:
            raise self._wrong(name, f"an array of {wrong[0]}", "arrays of float32")
        if shapes is not None and [array.shape for array in found] != list(shapes):
            raise self._wrong(
                name,
                f"shapes {', '.join(str(array.shape) for array in found) or 'of nothing'}",
                f"those of the model, {', '.join(map(str, shapes))}",
            )
        return [array.astype(np.float32, copy=False) for array in found]

    def _count(self, name: str, samples: Any) -> int:
        if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
            raise self._wrong(name, f"{_shown(samples)} rows", "a whole number above zero")
        return int(samples)

    def _metrics(self, name: str, metrics: Any) -> Metrics:
        if not isinstance(metrics, Mapping) or not all(map(_is_number, metrics.values())):
            raise self._wrong(name, f"the metrics {_shown(metrics)}", "numbers by their names")
        return {str(key): float(value) for key, value in metrics.items()}

    def _wrong(self, name: str, what: str, wanted: str) -> TrainerFailed:
        where = f"The trainer's {name} in {self._source}"
        return TrainerFailed(
            f"{where} returned {what}, not {wanted}.", _HINT, f"{where} did not return {wanted}."
        )


def load_trainer(spec: str) -> CheckedTrainer:
    """Load ``FILE.py:function`` and call the function, without arguments, for its trainer.

    The file's directory is added to the module search path, as Python does for a script: trainers
    import what lies beside them, some of it only when they train.

    Raises:
        BadTrainerFile: no such file or function, a syntax error, or no trainer.
        TrainerFailed: the file or the function raises an error; the message has its line.
    """
    file, _, name = spec.rpartition(":") if ".py:" in spec else (spec, "", DEFAULT_FUNCTION)
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise BadTrainerFile(
            f"The trainer file {file} does not exist, or is no .py file.",
            "Write --trainer my_trainer.py:make_trainer.",
        )
    module = _import(path.resolve())
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(name, functions, n=1)
        raise BadTrainerFile(
            f"{path} has no function {name!r}.",
            f"Did you mean {near[0]}?" if near else "It is named after the colon.",
        )
    try:
        trainer = function()
    except Exception as error:
        raise _failure(f"{name} in {path} failed", error, path, _HINT) from error
    missing = [m for m in ("fit", "evaluate") if not callable(getattr(trainer, m, None))]
    if missing:
        without = " and no ".join(missing)
        raise BadTrainerFile(
            f"{name} in {path} returned {_shown(trainer)}, which has no {without}.", _HINT
        )
    return CheckedTrainer(trainer, path)


def _import(path: Path) -> ModuleType:
    name = f"flo_trainer_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise BadTrainerFile(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(module_spec)
    # Dataclasses and pickling, between processes of a data loader, look modules up there.
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        module_spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise BadTrainerFile(f"{where}: {error.msg}.", "Correct the file.") from error
    except Exception as error:
        raise _failure(f"{path} cannot be loaded", error, path, None) from error
    return module


def _failure(what: str, error: Exception, source: Path, hint: str | None) -> TrainerFailed:
    """The error of a person's own code, with the last line of their file that led to it."""
    if isinstance(error, FloError):
        told, summary = error.message.rstrip("."), error.for_log.rstrip(".")
    else:
        told, summary = _named(error), _beginning(error)
    where = _line_in(source, error)
    return TrainerFailed(f"{what}: {told}{where}.", hint, f"{what}: {summary}{where}.")


def _line_in(source: Path, error: Exception) -> str:
    mine = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == source.resolve()
    ]
    return f" ({source}, line {mine[-1].lineno})" if mine else ""


def _beginning(error: Exception) -> str:
    """The error's type and how its text begins, up to where a value of the data may stand."""
    begun = _VALUES.split(str(error).strip(), maxsplit=1)[0].strip()[:_MOST_LOGGED]
    return f"{type(error).__name__}: {begun} …" if begun else type(error).__name__


def _named(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value in a sentence, without the whole of a large one."""
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
