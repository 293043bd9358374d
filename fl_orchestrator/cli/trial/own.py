"""`flo demo --trainer`: a federation of the user's own trainers, as `simulate` runs it."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from fl_orchestrator.cli import streams
from fl_orchestrator.cli.console import (
    duration,
    err,
    interruptible,
    print_json,
    progress,
    quiet_if,
    safe,
    say,
    short,
)
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fl_orchestrator.audit.history import RoundEntry
    from fl_orchestrator.model.manifest import RuleSpec
    from fl_orchestrator.simulation.result import SimulationResult
    from fl_orchestrator.training.checked import CheckedTrainer
    from fl_orchestrator.training.loading import PartyTrainers

_PARTIES: Final = 10
# The columns of a terminal hold so many metrics beside the loss.
_SHOWN: Final = 3
_PANEL: Final = "With --trainer"
OWN_OPTIONS: Final = ("evaluate", "epochs", "batch_size", "learning_rate", "proximal_mu")
COMBINES: Final = frozenset(
    {
        *("trainer", "parties", "aggregators", "rounds", "rule", "trim", "participants", "seed"),
        *("server_learning_rate", "server_momentum", "clip_norm"),
        *("output", "private", "json_output", "track", "workers", "keep", *OWN_OPTIONS),
    }
)

EvaluateOption = Annotated[
    str | None,
    typer.Option(
        "--evaluate",
        metavar="FILE.py:FUNCTION",
        help="A function without arguments that returns a trainer, whose rows measure each model. "
        "Default: the mean over the parties' own rows.",
        rich_help_panel=_PANEL,
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Epochs. Default: 1.", rich_help_panel=_PANEL)
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(min=1, help="Rows in a training step. Default: 32.", rich_help_panel=_PANEL),
]
LearningRateOption = Annotated[
    float | None,
    typer.Option(
        help="The learning rate. Default: as a Keras model is compiled, else 0.01.",
        rich_help_panel=_PANEL,
    ),
]
ProximalOption = Annotated[
    float | None,
    typer.Option(
        "--proximal-mu",
        help="FedProx: holds each training back to the weights it started from; 0.001 to 1.",
        rich_help_panel=_PANEL,
    ),
]


class NeedsTrainer(InputError):
    """An option that has a meaning for the user's own trainers only."""


@dataclass(frozen=True, slots=True)
class OwnTrainers:
    """What to run: ``spec`` names the function that makes a party's trainer.

    ``options`` are those of `simulate` that were given; the others have its defaults.
    """

    spec: str
    parties: int | None
    rounds: int
    rule: RuleSpec
    evaluate: str | None
    options: dict[str, Any]

    def run(self, directory: Path, console: Console) -> SimulationResult:
        """Raises what the trainers' files, `simulate` and the trainers raise."""
        from fl_orchestrator.simulation.api import simulate
        from fl_orchestrator.training.loading import PartyTrainers, load_trainer

        streams.divert()
        parties = self.parties or _PARTIES
        make = PartyTrainers(self.spec)
        trainers: Sequence[CheckedTrainer] | PartyTrainers = make
        with err.status("Loading the trainers and their data …"):
            if self.options["workers"] == 1:  # else the workers do, each its own
                trainers = [make(number, parties) for number in range(parties)]
            evaluate: CheckedTrainer | Literal["parties"] = "parties"
            if self.evaluate is not None:
                evaluate = load_trainer(self.evaluate)
        say(
            f"{safe(self.spec)}: {parties} parties; rule {self.rule}; "
            f"{self.options['aggregators']} aggregators; seed {self.options['seed']}."
            f"{' Private: only sums of updates can be read.' * self.options['private']}\n",
            console,
        )
        shown: list[RoundEntry] = []
        with progress(console, "training", self.rounds) as advance:

            def show(entry: RoundEntry) -> None:
                shown.append(entry)
                _show_round(console, entry)
                advance()

            result = simulate(
                trainers,
                parties=parties,
                rounds=self.rounds,
                rule=self.rule,
                evaluate=evaluate,
                name=Path(self.spec.partition(".py")[0]).name,
                directory=directory,
                on_round=show,
                progress=False,
                **self.options,
            )
        if not shown:
            say("This run was at its end already: nothing was trained.\n", console)
            for entry in result.rounds:
                _show_round(console, entry)
        return result


