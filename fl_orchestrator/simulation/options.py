"""What to run on a data set, and the manifest that follows from it. Nothing here needs an EVM."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Features, Manifest, RuleSpec, TensorSpec, TrainingSpec
from fl_orchestrator.model.protocol import MAX_AGGREGATORS
from fl_orchestrator.model.rules import chunk_norm_limit, require_plain_clip
from fl_orchestrator.training.tasks import Task

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel
    from fl_orchestrator.training.numpy_logistic import NumpyLogistic


class BadOptions(InputError):
    """The options of an experiment are out of range or contradict each other."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run.

    Without ``participants`` a round draws all parties; without ``partition`` the rows are
    partitioned as the task says. ``clip_norm`` is that of `chunk_norm_limit`. ``keep`` is of how
    many of the last rounds the updates stay on the disk; None means all.
    """

    dataset: str = "breast-cancer"
    parties: int = 10
    aggregators: int = 4
    rounds: int = 10
    partition: str | None = None
    rule: RuleSpec = field(default_factory=RuleSpec)
    clip_norm: float | None = None
    participants: int | None = None
    seed: int = 0
    relay: bool = True
    private: bool = False
    keep: int | None = None

    def __post_init__(self) -> None:
        limits = {
            "parties": (self.parties, 1, 10_000),
            "aggregators": (self.aggregators, 1, MAX_AGGREGATORS),
            "rounds": (self.rounds, 1, 10_000),
            "keep": (self.rounds if self.keep is None else self.keep, 1, 10_000),
            "participants": (self.drawn, 1, self.parties),
            "seed": (self.seed, 0, 2**63 - 1),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise BadOptions(f"--{name} is {value}; it must be {low} to {high}.")
        require_plain_clip(self.clip_norm, self.private)

    @property
    def drawn(self) -> int:
        """How many parties a round is expected to draw."""
        return self.parties if self.participants is None else self.participants


def manifest_for(task: Task, model: KerasModel | NumpyLogistic, options: Options) -> Manifest:
    """The manifest of a federation that trains this model for a task."""
    tensors = tuple(TensorSpec(name=t.name, shape=t.shape) for t in model.tensors)
    places = ((t.name, t.shape, t.offset) for t in tensors)
    layout = Layout.of(places, packed=options.private)
    training, rule = task.training, options.rule
    if options.clip_norm is not None:
        limit = chunk_norm_limit(options.clip_norm, task.update_fraction_bits)
        rule = rule.model_copy(update={"chunk_norm_limit": limit})
    return Manifest(
        name=task.name,
        purpose=task.purpose,
        tensors=tensors,
        update_fraction_bits=task.update_fraction_bits,
        depth=layout.depth,
        rule=rule,
        samples_per_weight=task.samples_per_weight,
        training=TrainingSpec(
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            optimizer=training.optimizer,
            loss=training.loss,
            metrics=training.metrics,
        ),
        features=None
        if task.features is None
        else Features(mean=task.features.mean, scale=task.features.scale),
        layout_kind="packed" if options.private else None,
        data_schema=task.schema,
    )
