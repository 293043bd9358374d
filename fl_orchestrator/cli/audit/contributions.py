"""The options of `flo report --contributions`, and what they open: a trainer and its data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.options.trainers import loading
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.audit.contribution.contributions import Contributions, Settings
    from fl_orchestrator.audit.federation import Federation
    from fl_orchestrator.audit.history import History
    from fl_orchestrator.training.checked import CheckedTrainer

_PANEL = "What the parties contributed"

ContributionsOption = Annotated[
    bool,
    typer.Option(
        "--contributions",
        help="Measure what each party's updates were worth, on your own validation data.",
        rich_help_panel=_PANEL,
    ),
]
PermutationsOption = Annotated[
    int | None,
    typer.Option(
        min=2,
        metavar="N",
        help="So many orders of the parties are sampled in each round. Default: 100. A round with "
        "so few parties that all their subsets are no more work is computed exactly.",
        rich_help_panel=_PANEL,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="The seed of the sample: the same seed and data, the same result. Default: 0.",
        rich_help_panel=_PANEL,
    ),
]
MeasureOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="loss, or a metric that the trainer's evaluate returns; with - before it, less is "
        "better: --measure=-mae. Default: loss.",
        rich_help_panel=_PANEL,
    ),
]


class NoData(InputError):
    """Contributions are to be measured, and there is nothing to measure them on."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """What is to be measured, and the user's trainer; None is the test set of a recorded run."""

    settings: Settings
    trainer: Path | None


def measuring(
    contributions: bool,
    trainer: Path | None,
    permutations: int | None,
    seed: int | None,
    measure: str | None,
) -> Measuring | None:
    """What the options ask to measure. Raises InputError for some of them without the first."""
    given = {
        "permutations": permutations,
        "seed": seed,
        "measure": measure,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if contributions:
        from fl_orchestrator.audit.contribution.contributions import Settings

        return Measuring(Settings(**chosen), trainer)  # type: ignore[arg-type]
    if chosen or trainer is not None:
        (name, *_) = [*chosen, "trainer"]
        raise InputError(f"--{name} is about contributions.", "Give --contributions too.")
    return None


@contextlib.contextmanager
def measured(
    wanted: Measuring | None, auditor: Federation | None, history: History | None
) -> Iterator[Contributions | None]:
    """What measures the rounds, on the trainer's data or the test set of a recorded run.

    Raises OnlySums, NoData, and what loading a trainer raises.
    """
    if wanted is None:
        yield None
        return
    from fl_orchestrator.audit.contribution.contributions import Contributions, require_plain

    if auditor is None:
        raise NoData(
            "Contributions are computed from the stored updates.", "Name their store with --store."
        )
    require_plain(auditor)
    with _evaluator(wanted.trainer, history) as loaded:
        from fl_orchestrator.roles.party.rehearsal import evaluation
        from fl_orchestrator.training.site.local_tensors import federated, model_specs

        manifest = auditor.manifest
        loaded.require_model(model_specs(manifest), manifest.architecture)
        trainer = federated(loaded, manifest)
        with err.status("Measuring …") as status:

            def progress(round_number: int, evaluated: int) -> None:
                status.update(f"Measuring round {round_number}: {evaluated:,} models so far …")

            yield Contributions(
                auditor,
                lambda weights, number: evaluation(trainer, manifest, weights, number),
                wanted.settings,
                loaded.validation_digest(),
                progress,
            )


@contextlib.contextmanager
def _evaluator(trainer: Path | None, history: History | None) -> Iterator[CheckedTrainer]:
    if trainer is not None:
        with loading(trainer) as (loaded, status):
            status.stop()
            yield loaded
        return
    from fl_orchestrator.audit.history import OWN_DATA

    if history is None or history.partition == OWN_DATA:
        raise NoData(
            "Contributions are measured on validation data, which your trainer has.",
            "Give --trainer my_trainer.py:make_trainer; its evaluate is called.",
        )
    with err.status("Loading TensorFlow and the test set …"):
        from fl_orchestrator.training.checked import checked_trainer
        from fl_orchestrator.training.tasks import test_set_trainer

        made = test_set_trainer(history.dataset, history.partition, history.parties, history.seed)
    yield checked_trainer(made)
