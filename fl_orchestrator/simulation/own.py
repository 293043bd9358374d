"""A run of the user's own trainers, which goes on after it was stopped."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any, Final

import numpy as np

from fl_orchestrator.audit.history import HISTORY, OWN_DATA, History, RoundEntry
from fl_orchestrator.audit.run_directory import FITS, SPEC, check_run_directory, start_run
from fl_orchestrator.chain.contract.history import HistoryHook
from fl_orchestrator.errors import InputError
from fl_orchestrator.files import read_regular, write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.model.manifest import Manifest, RuleSpec
from fl_orchestrator.roles.party.origination import originate
from fl_orchestrator.roles.party.rehearsal import training_config
from fl_orchestrator.simulation.fits import Fits, SimulatedParty
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.simulation.parallel.crew import Crew
from fl_orchestrator.simulation.parallel.remote import Ahead
from fl_orchestrator.simulation.run import (
    NOT_EVALUATED,
    Labels,
    Run,
    measures,
    require_possible,
    shape_of,
)
from fl_orchestrator.simulation.simulation import RoundReport, Shape, Simulation
from fl_orchestrator.simulation.trainers import BadTrainers, PartyTrainer, begun
from fl_orchestrator.training.checked import CheckedTrainer, checked_trainer
from fl_orchestrator.training.trainer import FloatArray, Metrics, WeightSpec

_MAX_CLIPPED: Final = 0.001
# So many parties train once before the first round, so that the scales fit more than one of them.
_TRIALS: Final = 4
_MAX_SPEC_BYTES: Final = 64 << 20
_OWN_LOSS: Final = "own"


class AnotherRun(InputError):
    """The directory has a run that was asked for differently."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for, but for its trainers and weights."""

    name: str
    rounds: int
    seed: int
    aggregators: int
    participants: int | None
    private: bool
    rule: RuleSpec
    clip_norm: float | None
    epochs: int
    batch_size: int
    learning_rate: float | None
    optimizer: str | None
    loss: str | None
    proximal_mu: float | None
    fraction_bits: int | None

    def require_possible(self, parties: int, keep: int | None) -> None:
        """Raises BadOptions and UnusableClip."""
        Options(
            parties=parties,
            aggregators=self.aggregators,
            rounds=self.rounds,
            participants=self.participants,
            seed=self.seed,
            clip_norm=self.clip_norm,
            private=self.private,
            keep=keep,
        )

    def shape(self, parties: int) -> Shape:
        return shape_of(
            parties=parties,
            participants=self.participants or parties,
            aggregators=self.aggregators,
            rounds=self.rounds,
            seed=self.seed,
            rule=self.rule.kind,
            private=self.private,
        )

    def described(self, trainer: PartyTrainer) -> dict[str, Any]:
        """The fields of the manifest that nobody has to measure."""
        compiled = trainer.compiled()
        return {
            "name": self.name,
            "purpose": "",
            "data_schema": "",
            "rule": self.rule,
            "clip_norm": self.clip_norm,
            "training": {
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "learning_rate": compiled.get("learning_rate", 0.01)
                if self.learning_rate is None
                else self.learning_rate,
                "optimizer": self.optimizer or compiled.get("optimizer", "sgd"),
                "loss": self.loss or compiled.get("loss", _OWN_LOSS),
                "metrics": (),
                "proximal_mu": self.proximal_mu or None,
            },
            "samples_per_weight": None,
            "layout_kind": "packed" if self.private else None,
            "noise": None,
            "architecture": trainer.architecture(),
        }

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "rule": self.rule.model_dump(mode="json")}


