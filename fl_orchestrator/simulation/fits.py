"""What the parties of a simulation have trained, on disk: a run that goes on trains nothing twice.

The chain of a simulation is a function of its seed and of what the trainers return. So a run that
was stopped is run again from its first block, with these answers in place of the training, and its
blocks, models and records are those of a run that was not stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from operator import methodcaller
from pathlib import Path
from typing import Any, Final

import numpy as np

from fl_orchestrator.errors import FloError, TrainingError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.simulation.parallel.remote import RemoteTrainer, Training
from fl_orchestrator.simulation.trainers import begun
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer

_KEY: Final = "key"


class PartyFailed(FloError):
    """A party's trainer failed. It ends the simulation, which a party on a chain would not do."""

    exit_code = TrainingError.exit_code


class Fits:
    """A directory with one file for each training, and one for each evaluation of a round."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._first = 1

    def load(self, party: int, round_number: int, key: str) -> tuple[list[FloatArray], int] | None:
        """The weights and the number of rows that this training gave; None if there is no record.

        A file that is damaged, or belongs to a training from other weights, is no record.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._file(party, round_number), "numpy") as file:
                noted = file.metadata() or {}
                if noted.get(_KEY) != key:
                    return None
                arrays = [file.get_tensor(str(i)) for i in range(len(file.keys()))]
                return arrays, int(noted["samples"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def save(
        self, party: int, round_number: int, key: str, weights: list[FloatArray], samples: int
    ) -> None:
        from safetensors.numpy import save_file

        path = self._file(party, round_number)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        arrays = {str(i): np.asarray(array, order="C") for i, array in enumerate(weights)}
        save_file(arrays, temporary, {_KEY: key, "samples": str(samples)})
        temporary.replace(path)

    def drop(self, before: int) -> None:
        """Delete the trainings of the rounds before this one."""
        while self._first < before:
            for path in self._directory.glob(f"round-{self._first}/party-*.safetensors"):
                path.unlink()
            self._first += 1

    def load_evaluation(self, round_number: int, root: str) -> Metrics | None:
        """The metrics of the head after a round, if it was evaluated and had this root."""
        try:
            noted = json.loads(self._evaluation(round_number).read_bytes())
            if noted["root"] != root:
                return None
            found = noted["metrics"].items()
            return {name: math.nan if value is None else float(value) for name, value in found}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None

    def save_evaluation(self, round_number: int, root: str, metrics: Metrics) -> None:
        # Infinity has no number in JSON: it is evaluated again.
        if any(math.isinf(value) for value in metrics.values()):
            return
        path = self._evaluation(round_number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_json({"root": root, "metrics": metrics}) + "\n")

    def _file(self, party: int, round_number: int) -> Path:
        return self._directory / f"round-{round_number}" / f"party-{party}.safetensors"

    def _evaluation(self, round_number: int) -> Path:
        return self._directory / f"round-{round_number}" / "evaluation.json"


class SimulatedParty:
    """The trainer of one party of a simulation: what it has trained before is not trained again."""

    def __init__(self, number: int, trainer: Trainer, fits: Fits | None) -> None:
        self._number = number
        self._trainer = trainer
        self._fits = fits

    def begin(self, training: Training) -> bool:
        """Train from now on in another process; False if there is nothing to train there."""
        if not isinstance(self._trainer, RemoteTrainer):
            return False
        weights, config = training.weights, training.config
        if self._fits is not None:
            key = _key(weights, config)
            if self._fits.load(self._number, int(config["round"]), key) is not None:
                return False
        self._trainer.begin(training)
        return True

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train, or answer from the record. Raises PartyFailed."""
        round_number = int(config["round"])
        key = "" if self._fits is None else _key(weights, config)
        if self._fits is not None:
            known = self._fits.load(self._number, round_number, key)
            if known is not None:
                return *known, {}
        trained, samples, metrics = self._train(weights, config, round_number)
        if self._fits is not None:
            self._fits.save(self._number, round_number, key, trained, samples)
        return trained, samples, metrics

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Evaluate. Raises PartyFailed."""
        return self.evaluating(weights, config)()

    def evaluating(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> Callable[[], tuple[float, int, Metrics]]:
        """Evaluate, in another process from now on; the result raises PartyFailed."""
        found = begun(self._trainer, methodcaller("evaluate", weights, config))

        def answer() -> tuple[float, int, Metrics]:
            try:
                result: tuple[float, int, Metrics] = found()
            except TrainingError as error:
                raise self._failed(error.message, error.hint, config) from error
            return result

        return answer

    def _train(
        self, weights: list[FloatArray], config: dict[str, Any], round_number: int
    ) -> tuple[list[FloatArray], int, Metrics]:
        try:
            trained, samples, metrics = self._trainer.fit(weights, config)
        except TrainingError as error:
            raise self._failed(error.message, error.hint, config) from error
        if not all(np.isfinite(array).all() for array in trained):
            raise self._failed(
                "The trained weights have NaN or infinite values.",
                "Lower the learning rate, or scale the features.",
                {"round": round_number},
            )
        return trained, samples, metrics

    def _failed(self, message: str, hint: str | None, config: Mapping[str, Any]) -> PartyFailed:
        return PartyFailed(f"Party {self._number}, round {config['round']}: {message}", hint)


def _key(weights: list[FloatArray], config: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(to_json(config, sort_keys=True).encode())
    for array in weights:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
