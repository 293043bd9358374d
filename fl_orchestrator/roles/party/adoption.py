"""Adopts new global models at a party's site, unless they are worse on its own data.

The protocol proves that a model is the result of the rule, not that it is good for this site: only
the site's own validation rows can show that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from fl_orchestrator.chain.contract.history import HistoryFollower, HistoryHook
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.content.shared import SharedFiles
from fl_orchestrator.errors import ContentError, InputError, TrainingError, VerificationError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.base import Step
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.party.last_error import keep_error
from fl_orchestrator.roles.party.measurements import Measurements
from fl_orchestrator.roles.party.rehearsal import evaluation
from fl_orchestrator.roles.party.site import SiteTrainer
from fl_orchestrator.roles.vectors import SHARED_NAME, VectorFile
from fl_orchestrator.training.site.local_tensors import model_specs
from fl_orchestrator.training.trainer import FloatArray, Handed, Metrics, Trainer
from fl_orchestrator.training.weights_file import holds, save_weights

_log = get_logger(__name__)

RECORD: Final = "models.json"
#: The file with the position up to which the history was evaluated.
CURSOR: Final = "models-cursor.json"
_MAX_RECORD_BYTES: Final = 65_536


class UnknownMetric(InputError):
    """A bound is on a metric that the trainer does not report."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A metric's smallest acceptable value, or with ``above`` its largest."""

    metric: str
    limit: float
    above: bool

    @classmethod
    def parse(cls, text: str, *, above: bool) -> tuple[Bound, ...]:
        """Read ``accuracy=0.7,auc=0.8``. Raises InputError."""
        bounds = []
        for part in filter(None, text.split(",")):
            metric, _, value = part.partition("=")
            try:
                limit = float(value)
            except ValueError:
                limit = math.nan
            if not metric.strip() or math.isnan(limit):
                raise InputError(f"{part!r} is no bound.", "Write a metric and a number: loss=0.5.")
            bounds.append(cls(metric.strip(), limit, above))
        return tuple(bounds)

    def broken_by(self, metrics: Metrics) -> str | None:
        """How metrics break this bound, in words; NaN does. Raises UnknownMetric."""
        if self.metric not in metrics:
            raise UnknownMetric(
                f"There is a bound on {self.metric!r}, which the trainer does not report.",
                f"It reports {', '.join(metrics)}.",
            )
        value = metrics[self.metric]
        if value <= self.limit if self.above else value >= self.limit:
            return None
        return f"{self.metric} is {value:.4g}, {'above' if self.above else 'below'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A global model's metrics on this site's validation data. With ``faults`` it is not adopted.

    ``again``: it was reported before, and is evaluated again after a restart of the process, or
    after the next model was revoked.
    """

    model: ModelView
    metrics: Metrics
    faults: tuple[str, ...]
    again: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "round": self.model.round,
            "root": "0x" + self.model.root.hex(),
            "metrics": self.metrics,
            "faults": list(self.faults),
        }


class Adopter(HistoryHook):
    """Evaluates each accepted model, and puts the good ones into the file at ``current``.

    A good one has a finite loss and breaks no bound.

    Genesis is evaluated, which checks that the trainer reports the metrics of the bounds, but not
    adopted. A record in the context's ``home`` shows users which model is in use; no decision
    depends on it.

    ``on_evaluated`` is called once for each accepted model, in their order and across restarts. It
    is called again for the head, with ``again``, after a start and when a revocation makes a model
    the head. Models that became final while the party was away may be skipped, because nobody has
    to keep them: only the head is always evaluated.
    """

    # Set at the start of each step, for the hook methods that it calls.
    _seen: Observation

    def __init__(
        self,
        context: Context,
        trainer: Trainer,
        current: Path,
        bounds: Sequence[Bound] = (),
        on_evaluated: Callable[[Evaluation], None] = lambda _evaluation: None,
    ) -> None:
        self._federation = context.federation
        self._account = context.address
        self._store = context.store
        self._manifest = context.manifest
        self._site = SiteTrainer(context, trainer)
        self._trainer = self._site.trainer
        self._home = context.home
        self._current = current
        self._bounds = tuple(bounds)
        self._on_evaluated = on_evaluated
        self._origin = context.origin
        self._vectors = context.vectors()
        cache = context.cache
        self._shared = None if cache is None else SharedFiles(cache, SHARED_NAME)
        self._history = HistoryFollower(context.federation, context.home / CURSOR, from_head=True)
        self._step = Step()
        self._done: ModelView | None = None
        self._measurements = Measurements(context.home)

    def has_evaluated(self, head: ModelView) -> bool:
        """Whether this head is the last one that was evaluated."""
        return head == self._done

    def step(self) -> Step:
        # The party's last observation is recent enough; it saves a request.
        self._seen = self._federation.last_seen or self._federation.observe(self._account)
        self._step = Step()
        while not self._step.action and self._history.deliver(self, self._seen, at_most=1):
            pass
        if not self._step.action and not self.has_evaluated(self._seen.head):
            self._take_in(self._seen.head, again=True)
        return self._step

    def on_accepted(self, model: ModelView) -> None:
        """Evaluate a new model. Raises what the store raises, if it is the head."""
        is_head = model == self._seen.head
        if is_head or model.height > self._seen.final_height:
            try:
                self._take_in(model, again=False)
            except (ContentError, VerificationError) as error:
                if is_head:
                    raise
                _log.warning("passed over a model", round=model.round, reason=error.for_log)

    def on_revoked(self, model: ModelView) -> None:
        """Have the model below evaluated again, unless another one is accepted already."""
        self._done = None
        self._measurements.revoked(model.round)
        used = in_use(self._home)
        if used is not None and used.get("root") == "0x" + model.root.hex():
            _log.error("alert: the global model in use was revoked", round=model.round)

    def _take_in(self, model: ModelView, again: bool) -> None:
        """Evaluate a model, decide on its use, and report it."""
        file = self._fetch(model)
        found = self._measured(model, file, again)
        self._measurements.evaluated(model.round, found.metrics, found.faults)
        if model.height > 0:
            self._decide(found, file)
        self._done = model
        self._on_evaluated(found)
        self._step = Step("refuse model" if found.faults else "evaluate model")

    def _fetch(self, model: ModelView) -> VectorFile:
        meta = self._origin.state(model.round)
        return self._vectors.fetch(self._store, model.cid, model.root, meta)

    def _measured(self, model: ModelView, file: VectorFile, again: bool) -> Evaluation:
        """Evaluate a model from its file, in the site's state for it."""
        try:
            self._site.at(model.round, model.height)
        except TrainingError as error:
            return self._failed(model, error, again)
        # Read for the trainer alone, and once more for the file in use.
        return self._evaluate(model, Handed(self._vectors.weights(file)), again)

    def _evaluate(
        self, model: ModelView, weights: list[FloatArray], again: bool = False
    ) -> Evaluation:
        try:
            metrics, _ = evaluation(self._trainer, self._manifest, weights, model.round)
        except TrainingError as error:
            return self._failed(model, error, again)
        broken = [bound.broken_by(metrics) for bound in self._bounds]
        if not math.isfinite(metrics.get("loss", 0.0)):
            broken.append(f"loss is {metrics['loss']}")
        faults = tuple(fault for fault in broken if fault) if model.height > 0 else ()
        return Evaluation(model, metrics, faults, again)

    def _failed(self, model: ModelView, error: TrainingError, again: bool) -> Evaluation:
        return Evaluation(model, {}, (keep_error(self._home, error),), again)

    def _take_into_use(self, model: ModelView, file: VectorFile) -> None:
        weights = self._site.whole(self._vectors.weights(file))
        specs = model_specs(self._manifest)

        def save() -> None:
            save_weights(self._current, weights, specs)

        if self._shared is None:
            save()
            return
        # Sites without tensors of their own have the same file.
        name = f"current-{model.round}-{model.root.hex()}{self._current.suffix}"
        self._shared.place(name, self._current, lambda path: holds(path, weights, specs), save)

    def _decide(self, found: Evaluation, file: VectorFile) -> None:
        record = {"head": found.to_json(), "current": in_use(self._home)}
        if found.faults:
            _log.error(
                "alert: the new global model is not taken into use",
                round=found.model.round,
                why="; ".join(found.faults),
                metrics=found.metrics,
                in_use=str(self._current) if self._current.exists() else None,
            )
        else:
            # With the tensors of the site that the model was evaluated with.
            self._take_into_use(found.model, file)
            record["current"] = {**found.to_json(), "file": str(self._current)}
            _log.info(
                "took the new global model into use", round=found.model.round, metrics=found.metrics
            )
        write_whole(self._home / RECORD, to_json(record, indent=2) + "\n")


def in_use(home: Path) -> dict[str, Any] | None:
    """What the record in a party's directory says of the model in use, if there is one."""
    return _record(home).get("current")


def last_evaluated(home: Path) -> dict[str, Any] | None:
    """What the record in a party's directory says of the last global model."""
    return _record(home).get("head")


def _record(home: Path) -> dict[str, Any]:
    try:
        with (home / RECORD).open("rb") as file:
            record = from_json(file.read(_MAX_RECORD_BYTES))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
