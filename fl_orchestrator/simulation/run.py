"""A simulation with its record on disk, which is readable after every round."""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_left
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
        keep: int | None = None,
    ) -> None:
        """With ``ahead`` the trainers are in other processes, and train at the same time.

        With ``keep`` the store has the updates of so many of the last rounds.
        """
        self.directory = directory
        self.manifest = manifest
        self.simulation = Simulation(directory, manifest, genesis, trainers, shape)
        self._labels = labels
        self._evaluate = evaluate
        self._ahead = ahead
        self._pruning = None if keep is None else _Pruning(self.simulation, keep)
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
        self._prune()
        return entry

    @property
    def first_kept(self) -> int:
        """The first round whose updates are in the store."""
        return 1 if self._pruning is None else self._pruning.first_kept

    def _prune(self) -> None:
        if self._pruning is None or not self._pruning.advance():
            return
        # The record says first what is missing, so that it is right after a crash too.
        self.history().save(self.directory)
        self._pruning.drop()

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
            first_kept=self.first_kept,
            exports=self._exports,
            complete=bool(self._exports),
        )

    def save(self) -> None:
        """Write the record of the run so far."""
        self._recorder.save()
        self.history().save(self.directory)


class _Pruning:
    """Drops the updates of old rounds, and models from which no later round starts.

    No role of a run disputes a result, so nobody needs them before a round is final either.
    """

    def __init__(self, simulation: Simulation, keep: int) -> None:
        self._simulation = simulation
        self._keep = keep
        self._dropped_before = self.first_kept = 1
        self._next_height = 1  # of the first model that is not dropped; genesis stays

    def advance(self) -> bool:
        """Move the first kept round on; whether it moved."""
        last = self._simulation.observe().current.round
        self.first_kept = max(self.first_kept, last - self._keep + 1)
        return self.first_kept > self._dropped_before

    def drop(self) -> None:
        """Drop what is before the first kept round."""
        simulation = self._simulation
        for number in range(self._dropped_before, self.first_kept):
            for update in simulation.rounds.updates(number):
                simulation.store.unpin(update.cid)
        self._dropped_before = self.first_kept
        model = simulation.federation.model
        heights = range(simulation.federation.head().height + 1)
        base = bisect_left(heights, self.first_kept, key=lambda height: model(height).round) - 1
        # A round starts from the last model before it; its momentum, from the one before that.
        for height in range(self._next_height, base - 1):
            simulation.store.unpin(model(height).cid)
            self._next_height = height + 1


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
