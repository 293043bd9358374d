"""Loads a trainer from a user's own file, and checks that it follows the `Trainer` protocol.

The file is the user's code and runs with the user's rights. Only the user can name it: no data from
the network selects a file.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import structlog

from fl_orchestrator.errors import FloError, InputError, TrainingError
from fl_orchestrator.training.dp_sgd import PrivateTrainer, Protection
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer, WeightSpec

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel

_log = structlog.get_logger(__name__)

DEFAULT_FUNCTION: Final = "make_trainer"
_HINT: Final = "docs/operating-a-party.md shows what a trainer is; examples/ has two."
_DEBUG_HINT: Final = "Run `flo --debug …` for the traceback."
# The most characters of an error's text in a log. The text is also cut at the first quote, bracket,
# colon or digit, because a value of the data may follow.
_MOST_LOGGED: Final = 80
_VALUES: Final = re.compile(r"""['"`‘“\[({<:=|\n\r\t0-9]""")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_T = TypeVar("_T")


class BadTrainerFile(InputError):
    """The file cannot be used, or its function does not return a trainer."""


class TrainerFailed(TrainingError):
    """A trainer raised an error, or returned an invalid model, loss or metric.

    The message may contain values of the site's data, because frameworks put them into their
    messages. So a log gets only ``summary``: the type of the error, the line, and the start of its
    text.
    """

    def __init__(self, message: str, hint: str | None, summary: str) -> None:
        super().__init__(message, hint)
        self._summary = summary

    @property
    def for_log(self) -> str:
        return self._summary


class CheckedTrainer:
    """Wraps a user's trainer, and checks everything that it returns.

    Weights are copied in both directions, because a trainer may train in place, or return views of
    its memory. Harmless faults are logged once as a warning. ``source`` is the file whose lines
    errors refer to.
    """

    def __init__(self, trainer: Trainer, source: Path) -> None:
        self._trainer = trainer
        self._source = source
        self._warned: set[str] = set()

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train. The returned shapes are those of `weights`; the number of rows is above zero.

        Raises:
            TrainerFailed: the trainer raised an error, or returned something invalid.
        """
        answer = self._call("fit", lambda: self._trainer.fit(_copies(weights), dict(config)))
        trained, samples, metrics = self._triple("fit", answer)
        arrays = self._arrays("fit", trained, [array.shape for array in weights])
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
            raise self._wrong("evaluate", f"the loss {_shown(loss)}", "a number")
        return number, rows, self._metrics("evaluate", metrics)

    def initial_weights(self) -> dict[str, FloatArray] | None:
        """Names and initial values of the model's tensors, in order; None if it has no such method.

        Raises:
            TrainerFailed: the trainer raised an error, or returned something invalid.
        """
        method = self._attribute("initial_weights")
        if method is None:
            return None
        initial = self._call("initial_weights", method)
        if not isinstance(initial, Mapping) or not all(isinstance(name, str) for name in initial):
            raise self._wrong("initial_weights", _shown(initial), "arrays by their names")
        arrays = self._arrays("initial_weights", list(initial.values()), None)
        return dict(zip(initial, arrays, strict=True))

    def architecture(self) -> str | None:
        """The hex sha256 of what the model computes, if the trainer has one.

        Raises:
            TrainerFailed: whatever the trainer raises, and what it should not return.
        """
        method = self._attribute("architecture")
        if not callable(method):
            return None
        digest = self._call("architecture", method)
        if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise self._wrong("architecture", _shown(digest), "64 hexadecimal digits")
        return digest

    def require_model(self, tensors: Sequence[WeightSpec], architecture: str | None = None) -> None:
        """Check that the trainer's model is this one, if the trainer describes its model.

        ``architecture`` is the digest of the manifest, if it has one.

        Raises:
            BadTrainerFile: the tensors differ; the message has the first difference.
        """
        self._require_tensors(tensors)
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

    def private(self, protection: Protection) -> tuple[PrivateTrainer, CheckedTrainer]:
        """The DP-SGD of this trainer, and its checked form. Raises CannotProtect."""
        private = PrivateTrainer(self._trainer, protection)
        return private, CheckedTrainer(private, self._source)

    @property
    def keras_model(self) -> KerasModel | None:
        """The model of a `KerasTrainer`; None for other trainers. Raises TrainerFailed."""
        model: KerasModel | None = self._attribute("keras_model")
        return model

    # ------------------------------------------------------------------ what it does, and answers

    def _attribute(self, name: str) -> Any:
        """An attribute of the trainer, or None: it may be a property, which is the user's code."""
        return self._call(name, lambda: getattr(self._trainer, name, None))

    def _call(self, name: str, function: Callable[[], _T]) -> _T:
        with _users_code(f"The trainer's {name} failed", self._source, _DEBUG_HINT):
            return function()

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
        # This fails for a tensor on a GPU, or for one that requires a gradient.
        found = [self._call(name, partial(np.array, array)) for array in arrays]
        if wrong := [array.dtype for array in found if array.dtype.kind != "f"]:
            raise self._wrong(name, f"an array of {wrong[0]}", "arrays of float32")
        if shapes is not None and [array.shape for array in found] != list(shapes):
            raise self._wrong(
                name,
                f"shapes {', '.join(str(array.shape) for array in found) or 'of nothing'}",
                f"those of the model, {', '.join(map(str, shapes))}",
            )
        return [array.astype(np.float32, copy=False) for array in found]

    def _count(self, name: str, samples: Any, least: int = 1) -> int:
        number = None if isinstance(samples, bool) else _number(samples)
        if number is None or number < least or not number.is_integer():
            wanted = "a whole number above zero" if least else "a whole number"
            raise self._wrong(name, f"{_shown(samples)} rows", wanted)
        return int(number)

    def _metrics(self, name: str, metrics: Any) -> Metrics:
        if not isinstance(metrics, Mapping):
            raise self._wrong(name, f"the metrics {_shown(metrics)}", "numbers by their names")
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
            f"{where} returned {what}, not {wanted}.", _HINT, f"{where} did not return {wanted}."
        )


