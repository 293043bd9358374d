"""Loads a trainer from a user's own file, or from a Flower app.

It is the user's code and runs with the user's rights. Only the user can name it: no data from the
network selects a file.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from fl_orchestrator import log
from fl_orchestrator.training.checked import HINT, CheckedTrainer, shown
from fl_orchestrator.training.failures import BadTrainerFile, users_code
from fl_orchestrator.training.flower import flower_trainer
from fl_orchestrator.training.flower.apps import Scalar, require_flower

DEFAULT_FUNCTION: Final = "make_trainer"
DEFAULT_PARTY_FUNCTION: Final = "make_party"


def load_trainer(spec: str) -> CheckedTrainer:
    """Load ``FILE.py:function``, and call the function without arguments to get the trainer.

    Raises:
        BadTrainerFile: no such file or function, a syntax error, or the result is no trainer.
        TrainerFailed: the file or the function raises an error; the message has the line.
    """
    function, name, path = load_function(spec, DEFAULT_FUNCTION)
    if not _takes(function):
        raise BadTrainerFile(
            f"{name} in {path} needs arguments, but is called without any for this site.",
            f"Write a function such as def mine(): return {name}(…), and name it after the colon.",
        )
    return _made(function, name, path, ())


class PartyTrainers:
    """Makes the trainers of all parties with ``FILE.py:function``, here or in another process.

    The file is loaded when it is first used in a process.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self._loaded: tuple[Callable[..., Any], str, Path] | None = None

    def __call__(self, number: int, parties: int) -> CheckedTrainer:
        """The trainer of a party.

        Raises:
            BadTrainerFile: as `load_trainer`, or the function does not take these two arguments.
            TrainerFailed: the file or the function raises an error; the message has the line.
        """
        if self._loaded is None:
            self._loaded = load_function(self.spec, DEFAULT_PARTY_FUNCTION)
        function, name, path = self._loaded
        if not _takes(function, number, parties):
            raise BadTrainerFile(
                f"{name} in {path} cannot be called with a party's number and the number of "
                "parties.",
                f"Write def {name}(number, parties): each party needs rows of its own.",
            )
        return _made(function, name, path, (number, parties))

    def __reduce__(self) -> tuple[Any, ...]:
        return PartyTrainers, (str(Path(self.spec).absolute()),)


def _takes(function: Callable[..., Any], *arguments: int) -> bool:
    """Whether a function can be called so; True for one that does not tell what it takes."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a function of an extension
        return True
    return True


def load_function(
    spec: str, default: str, option: str = "--trainer", what: str = "trainer"
) -> tuple[Callable[..., Any], str, Path]:
    """The function that ``spec``, the value of an option, names; its name and its file.

    Raises BadTrainerFile, and TrainerFailed if the file raises an error.

    The file's directory is added to the module search path, as Python does for a script, and stays
    there: trainers import modules beside them, sometimes only during training.
    """
    file, _, name = spec.rpartition(":") if ".py:" in spec else (spec, "", default)
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise BadTrainerFile(
            f"The {what} file {file} does not exist, or is not a .py file.",
            f"Write {option} my_{what}.py:{default}.",
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
    return function, name, path


def _made(
    function: Callable[..., Any], name: str, path: Path, arguments: tuple[int, ...]
) -> CheckedTrainer:
    call = f"{name}({', '.join(map(str, arguments))})" if arguments else name
    with users_code(f"{call} in {path} failed", path, HINT):
        trainer = function(*arguments)
        missing = [m for m in ("fit", "evaluate") if not callable(getattr(trainer, m, None))]
    if missing:
        without = " and no ".join(missing)
        raise BadTrainerFile(
            f"{call} in {path} returned {shown(trainer)}, which has no {without}.", HINT
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
    log.prepare()  # A user's file may log by structlog itself.
    # It may import TensorFlow before an adapter does, with whose start this is too late.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with users_code(f"{path} cannot be loaded", path, None):
        try:
            module_spec.loader.exec_module(module)
        except SyntaxError as error:
            where = f"{error.filename}, line {error.lineno}"
            raise BadTrainerFile(f"{where}: {error.msg}.", "Correct the file.") from error
    return module


@dataclass(frozen=True, slots=True)
class FlowerSpec:
    """A Flower app as the options of the command line name it."""

    app: str
    run_config: Mapping[str, Scalar]
    node_config: Mapping[str, Scalar]
    initial: str | None


def load_flower(spec: FlowerSpec) -> CheckedTrainer:
    """Load ``my_app.client_app:app`` from the working directory, as a trainer.

    Raises:
        FlowerMissing: flwr is not installed.
        BadFlowerApp: there is no such app, or its settings cannot be read.
        TrainerFailed: the app's module raises an error; the message has the line.
    """
    place = Path.cwd()
    require_flower()
    with users_code(f"The Flower app {spec.app} cannot be loaded", place, None):
        trainer = flower_trainer(
            spec.app,
            run_config=spec.run_config,
            node_config=spec.node_config,
            initial=spec.initial,
            directory=place,
        )
    module = sys.modules[spec.app.partition(":")[0]]
    return CheckedTrainer(trainer, Path(module.__file__ or place))
