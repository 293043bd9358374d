"""Opens the tracker that the option ``--track`` names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.errors import InputError, ToolchainError, install_hint
from fl_orchestrator.tracking.kafka_address import BadKafkaAddress, kafka_address
from fl_orchestrator.tracking.tracker import Tracker
from fl_orchestrator.training.loading import load_function

DEFAULT_FUNCTION: Final = "make_tracker"
_HINT: Final = (
    "Write tensorboard:DIRECTORY, wandb:PROJECT, mlflow:URL, kafka://HOST:PORT/TOPIC or "
    "FILE.py:FUNCTION."
)


class UnknownTracker(InputError):
    """There is no such tracker, or its address is malformed."""


class TrackerMissing(ToolchainError):
    """The library of a tracker is not installed."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a tracker is for: a federation's CAIP-10 id, what this process is, and its files."""

    federation: str
    role: str
    home: Path

    @property
    def run(self) -> str:
        """The name of what a restarted process continues."""
        return f"{self.role} of {self.federation}"


Opener = Callable[[Place], Tracker]


def tracker_named(name: str) -> Opener:
    """What opens the tracker that ``name`` says. It connects to nothing yet.

    Raises UnknownTracker, TrackerMissing, BadTrainerFile and TrainerFailed.
    """
    if ".py:" in name or name.endswith(".py"):
        return _own(name)
    kind, _, rest = name.partition(":")
    opener = _OPENERS.get(kind)
    if opener is None or not rest:
        raise UnknownTracker(f"There is no tracker {name!r}.", _HINT)
    return opener(rest)


def openers_of(trackers: Sequence[Tracker | str]) -> dict[str, Opener]:
    """What opens these trackers. Raises what `tracker_named` raises."""

    def opener(one: Tracker | str) -> Opener:
        return tracker_named(one) if isinstance(one, str) else lambda _place: one

    return {
        one if isinstance(one, str) else f"{type(one).__name__} {number}": opener(one)
        for number, one in enumerate(trackers)
    }


def _own(name: str) -> Opener:
    function, called, path = load_function(name, DEFAULT_FUNCTION, "--track", "tracker")

    def opened(_place: Place) -> Tracker:
        tracker = function()
        if not isinstance(tracker, Tracker):
            raise UnknownTracker(
                f"{called} in {path} returned no Tracker.",
                "Derive its class from fl_orchestrator.Tracker.",
            )
        return tracker

    return opened


def _module(name: str, package: str, extra: str) -> Any:
    try:
        return importlib.import_module(f"fl_orchestrator.tracking.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fl_orchestrator"):
            raise
        raise TrackerMissing(
            f"This tracker needs {package}, which is not installed.",
            install_hint(extra),
        ) from error


def _tensorboard(rest: str) -> Opener:
    module = _module("tensorboard", "tensorboardX", "tensorboard")
    return lambda _place: module.TensorBoardTracker(Path(rest).expanduser())


def _wandb(rest: str) -> Opener:
    module = _module("wandb", "wandb", "wandb")
    return lambda place: module.WandbTracker(rest, place.run, place.home / "wandb")


def _mlflow(rest: str) -> Opener:
    module = _module("mlflow", "mlflow-skinny", "mlflow")
    return lambda place: module.MlflowTracker(rest, place.run)


def _kafka(rest: str) -> Opener:
    try:
        connection, topic = kafka_address(f"kafka:{rest}")
    except BadKafkaAddress as error:
        raise UnknownTracker(error.message, error.hint) from error
    module = _module("kafka", "confluent-kafka", "kafka")
    return lambda place: module.KafkaTracker(connection, topic, place.federation)


_OPENERS: Final[dict[str, Callable[[str], Opener]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "kafka": _kafka,
}
