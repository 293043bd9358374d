"""`simulate`: a federation of the user's own trainers in this process, from Python."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from fl_orchestrator.audit.history import RoundEntry
from fl_orchestrator.chain.contract.history import HistoryHook
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import rule_named
from fl_orchestrator.simulation.own import Asked, OwnRun
from fl_orchestrator.simulation.parallel.crew import crew_of
from fl_orchestrator.simulation.parallel.quiet import quiet
from fl_orchestrator.simulation.parallel.remote import RemoteTrainer
from fl_orchestrator.simulation.result import SimulationResult
from fl_orchestrator.simulation.tracked import tracked
from fl_orchestrator.simulation.trainers import (
    MakeTrainer,
    PartyTrainer,
    made_trainers,
    require_number,
)
from fl_orchestrator.tracking.by_name import openers_of
from fl_orchestrator.tracking.tracker import Tracker
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer

#: `Trainer.evaluate` as a function.
EvaluateFunction = Callable[[list[FloatArray], dict[str, Any]], tuple[float, int, Metrics]]
Stop = Callable[[Sequence[RoundEntry]], bool]

_BARS: Final = "rounds"


@dataclass(frozen=True, slots=True)
class NoProgress:
    """A condition to stop early: for ``patience`` rounds a metric was no better than before.

    A loss is better when it is smaller, every other metric when it is larger. ``least`` is the
    smallest difference that counts.
    """

    metric: str = "loss"
    patience: int = 5
    least: float = 0.0

    def __call__(self, rounds: Sequence[RoundEntry]) -> bool:
        """Raises InputError if nothing reports the metric."""
        if not rounds:
            return False
        known = {"loss", "accuracy", *rounds[-1].metrics}
        if self.metric not in known:
            raise InputError(
                f"No metric is called {self.metric!r}.", f"Use one of {', '.join(sorted(known))}."
            )
        sign = -1.0 if self.metric == "loss" else 1.0
        values = [sign * measure(entry, self.metric) for entry in rounds]
        best = 0
        for number, value in enumerate(values):
            if value > values[best] + self.least or values[best] != values[best]:
                best = number
        return len(values) - 1 - best >= self.patience


def measure(entry: RoundEntry, metric: str) -> float:
    """A metric of a round, by its name; NaN if it was not evaluated."""
    if metric in ("loss", "accuracy"):
        return float(getattr(entry, metric))
    return entry.metrics.get(metric, float("nan"))


def simulate(
    trainers: Sequence[Trainer] | MakeTrainer,
    *,
    parties: int | None = None,
    rounds: int = 20,
    weights: Mapping[str, FloatArray] | None = None,
    evaluate: Trainer | EvaluateFunction | Literal["parties"] | None = "parties",
    name: str = "simulation",
    rule: RuleSpec | str = "weighted-mean",
    clip_norm: float | None = None,
    private: bool = False,
    participants: int | None = None,
    aggregators: int = 4,
    seed: int = 0,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float | None = None,
    optimizer: str | None = None,
    loss: str | None = None,
    proximal_mu: float | None = None,
    fraction_bits: int | None = None,
    directory: str | Path | None = None,
    keep: int | None = None,
    on_round: Callable[[RoundEntry], object] | None = None,
    hooks: Sequence[HistoryHook] = (),
    trackers: Sequence[Tracker | str] = (),
    stop: Stop | None = None,
    progress: bool | None = None,
    workers: int = 1,
    executor: Executor | None = None,
) -> SimulationResult:
    """Train one model across parties that share no data, with the real contracts and roles.

    Args:
        trainers: One trainer for each party, or a function of the party's number (from 0) and of
            ``parties`` that makes it.
        weights: The model's first weights, by the tensors' names; default: ``initial_weights()`` of
            the first trainer.
        evaluate: What the model of each round is evaluated by: a trainer, a function like
            `Trainer.evaluate`, "parties" (the mean over the parties' own rows), or nothing.
        rule: weighted-mean (FedAvg), median, trimmed-mean, or a `RuleSpec`.
        clip_norm: Scale each chunk of 256 consecutive values of an update down to at most this L2
            norm before the rule, in units of the model's weights (docs/protocol.md, section 3).
        private: Mask the updates, so that only sums of them can be read.
        participants: How many parties a round draws, on average; default: all.
        epochs, batch_size, learning_rate, optimizer, loss: what ``fit`` gets in its config, beside
            ``seed`` and ``round``. Defaults: as the Keras model is compiled; else 0.01 and sgd.
        proximal_mu: FedProx: holds each training back to the weights that it started from.
        fraction_bits: Fraction bits of an update's values; default: measured by training up to four
            parties once before the first round.
        directory: Where the record is kept. The same call on the directory of a run that was
            stopped goes on where it stopped, and ends with the same bits if the trainers are
            deterministic. Default: a temporary directory, which is deleted together with the
            result.
        keep: Of how many of the last rounds the updates stay on the disk. `verify` computes the
            models of only these again. Default: of all.
        on_round: Called after each round; of a run that goes on, from the first round again.
        hooks: Called for each accepted and each revoked model.
        trackers: Get everything that happens, each in a thread of its own: trackers, or names as
            "tensorboard:runs" (docs/tracking.md).
        stop: Called after each round with all rounds; ends the run if it is true (`NoProgress`).
        progress: Show a progress bar on stderr; default: on a terminal.
        workers: In how many processes the parties train at the same time. The trainers, or the
            function that makes them, must be picklable. The same bits for any number.
        executor: Train on this executor instead, for example on several machines. What a trainer
            keeps between rounds travels with each task (docs/python-api.md).

    Raises:
        InputError: arguments, trainers or directory that cannot be used; nothing was changed.
        PartyFailed: a trainer failed; the message has the party and the round.
    """
    asked = Asked(
        name=name,
        rounds=rounds,
        seed=seed,
        aggregators=aggregators,
        participants=participants,
        private=private,
        rule=rule if isinstance(rule, RuleSpec) else RuleSpec.of(rule_named(rule)),
        clip_norm=clip_norm,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        loss=loss,
        proximal_mu=proximal_mu,
        fraction_bits=fraction_bits,
    )
    openers = openers_of(trackers)
    count = require_number(trainers, parties)
    asked.require_possible(count, keep)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        crew = stack.enter_context(crew_of(trainers, count, workers, executor))
        made: Sequence[PartyTrainer] = (
            made_trainers(trainers, count)
            if crew is None
            else [RemoteTrainer(crew, number) for number in range(count)]
        )
        temporary = tempfile.TemporaryDirectory(prefix="flo-simulate-") if not directory else None
        place = Path(temporary.name if temporary else directory or "")
        run = OwnRun(
            *(place, made, asked, weights, evaluate),
            resumable=temporary is None,
            crew=crew,
            keep=keep,
        )
        if run.is_complete:
            return SimulationResult.load(place)
        advance = stack.enter_context(_progress(rounds, progress))
        run.start(hooks)
        track = stack.enter_context(tracked(run.simulation, place, openers))
        for _ in range(rounds):
            entry = run.run_round()
            track(entry)
            advance()
            if on_round is not None:
                on_round(entry)
            if stop is not None and stop(run.entries):
                break
        run.finish()
    return SimulationResult.load(place, temporary)


@contextlib.contextmanager
def _progress(rounds: int, wanted: bool | None) -> Iterator[Callable[[], None]]:
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(_BARS), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(_BARS, total=rounds)
        yield lambda: bar.advance(task)