class OwnRun:
    """The run of ``trainers`` in a directory: a new one, or one that was stopped.

    With a ``crew`` the trainers are those of it.
    """

    def __init__(
        self,
        directory: Path,
        trainers: Sequence[PartyTrainer],
        asked: Asked,
        weights: Mapping[str, FloatArray] | None,
        evaluate: Any,
        *,
        resumable: bool,
        crew: Crew | None = None,
        keep: int | None = None,
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._trainers = trainers
        self._asked = asked
        by_name = evaluate is None or isinstance(evaluate, str)
        self._evaluate = evaluate if by_name else _evaluation_by(evaluate)
        if by_name and evaluate not in (None, "parties"):
            raise _unknown_evaluation(evaluate)
        self._initial = _initial(trainers[0], weights)
        self._fits = Fits(directory / FITS) if resumable else None
        self._parties = [SimulatedParty(i, one, self._fits) for i, one in enumerate(trainers)]
        self._ahead = None if crew is None else Ahead(crew, self._parties)
        _require_one_model(trainers, self._initial)
        check_run_directory(directory)
        self._spec = {
            **asked.to_json(),
            "parties": len(trainers),
            "weights": _digest(self._initial),
        }
        self._known = self._stopped_run()
        self._run: Run | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the directory has this run with its end."""
        if self._known is None or not (self._directory / HISTORY).exists():
            return False
        return History.load(self._directory).complete

    @property
    def entries(self) -> list[RoundEntry]:
        return self._started.entries

    @property
    def _started(self) -> Run:
        if self._run is None:
            raise BadTrainers("The run has not begun.", "Call start first.")
        return self._run

    def start(self, hooks: Sequence[HistoryHook] = ()) -> None:
        """Measure the scales, deploy the contracts, and register all accounts."""
        shape = self._asked.shape(len(self._trainers))
        manifest = self._known or self._measured()
        require_possible(manifest, shape)
        start_run(self._directory, keep=(SPEC, FITS) if self._known else ())
        spec = {"asked": self._spec, "manifest": json.loads(manifest.to_bytes())}
        write_whole(self._directory / SPEC, to_json(spec, indent=1) + "\n")
        self._run = Run(
            self._directory,
            manifest,
            list(self._initial.values()),
            self._parties,
            shape,
            Labels(self._asked.name, OWN_DATA),
            self._measure,
            self._ahead,
            self._keep,
        )
        for hook in hooks:
            self._run.simulation.follow(hook)

    @property
    def simulation(self) -> Simulation:
        return self._started.simulation

    def run_round(self) -> RoundEntry:
        entry = self._started.run_round()
        if self._fits is not None:
            # A run that goes on trains these rounds again.
            self._fits.drop(self._started.first_kept)
        return entry

    def finish(self) -> None:
        """Export the model, and delete what only a run that goes on needs."""
        self._started.export()
        shutil.rmtree(self._directory / FITS, ignore_errors=True)

    def _measured(self) -> Manifest:
        count = min(_TRIALS, len(self._trainers))
        numbers = np.linspace(0, len(self._trainers) - 1, count).round().astype(int)
        chosen = [self._trainers[number] for number in numbers]
        made = originate(
            chosen,
            self._asked.described(self._trainers[0]),
            self._initial,
            max_clipped=_MAX_CLIPPED,
            fraction_bits=self._asked.fraction_bits,
        )
        for trainer in chosen:  # Round 1 starts as if nothing had been tried.
            trainer.restore_site_state({})
        return made.manifest

    def _stopped_run(self) -> Manifest | None:
        """The manifest of the run in the directory. Raises AnotherRun if it is not this one."""
        path = self._directory / SPEC
        if not path.exists():
            if (self._directory / HISTORY).exists():
                raise AnotherRun(
                    f"{self._directory} has a run of `flo demo`.", "Give another directory."
                )
            return None
        try:
            found = json.loads(read_regular(path, _MAX_SPEC_BYTES))
            asked, manifest = found["asked"], Manifest.model_validate(found["manifest"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AnotherRun(f"{path} cannot be read.", "Give another directory.") from error
        mine = json.loads(to_json(self._spec))
        for key, value in mine.items():
            if asked.get(key) != value:
                raise AnotherRun(
                    f"The run in {self._directory} has {key} {asked.get(key)}, not {value}.",
                    "Give another directory, or the same arguments.",
                )
        return manifest

    def _measure(self, report: RoundReport, weights: list[FloatArray]) -> Metrics:
        root = report.root.hex()
        known = self._fits.load_evaluation(report.round, root) if self._fits else None
        if known is not None:
            return known
        config = training_config(self._started.manifest, 0, report.round)
        metrics = self._evaluated(weights, config)
        if self._fits is not None:
            self._fits.save_evaluation(report.round, root, metrics)
        return metrics

    def _evaluated(self, weights: list[FloatArray], config: dict[str, Any]) -> Metrics:
        if self._evaluate is None:
            return NOT_EVALUATED
        if self._evaluate == "parties":
            begun = [party.evaluating(weights, config) for party in self._parties]
            results = [answer() for answer in begun]
        else:
            results = [self._evaluate.evaluate(weights, config)]
        total = sum(rows for _, rows, _ in results)
        if total == 0:
            return NOT_EVALUATED
        found = [(measures(loss, metrics), rows) for loss, rows, metrics in results if rows]
        names = set.intersection(*(set(metrics) for metrics, _ in found))
        return {
            name: math.fsum(metrics[name] * rows for metrics, rows in found) / total
            for name in sorted(names)
        }


class _Function:
    """A function like `Trainer.evaluate` as a trainer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.evaluate = function


def _unknown_evaluation(evaluate: object) -> BadTrainers:
    return BadTrainers(
        f"evaluate is {evaluate!r}.",
        'Give a trainer, a function of weights and config, "parties" or None.',
    )


def _evaluation_by(evaluate: Any) -> CheckedTrainer:
    if callable(getattr(evaluate, "evaluate", None)):
        return checked_trainer(evaluate)
    if not callable(evaluate):
        raise _unknown_evaluation(evaluate)
    source = inspect.getsourcefile(evaluate) if inspect.isroutine(evaluate) else None
    return CheckedTrainer(_Function(evaluate), Path(source or "evaluate"))  # type: ignore[arg-type]


def _initial(
    trainer: PartyTrainer, weights: Mapping[str, FloatArray] | None
) -> dict[str, FloatArray]:
    found = trainer.initial_weights() if weights is None else dict(weights)
    if not found:
        raise BadTrainers(
            "Nothing says what the model's tensors are.",
            "Give weights={name: array}, or the first trainer a method initial_weights().",
        )
    for name, array in found.items():
        if weights is None and array.dtype.kind != "f":
            raise BadTrainers(
                f"The tensor {name!r} is {array.dtype}: only floating-point tensors are averaged.",
                "Leave it out of initial_weights() and fit; in a simulation none stays at a party.",
            )
    arrays = {name: np.array(array, np.float32) for name, array in found.items()}
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise BadTrainers(
            f"The first weights of {bad[0]} have NaN or infinite values.", "Give finite ones."
        )
    return arrays


def _require_one_model(trainers: Sequence[PartyTrainer], initial: Mapping[str, FloatArray]) -> None:
    tensors = [WeightSpec(name, array.shape) for name, array in initial.items()]
    question = methodcaller("require_model", tensors)
    for number, answer in enumerate([begun(trainer, question) for trainer in trainers]):
        try:
            answer()
        except InputError as error:
            raise BadTrainers(f"Party {number}: {error.message}", error.hint) from error


def _digest(weights: Mapping[str, FloatArray]) -> str:
    digest = hashlib.sha256()
    for name, array in weights.items():
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