def require_trainer(context: typer.Context) -> None:
    """Raises NeedsTrainer if an option was given that only --trainer uses."""
    for parameter in context.command.params:
        if parameter.name in OWN_OPTIONS and context.params.get(parameter.name) is not None:
            raise NeedsTrainer(
                f"{parameter.opts[0]} is for your own trainers.",
                "Give --trainer FILE.py:FUNCTION too, or leave it out.",
            )


def run_own(own: OwnTrainers, directory: Path, json_output: bool) -> None:
    """Run the trainers' federation, or go on with it, and show each round."""
    started = time.monotonic()
    with interruptible("Run the same command again: it goes on where it stopped."):
        result = own.run(directory, quiet_if(json_output))
    seconds = time.monotonic() - started
    if json_output:
        print_json(_as_json(own, result, seconds))
        return
    first, last = result.rounds[0], result.rounds[-1]
    say(
        f"\nLoss after round {first.round}: {first.loss:.4g}; after round {last.round}: "
        f"{last.loss:.4g}. Total gas: {result.record.gas_total:,}. Time: {duration(seconds)}."
    )
    if void := sum(not entry.accepted for entry in result.rounds):
        say(
            f"{void} of {len(result.rounds)} rounds were void: too few updates counted. Updates "
            "that are the same, to the bit, count once: give each party rows of its own."
        )
    say(f"Written to {safe(directory)}: history.json, curves.png, model.safetensors.")
    say(f"Check all of it yourself: [bold]{safe(verify_command(directory))}[/]")


def verify_command(directory: Path) -> str:
    """What to type to check the run in a directory, whatever characters its name has."""
    return f"flo verify {shlex.quote(str(directory))}"


def _show_round(console: Console, entry: RoundEntry) -> None:
    if entry.round == 1:
        names = [name[:9].rjust(9) for name in list(_metrics(entry))[:_SHOWN]]
        heads = ["round", "drawn", "included", "     loss", *names, "      gas", "root"]
        console.print("  ".join(heads), style="bold", soft_wrap=True, markup=False)
    values = [entry.loss, *list(_metrics(entry).values())[:_SHOWN]]
    cells = [
        f"{entry.round:>5}",
        f"{entry.drawn:>5}",
        f"{entry.included if entry.accepted else 'void':>8}",
        *(f"{value:>9.4g}" for value in values),
        f"{entry.gas:>9,}",
        short(entry.root),
    ]
    console.print("  ".join(cells), soft_wrap=True, markup=False)


def _metrics(entry: RoundEntry) -> dict[str, float]:
    accuracy = {"accuracy": entry.accuracy} if entry.accuracy == entry.accuracy else {}
    return {**accuracy, **entry.metrics}


def _as_json(own: OwnTrainers, result: SimulationResult, seconds: float) -> dict[str, Any]:
    from fl_orchestrator.audit.history import SAFETENSORS

    last = result.rounds[-1]
    return {
        "trainer": own.spec,
        "parties": result.record.parties,
        "private": result.record.private,
        "seed": result.record.seed,
        "loss": last.loss,
        "metrics": _metrics(last),
        "model_sha256": result.record.exports[SAFETENSORS],
        "head_root": last.root,
        "head_cid": last.cid,
        "rounds": len(result.rounds),
        "rounds_accepted": sum(entry.accepted for entry in result.rounds),
        "gas_total": result.record.gas_total,
        "seconds": round(seconds, 1),
    }
