"""A simulation with its record on disk, which is readable after every round."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl_orchestrator.audit.history import SAFETENSORS, Comparison, History, RoundEntry, file_sha256
from fl_orchestrator.audit.plots import CURVES, NoPlots, draw_curves
from fl_orchestrator.audit.recording import Recorder
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.manifests import manifest_cid
from fl_orchestrator.roles.masked.terms import (
    PrivateTerms,
    for_private,
    private_params,
    require_seats,
    require_sum,
)
from fl_orchestrator.roles.setup import ANY_GENESIS, Terms, federation_params
from fl_orchestrator.simulation.parallel.remote import Ahead
from fl_orchestrator.simulation.simulation import RoundReport, Shape, Simulation
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer, WeightSpec
from fl_orchestrator.training.weights_file import save_safetensors

#: The loss and the metrics of the head's weights after a round.
Evaluate = Callable[[RoundReport, list[FloatArray]], Metrics]


@dataclass(frozen=True, slots=True)
class Labels:
    """What the record says of a run beside what its shape and manifest say."""

    dataset: str
    partition: str


class Run:
    """A simulation in ``directory``, an empty directory that `start_run` made, and its record."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        genesis: Sequence[FloatArray],
        trainers: Sequence[Trainer],
        shape: Shape,
        labels: Labels,
        evaluate: Evaluate,
        ahead: Ahead | None = None,
    ) -> None:
        """With ``ahead`` the trainers are in other processes, and train at the same time."""
        self.directory = directory
        self.manifest = manifest
        self.simulation = Simulation(directory, manifest, genesis, trainers, shape)
        self._labels = labels
        self._evaluate = evaluate
        self._ahead = ahead
        self._recorder = Recorder(directory, self.simulation.chain)
        self._exports: dict[str, str] = {}
        self.entries: list[RoundEntry] = []
        self.comparison: Comparison | None = None
        self.save()

    def run_round(self) -> RoundEntry:
        """Run the next round, evaluate the head's model, and record both."""
        self.simulation.open_round()
        if self._ahead is not None:
            self._ahead.begin(self.simulation.trainings())
        report = self.simulation.finish_round()
        entry = report.entry(self._evaluate(report, self.simulation.head_weights()))
        self.entries.append(entry)
        self.save()
        return entry

    def export(self, *others: str) -> None:
        """Write the final model, the curves, and the complete record.

        ``others`` are files of the same model that the caller has written.
        """
        tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in self.manifest.tensors]
        save_safetensors(self.directory / SAFETENSORS, self.simulation.head_weights(), tensors)
        names = (SAFETENSORS, *others)
        self._exports = {name: file_sha256(self.directory / name) for name in names}
        self.save()
        with contextlib.suppress(NoPlots):  # the record is complete without a picture
            draw_curves(self.history(), self.directory / CURVES)

    def history(self) -> History:
        simulation, federation = self.simulation, self.simulation.federation
        genesis, shape = federation.model(0), simulation.shape
        return History(
            private=shape.private is not None,
            dataset=self._labels.dataset,
            partition=self._labels.partition,
            rule=self.manifest.rule.kind.label,
            seed=shape.seed,
            parties=len(simulation.accounts.parties),
            aggregators=shape.aggregators,
            participants=shape.terms.participants,
            chain_id=federation.chain_id,
            federation=federation.address,
            chain_head="0x" + simulation.chain.head_hash().hex(),
            genesis_root="0x" + genesis.root.hex(),
            genesis_cid=str(genesis.cid),
            manifest_cid=str(manifest_cid(self.manifest.digest)),
            rounds=tuple(self.entries),
            comparison=self.comparison,
            gas_total=simulation.gas_total,
            exports=self._exports,
            complete=bool(self._exports),
        )

    def save(self) -> None:
        """Write the record of the run so far."""
        self._recorder.save()
        self.history().save(self.directory)


def shape_of(
    *,
    parties: int,
    participants: int,
    aggregators: int,
    rounds: int,
    seed: int,
    rule: RuleKind,
    private: bool,
    relay: bool = True,
) -> Shape:
    """The shape of a simulation. Raises NotPrivate, and InputError for a rule that is no sum."""
    terms = Terms(max_parties=parties, participants=participants)
    if not private:
        return Shape(aggregators, rounds, seed, terms, relay)
    require_sum(rule)
    own = PrivateTerms()
    terms = for_private(terms, own)
    require_seats([terms.min_aggregator_stake] * aggregators, own.secrecy)
    return Shape(aggregators, rounds, seed, terms, relay, private=own)


def require_possible(manifest: Manifest, shape: Shape) -> None:
    """Refuse impossible terms before anything is written."""
    params = federation_params(manifest, ANY_GENESIS, shape.terms)
    if shape.private is not None:
        private_params(manifest, params, shape.private)


def measures(loss: float, metrics: Metrics) -> Metrics:
    """A loss and metrics by their names; a metric called loss does not replace the loss."""
    return {**metrics, "loss": loss}


NOT_EVALUATED: Metrics = {"loss": math.nan}
