"""A data set, partitioned among the parties of a simulated federation, trained and compared.

`flo demo` shows an experiment, and the accuracy benchmarks measure one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl_orchestrator.audit.history import KERAS, Comparison, History, RoundEntry
from fl_orchestrator.audit.run_directory import start_run
from fl_orchestrator.simulation.options import Options, manifest_for
from fl_orchestrator.simulation.parallel.crew import crew_of
from fl_orchestrator.simulation.parallel.remote import Ahead, RemoteTrainer
from fl_orchestrator.simulation.run import Labels, Run, require_possible, shape_of
from fl_orchestrator.simulation.simulation import RoundReport, Shape
from fl_orchestrator.training import datasets
from fl_orchestrator.training.comparison import train_alone, train_pooled
from fl_orchestrator.training.data import concatenate
from fl_orchestrator.training.keras import KerasModel, KerasTrainer
from fl_orchestrator.training.tasks import PartitionedData, Task, partition_dataset, task_named
from fl_orchestrator.training.weights_file import save_keras


@dataclass(frozen=True, slots=True)
class RewardShare:
    """The stake and the credit of an account at the end, in wei."""

    role: str
    address: str
    stake: int
    credit: int


class TaskTrainers:
    """Makes the trainers of a task's parties in another process, where they share one model."""

    def __init__(self, options: Options, partition: str) -> None:
        self._options = options
        self._partition = partition
        self._loaded: tuple[KerasModel, PartitionedData] | None = None

    def __call__(self, number: int, parties: int) -> KerasTrainer:
        if self._loaded is None:
            dataset, seed = self._options.dataset, self._options.seed
            task, data = task_named(dataset), datasets.load(dataset)
            rows = partition_dataset(task, data, self._partition, parties, seed)
            self._loaded = task.keras_model(seed), rows
        model, rows = self._loaded
        return KerasTrainer(model, rows.parties[number])


class Experiment(contextlib.AbstractContextManager["Experiment"]):
    """One run in ``directory``, whose files form a readable record after every round.

    Creating it loads the data, builds the model, deploys the contracts and registers all accounts.
    An earlier run in the directory is deleted only after the options and the data were checked.
    With more than one of ``workers``, the parties of a round train in so many processes, which end
    with the block that it is used in.
    """

    def __init__(self, options: Options, directory: Path, workers: int = 1) -> None:
        self.options = options
        self.directory = directory
        self.task: Task = task_named(options.dataset)
        shape = _shape(options)
        data = datasets.load(options.dataset)
        self.licence = data.licence
        self.partition = options.partition or self.task.partition
        self.data: PartitionedData = partition_dataset(
            self.task, data, self.partition, options.parties, options.seed
        )
        self.model: KerasModel = self.task.keras_model(options.seed)
        self.manifest = manifest_for(self.task, self.model, options)
        self._trainers = [KerasTrainer(self.model, rows) for rows in self.data.parties]
        self._evaluator = KerasTrainer(self.model, self.data.test)
        require_possible(self.manifest, shape)
        made = TaskTrainers(options, self.partition)
        self._stack = contextlib.ExitStack()
        crew = self._stack.enter_context(crew_of(made, options.parties, workers, None))
        remote = [RemoteTrainer(crew, n) for n in range(options.parties)] if crew else []
        start_run(directory)
        self._run = Run(
            directory,
            self.manifest,
            self.model.initial_weights,
            remote or self._trainers,
            shape,
            Labels(options.dataset, self.partition),
            self._measure,
            Ahead(crew, remote) if crew else None,
            options.keep,
        )
        self.simulation = self._run.simulation

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def run_round(self) -> RoundEntry:
        """Run the next round, evaluate the head's model on the test set, and record both."""
        return self._run.run_round()

    def _measure(self, _report: RoundReport, weights: list[Any]) -> dict[str, float]:
        loss, accuracy = self.evaluate(weights)
        return {"loss": loss, "accuracy": accuracy}

    def evaluate(self, weights: list[Any]) -> tuple[float, float]:
        """Loss and accuracy on the common test set."""
        loss, _, metrics = self._evaluator.evaluate(weights, {})
        return loss, metrics["accuracy"]

    def accuracy_by_group(self, weights: list[Any]) -> dict[str, float]:
        """Accuracy on the test rows of each natural group, for example of each hospital."""
        return {
            name: KerasTrainer(self.model, rows).evaluate(weights, {})[2]["accuracy"]
            for name, rows in self.data.test_groups.items()
        }

    def settle(self) -> list[RewardShare]:
        """Make every round final, credit the rewards, and list the shares of all accounts."""
        self.simulation.settle()
        shares = []
        for role, signers in (
            ("party", self.simulation.accounts.parties),
            ("aggregator", self.simulation.accounts.aggregators),
        ):
            for signer in signers:
                seen = self.simulation.observe(signer.address)
                stake = seen.party.stake if role == "party" else seen.aggregator.stake
                shares.append(RewardShare(role, signer.address, stake, seen.credit))
        self._run.save()
        return shares

    def compare(self, progress: Callable[[], None] = lambda: None) -> Comparison:
        """Train each party's data alone, and all data pooled, with the federation's settings.

        ``progress`` is called after each of these ``parties + 1`` trainings.
        """
        config = self.task.training.config()
        rounds = self.options.rounds
        alone = []
        for signer, trainer in zip(self.simulation.accounts.parties, self._trainers, strict=True):
            weights = train_alone(
                trainer,
                self.model.initial_weights,
                config,
                run_seed=self.options.seed,
                party=signer.address,
                rounds=rounds,
            )
            alone.append(self.evaluate(weights)[1])
            progress()
        pooled = train_pooled(
            KerasTrainer(self.model, concatenate(self.data.parties)),
            self.model.initial_weights,
            config,
            run_seed=self.options.seed,
            party_rows=[len(rows) for rows in self.data.parties],
            rounds=rounds,
        )
        progress()
        self._run.comparison = Comparison(
            accuracy=self.evaluate(self.simulation.head_weights())[1],
            accuracy_alone_mean=float(np.mean(alone)),
            accuracy_pooled=self.evaluate(pooled)[1],
        )
        self._run.save()
        return self._run.comparison

    def export(self) -> None:
        """Write the final model, the curves, and the complete record."""
        save_keras(self.directory / KERAS, self.model, self.simulation.head_weights())
        self._run.export(KERAS)

    def history(self) -> History:
        return self._run.history()


def _shape(options: Options) -> Shape:
    return shape_of(
        parties=options.parties,
        participants=options.drawn,
        aggregators=options.aggregators,
        rounds=options.rounds,
        seed=options.seed,
        rule=options.rule.kind,
        private=options.private,
        relay=options.relay,
    )
