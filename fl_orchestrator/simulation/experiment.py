"""A data set, partitioned among the parties of a simulated federation, trained and compared.

`flo demo` shows an experiment, and the accuracy benchmarks measure one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl_orchestrator.audit.history import (
    KERAS,
    SAFETENSORS,
    Comparison,
    History,
    RoundEntry,
    file_sha256,
)
from fl_orchestrator.audit.plots import CURVES, draw_curves
from fl_orchestrator.audit.recording import Recorder
from fl_orchestrator.audit.run_directory import start_run
from fl_orchestrator.roles.manifests import manifest_cid
from fl_orchestrator.roles.masked.terms import (
    PrivateTerms,
    for_private,
    private_params,
    require_seats,
    require_sum,
)
from fl_orchestrator.roles.setup import ANY_GENESIS, Terms, federation_params
from fl_orchestrator.simulation.options import Options, manifest_for
from fl_orchestrator.simulation.simulation import Shape, Simulation
from fl_orchestrator.training import datasets
from fl_orchestrator.training.comparison import train_alone, train_pooled
from fl_orchestrator.training.data import concatenate
from fl_orchestrator.training.keras import KerasModel, KerasTrainer
from fl_orchestrator.training.tasks import PartitionedData, Task, partition_dataset, task_named
from fl_orchestrator.training.weights_file import save_keras, save_safetensors


@dataclass(frozen=True, slots=True)
class RewardShare:
    """The stake and the credit of an account at the end, in wei."""

    role: str
    address: str
    stake: int
    credit: int


class Experiment:
    """One run in ``directory``, whose files form a readable record after every round.

    Creating it loads the data, builds the model, deploys the contracts and registers all accounts.
    An earlier run in the directory is deleted only after the options and the data were checked.
    """

    def __init__(self, options: Options, directory: Path) -> None:
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
        # Refuses impossible terms.
        params = federation_params(self.manifest, ANY_GENESIS, shape.terms)
        if shape.private is not None:
            private_params(self.manifest, params, shape.private)
        start_run(directory)
        self.simulation = Simulation(
            directory, self.manifest, self.model.initial_weights, self._trainers, shape
        )
        self._recorder = Recorder(directory, self.simulation.chain)
        self._entries: list[RoundEntry] = []
        self._exports: dict[str, str] = {}
        self.comparison: Comparison | None = None
        self.save()

    def run_round(self) -> RoundEntry:
        """Run the next round, evaluate the head's model on the test set, and record both."""
        report = self.simulation.run_round()
        entry = report.entry(*self.evaluate(self.simulation.head_weights()))
        self._entries.append(entry)
        self.save()
        return entry

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
        self.save()
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
        self.comparison = Comparison(
            accuracy=self.evaluate(self.simulation.head_weights())[1],
            accuracy_alone_mean=float(np.mean(alone)),
            accuracy_pooled=self.evaluate(pooled)[1],
        )
        self.save()
        return self.comparison

    def export(self) -> None:
        """Write the final model, the curves, and the complete record."""
        weights = self.simulation.head_weights()
        save_safetensors(self.directory / SAFETENSORS, weights, self.model.tensors)
        save_keras(self.directory / KERAS, self.model, weights)
        self._exports = {name: file_sha256(self.directory / name) for name in (SAFETENSORS, KERAS)}
        self.save()
        draw_curves(self.history(), self.directory / CURVES)

    def history(self) -> History:
        simulation, federation = self.simulation, self.simulation.federation
        genesis = federation.model(0)
        return History(
            private=self.options.private,
            dataset=self.options.dataset,
            partition=self.partition,
            rule=self.options.rule.kind.label,
            seed=self.options.seed,
            parties=self.options.parties,
            aggregators=self.options.aggregators,
            participants=self.options.drawn,
            chain_id=federation.chain_id,
            federation=federation.address,
            chain_head="0x" + simulation.chain.head_hash().hex(),
            genesis_root="0x" + genesis.root.hex(),
            genesis_cid=str(genesis.cid),
            manifest_cid=str(manifest_cid(self.manifest.digest)),
            rounds=tuple(self._entries),
            comparison=self.comparison,
            gas_total=simulation.gas_total,
            exports=self._exports,
            complete=bool(self._exports),
        )

    def save(self) -> None:
        """Write the record of the run so far."""
        self._recorder.save()
        self.history().save(self.directory)


def _shape(options: Options) -> Shape:
    terms = Terms(max_parties=options.parties, participants=options.drawn)
    private = PrivateTerms() if options.private else None
    if private is not None:
        require_sum(options.rule.kind)
        terms = for_private(terms, private)
        require_seats([terms.min_aggregator_stake] * options.aggregators, private.secrecy)
    return Shape(
        options.aggregators,
        options.rounds,
        options.seed,
        terms,
        options.relay,
        private=private,
    )