def load_trainer(spec: str) -> CheckedTrainer:
    """Load ``FILE.py:function``, and call the function without arguments to get the trainer.

    The file's directory is added to the module search path, as Python does for a script, and stays
    there: trainers import modules beside them, sometimes only during training.

    Raises:
        BadTrainerFile: no such file or function, a syntax error, or the result is no trainer.
        TrainerFailed: the file or the function raises an error; the message has the line.
    """
    file, _, name = spec.rpartition(":") if ".py:" in spec else (spec, "", DEFAULT_FUNCTION)
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise BadTrainerFile(
            f"The trainer file {file} does not exist, or is not a .py file.",
            "Write --trainer my_trainer.py:make_trainer.",
        )
    module = _import(path.resolve())
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(name, functions, n=1)
        raise BadTrainerFile(
            f"{path} has no function {name!r}.",
            f"Did you mean {near[0]}?" if near else "Write its name after the colon.",
        )
    with _users_code(f"{name} in {path} failed", path, _HINT):
        trainer = function()
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
    # Dataclasses, and the pickling between processes of a data loader, need this entry.
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    with _users_code(f"{path} cannot be loaded", path, None):
        try:
            module_spec.loader.exec_module(module)
        except SyntaxError as error:
            where = f"{error.filename}, line {error.lineno}"
            raise BadTrainerFile(f"{where}: {error.msg}.", "Correct the file.") from error
    return module


@contextlib.contextmanager
def _users_code(what: str, source: Path, hint: str | None) -> Iterator[None]:
    """Run code of the user: all that it raises becomes TrainerFailed, except an interrupt.

    Also what is no Exception, as the panic of an extension in Rust or the end of the process:
    otherwise its text, which may contain values of the data, would end up in the log.
    """
    try:
        with _own_arguments(source):
            yield
    except (KeyboardInterrupt, BadTrainerFile):
        raise
    except BaseException as error:
        told = isinstance(error, FloError)  # its sentence is enough
        raise _failure(what, error, source, None if told else hint) from error


@contextlib.contextmanager
def _own_arguments(path: Path) -> Iterator[None]:
    """Set sys.argv as for a script; else an argparse in the user's code reads flo's options."""
    before, sys.argv = sys.argv, [str(path)]
    try:
        yield
    finally:
        sys.argv = before


def _copies(weights: list[FloatArray]) -> list[FloatArray]:
    return [array.copy() for array in weights]


def _failure(what: str, error: BaseException, source: Path, hint: str | None) -> TrainerFailed:
    """Wrap an error of the user's code, with the last line of the user's file in the traceback."""
    if isinstance(error, FloError):
        told, summary = error.message.rstrip("."), error.for_log.rstrip(".")
    else:
        told, summary = _named(error), _beginning(error)
    where = _line_in(source, error)
    return TrainerFailed(f"{what}: {told}{where}.", hint, f"{what}: {summary}{where}.")


def _line_in(source: Path, error: BaseException) -> str:
    mine = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == source.resolve()
    ]
    return f" ({source}, line {mine[-1].lineno})" if mine else f" ({source})"


def _beginning(error: BaseException) -> str:
    """The error's type and the start of its text, cut before a possible value of the data."""
    begun = _VALUES.split(_text(error), maxsplit=1)[0].strip()[:_MOST_LOGGED]
    return f"{type(error).__name__}: {begun} …" if begun else type(error).__name__


def _named(error: BaseException) -> str:
    text = _text(error).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception:  # an error of the user's own class
        return ""


def _number(value: Any) -> float | None:
    """A number, bool or array of one element as a float; None of anything else."""
    try:
        array = np.asarray(value)
        return float(array.reshape(())) if array.dtype.kind in "biuf" else None
    except Exception:
        return None


def _shown(value: Any) -> str:
    """Format a value for a sentence; a long one is replaced by its type."""
    try:
        text = repr(value)
    except Exception:  # of the user's own class
        text = ""
    return text if 0 < len(text) <= 60 else f"a {type(value).__name__}"
