"""`flo manifest stats`: scales of the features, from a federation that sums what all sites have."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, out, print_json, safe, say
from fl_orchestrator.cli.options.trainers import TrainerOption, loading
from fl_orchestrator.cli.site import (
    Reader,
    deployed_at,
    named,
    with_options,
)
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.training.preprocessing.statistics import Plan, Statistics


class NotStatistics(InputError):
    """The trainer, the federation or the manifest has no statistics."""


@with_options
def stats(
    site: Reader,
    trainer: TrainerOption = None,
    create: Annotated[
        bool,
        typer.Option(
            "--create", help="Write the manifest and the first weights of the federation of sums."
        ),
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="With --create: for a private federation.")
    ] = False,
    output: Annotated[Path, typer.Option(help="With --create: the manifest to write.")] = Path(
        "stats.json"
    ),
    weights: Annotated[
        Path, typer.Option(help="With --create: the first weights to write.")
    ] = Path("stats.safetensors"),
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="The manifest of the model to train, which gets the means and scales as its "
            "features. Default: only show them."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Compute means, scales, category counts and row counts over all sites' rows.

    A federation of its own computes the sums in one round; --create writes its manifest. Each site
    takes part with a StatisticsTrainer of the same plan. Then this command checks the accepted
    result by recomputation, and writes the features into the manifest of the model to train.
    docs/trainers.md says what the sums reveal: in a federation that is not private, each site's.

    Example: flo manifest stats --trainer stats.py --manifest manifest.json --store file:///srv/flo
    """
    code = named("trainer", trainer)
    with interruptible("Nothing was written."):
        with loading(code) as (loaded, _):
            plan = _plan_of(loaded)
        if create:
            _create(plan, code.name, private, output, weights)
            shown = f"{safe(output)} --weights {safe(weights)}"
            if json_output:
                print_json({"manifest": str(output), "weights": str(weights)})
            else:
                private_option = "--private " * private
                say(f"Next: `flo federation create {private_option}--manifest {shown} …`.")
            return
        target = None if manifest is None else _model_manifest(manifest, plan)
        found, updates = _accepted(site, plan)
        if manifest is not None and target is not None:
            manifest.write_bytes(_with_features(target, plan, found).to_bytes())
    if json_output:
        print_json({"updates": updates, **_as_json(found)})
        return
    _show(found, updates)
    if manifest is not None:
        say(f"The features of {safe(manifest)} are written. Its digest has changed.")


def _plan_of(loaded: Any) -> Plan:
    from fl_orchestrator.training.preprocessing.statistics import Plan

    plan = loaded.plan
    if not isinstance(plan, Plan):
        raise NotStatistics(
            "The trainer is no StatisticsTrainer.", "docs/trainers.md shows one: it has a plan."
        )
    return plan


def _create(plan: Plan, name: str, private: bool, output: Path, weights: Path) -> None:
    import numpy as np

    from fl_orchestrator.model.layout import Layout
    from fl_orchestrator.model.manifest import Manifest, TensorSpec, TrainingSpec
    from fl_orchestrator.training.preprocessing.statistics import FRACTION_BITS
    from fl_orchestrator.training.weights_file import save_weights

    for file in (output, weights):
        if file.exists():
            raise InputError(f"{file} exists already and was not changed.", "Name another file.")
    places = [(tensor.name, tensor.shape, 0) for tensor in plan.tensors]
    made = Manifest(
        name=f"statistics: {name}",
        purpose="Sums over all sites' rows, for the features of another federation.",
        tensors=tuple(TensorSpec(name=t.name, shape=t.shape) for t in plan.tensors),
        update_fraction_bits=FRACTION_BITS,
        depth=Layout.of(places, packed=private).depth,
        training=TrainingSpec(
            epochs=1, batch_size=1, learning_rate=1.0, optimizer="none", loss="none"
        ),
        architecture=plan.digest,
        layout_kind="packed" if private else None,
    )
    first = [np.zeros(tensor.shape, np.float32) for tensor in plan.tensors]
    save_weights(weights, first, plan.tensors)
    output.write_bytes(made.to_bytes())


def _model_manifest(file: Path, plan: Plan) -> Manifest:
    """The manifest that gets the features. Raises NotStatistics if the plan has no numbers."""
    from fl_orchestrator.model.manifest import read_manifest
    from fl_orchestrator.training.preprocessing.statistics import Numbers

    if not any(isinstance(column, Numbers) for column in plan.columns):
        raise NotStatistics("The plan has no column of numbers to scale.", "Leave out --manifest.")
    return read_manifest(file)


def _accepted(site: Reader, plan: Plan) -> tuple[Statistics, int]:
    """What the head of the federation of sums says, computed again, and of how many sites."""
    from fl_orchestrator.audit.federation import Federation
    from fl_orchestrator.chain.types import included_indices
    from fl_orchestrator.training.preprocessing.statistics import statistics_of

    chain = site.open_federation()
    federation = Federation(chain, site.open_store(), deployed_at(chain, site.deployments))
    if federation.manifest.architecture != plan.digest:
        raise NotStatistics(
            "The federation does not sum what this trainer's plan says.",
            "Name the federation of sums with --federation, and the plan that it was made with.",
        )
    head = federation.head()
    if head.height == 0:
        raise NotStatistics("No round was accepted yet.", "Run `flo keeper run --rounds 1` first.")
    (result,) = federation.verify(head.round)
    updates = len(included_indices(result.included))
    return statistics_of(plan, federation.weights(head.round), updates), updates


def _with_features(target: Manifest, plan: Plan, found: Statistics) -> Manifest:
    from fl_orchestrator.model.manifest import Features, Manifest

    numbers = [found.numbers[c.name] for c in plan.columns if c.name in found.numbers]
    features = Features(
        mean=tuple(one.mean for one in numbers), scale=tuple(one.scale for one in numbers)
    )
    fields = {name: getattr(target, name) for name in Manifest.model_fields}
    return Manifest(**{**fields, "features": features})


def _as_json(found: Statistics) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "numbers": {name: asdict(one) for name, one in found.numbers.items()},
        "categories": {
            name: {
                "counts": {value: count for value, count in counts.items() if value is not None},
                "others": counts[None],
            }
            for name, counts in found.categories.items()
        },
    }


def _show(found: Statistics, updates: int) -> None:
    from rich.table import Table

    say(f"{found.rows:,} rows at {updates} sites, recomputed and equal.")
    if found.numbers:
        table = Table()
        for heading in ("column", "rows with a value", "mean", "scale"):
            table.add_column(heading, justify="left" if heading == "column" else "right")
        for name, one in found.numbers.items():
            table.add_row(safe(name), f"{one.rows:,}", f"{one.mean:.6g}", f"{one.scale:.6g}")
        out.print(table)
    for name, counts in found.categories.items():
        known = ", ".join(f"{safe(v)} {n:,}" for v, n in counts.items() if v is not None and n)
        say(f"{safe(name)}: {known or 'none'}; others {counts[None]:,}.")
