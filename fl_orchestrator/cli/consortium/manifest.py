"""`flo manifest`: describe the model of a new federation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, safe, say
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.options import noise
from fl_orchestrator.cli.options.rule import RULE_DEFAULT, chosen_rule, rule_option, trim_option
from fl_orchestrator.cli.options.trainers import TrainerOption, loading
from fl_orchestrator.cli.roles.rehearsal import NoInitialModel, show_training, warn_of
from fl_orchestrator.errors import ContentError, InputError
from fl_orchestrator.model.protocol import MAX_WEIGHT

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest, RuleSpec
    from fl_orchestrator.model.scaling import Scaling
    from fl_orchestrator.roles.party.rehearsal import Rehearsal
    from fl_orchestrator.training.trainer import FloatArray

app = Noun("Describe a federation's model.")

_TRAINING: Final = "How every party trains"
_MODEL: Final = "The model's arithmetic"
# A site with ten times the rows still has a weight in proportion to them.
_LARGER_SITES: Final = 10
_PRIVATE: Final = "yes: only sums of updates can be read (layout packed)"
_NOT_PRIVATE: Final = "no: whoever can read the store can read each update"


class Impossible(InputError):
    """The options describe a model that no federation can have."""


class Unwritable(ContentError):
    """The manifest cannot be written."""


@app.command()
def create(
    trainer: TrainerOption,
    name: Annotated[str, typer.Option(help="The federation's name.")],
    loss: Annotated[str, typer.Option(help="The loss's name.", rich_help_panel=_TRAINING)],
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("manifest.json"),
    weights: Annotated[
        Path, typer.Option(help="The first weights to write: .safetensors or .npz.")
    ] = Path("genesis.safetensors"),
    purpose: Annotated[str, typer.Option(help="The purpose of the model, as a text.")] = "",
    schema: Annotated[str, typer.Option(help="The meaning of a row, as a text.")] = "",
    epochs: Annotated[
        int,
        typer.Option(min=1, help="Epochs: passes over a party's rows.", rich_help_panel=_TRAINING),
    ] = 1,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Rows in a training step.", rich_help_panel=_TRAINING)
    ] = 32,
    learning_rate: Annotated[
        float, typer.Option(help="The optimizer's learning rate.", rich_help_panel=_TRAINING)
    ] = 0.01,
    optimizer: Annotated[
        str, typer.Option(help="The optimizer's name.", rich_help_panel=_TRAINING)
    ] = "sgd",
    report: Annotated[
        str,
        typer.Option(help="Metrics to report, separated by commas.", rich_help_panel=_TRAINING),
    ] = "accuracy",
    rule: Annotated[str, rule_option(_MODEL)] = RULE_DEFAULT,
    trim: Annotated[float | None, trim_option(_MODEL)] = None,
    samples_per_weight: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Rows for each of {MAX_WEIGHT} units of weight. "
            "Default: enough for ten times these rows.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    fraction_bits: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=24,
            help="Fraction bits e of an update's values. Default: measured.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    max_clipped: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="The fraction of values that may be out of range.",
            rich_help_panel=_MODEL,
        ),
    ] = 0.001,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="For a private federation (`flo federation create --private`), of which only "
            "sums of updates can be read.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    noise_clip: noise.ClipOption = None,
    noise_multiplier: noise.MultiplierOption = None,
    noise_honest: noise.HonestOption = None,
    noise_rounds: noise.RoundsOption = None,
    noise_delta: noise.DeltaOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write a manifest and the first weights, by a rehearsal of one round on this site's data.

    An update's value is a 16-bit fixed-point number with e fraction bits: more fraction bits give a
    finer resolution, fewer give a larger range. The rehearsal chooses the largest e, up to 24, with
    which changes four times as large as here stay in range, except a fraction --max-clipped of
    them. A tensor whose changes are much smaller than the others' gets an offset (more fraction
    bits); a tensor with large weights gets fewer.

    The trainer needs initial_weights(). `flo federation create` takes both files.

    Example: flo manifest create --trainer my_trainer.py --name heart --loss binary_crossentropy
    """
    chosen = chosen_rule(rule, trim=trim)
    if private:
        _require_sum(chosen)
    described = {
        "name": name,
        "purpose": purpose,
        "data_schema": schema,
        "rule": chosen,
        "training": {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "optimizer": optimizer,
            "loss": loss,
            "metrics": tuple(filter(None, report.split(","))),
        },
        "samples_per_weight": samples_per_weight,
        "layout_kind": "packed" if private else None,
        "noise": noise.noise_terms(
            private, noise_clip, noise_multiplier, noise_honest, noise_rounds, noise_delta
        ),
    }
    with interruptible("Nothing was written."):
        _require_free(output, weights)
        manifest, rehearsal, initial = _measured(
            str(trainer), described, max_clipped, fraction_bits
        )
        _write(manifest, initial, output, weights)
    if json_output:
        print_json(_as_json(manifest, rehearsal, output, weights))
        return
    say("A rehearsal of one round, from the trainer's own first weights:\n")
    offsets = {tensor.name: tensor.offset for tensor in manifest.tensors if tensor.offset}
    shown = ", ".join(f"{tensor} {offset:+}" for tensor, offset in offsets.items())
    measured = [
        ("private", _PRIVATE if private else _NOT_PRIVATE),
        ("fraction bits", str(manifest.update_fraction_bits)),
        ("offsets", shown or "none"),
        ("samples per weight", str(manifest.samples_per_weight)),
    ]
    show_training(manifest, rehearsal, measured)
    for sentence in noise.noise_sentences(manifest) if private else ():
        say(sentence)
    warn_of(rehearsal)
    say(
        f"\n{safe(output)} and {safe(weights)} are written. Next: `flo "
        f"federation create {'--private ' * private}--manifest {safe(output)} --weights "
        f"{safe(weights)} …`."
    )


def _measured(
    trainer: str, described: dict[str, Any], max_clipped: float, fraction_bits: int | None
) -> tuple[Manifest, Rehearsal, list[FloatArray]]:
    """The manifest measured by a rehearsal, the rehearsal, and the weights it started from."""
    from fl_orchestrator.model.fixed_point import genesis_state
    from fl_orchestrator.model.scaling import DEFAULT_FRACTION_BITS, Scaling, choose_scaling
    from fl_orchestrator.roles.party import rehearsal

    with (
        loading(trainer) as (loaded, status),
        tempfile.TemporaryDirectory() as workspace,
    ):
        initial = loaded.initial_weights()
        if initial is None:
            raise NoInitialModel(
                "The trainer does not describe its model.",
                "Give it a method initial_weights() that returns arrays by name.",
            )
        first = list(initial.values())
        described = {**described, "architecture": loaded.architecture()}
        # Check the description before the training, which may take long.
        neutral = Scaling(DEFAULT_FRACTION_BITS, (0,) * len(first))
        draft = _describe(described, initial, neutral, samples=1)
        status.update("Training …")
        training = rehearsal.train(loaded, first, rehearsal.training_config(draft, 0))
        _require_finite(training.weights, initial)
        scaling = choose_scaling(first, training.weights, max_clipped, fraction_bits)
        manifest = _describe(described, initial, scaling, training.samples)
        done = rehearsal.rehearse(
            loaded,
            manifest,
            genesis_state(manifest.layout, first),
            training,
            rehearsal.OFFLINE,
            Path(workspace) / "update.safetensors",
        )
    return manifest, done, first


def _require_finite(trained: list[FloatArray], initial: dict[str, FloatArray]) -> None:
    import numpy as np

    from fl_orchestrator.model.fixed_point import NotFiniteError
    from fl_orchestrator.roles.numbers import named

    ruined = [
        name for name, array in zip(initial, trained, strict=True) if not np.isfinite(array).all()
    ]
    if ruined:
        raise NotFiniteError(
            f"The trial training diverged: {named(ruined)} came back with NaN or infinite values, "
            "so there is nothing to measure the scales by.",
            "Lower --learning-rate, or scale the features; then run it again.",
        )


def _describe(
    described: dict[str, Any], initial: dict[str, FloatArray], scaling: Scaling, samples: int
) -> Manifest:
    from fl_orchestrator.model.layout import Layout
    from fl_orchestrator.model.manifest import Manifest, ManifestError

    shapes = [(name, array.shape) for name, array in initial.items()]
    packed = described["layout_kind"] == "packed"
    layout = Layout.of(((name, shape, 0) for name, shape in shapes), packed=packed)
    per_weight = described["samples_per_weight"] or -(-_LARGER_SITES * samples // MAX_WEIGHT)
    try:
        return Manifest(
            **{
                **described,
                "samples_per_weight": per_weight,
                "update_fraction_bits": scaling.fraction_bits,
                "depth": layout.depth,
                "tensors": [
                    {"name": name, "shape": shape, "offset": offset}
                    for (name, shape), offset in zip(shapes, scaling.offsets, strict=True)
                ],
            }
        )
    except ManifestError as error:
        raise Impossible(error.message, "Change the option of that name.") from error


def _require_sum(rule: RuleSpec) -> None:
    from fl_orchestrator.roles.masked.terms import require_sum

    require_sum(rule.kind)


def _require_free(*files: Path) -> None:
    for file in files:
        if file.exists():
            raise InputError(f"{file} exists already and was not changed.", "Name another file.")


def _write(manifest: Manifest, initial: list[FloatArray], output: Path, weights: Path) -> None:
    from fl_orchestrator.training.trainer import WeightSpec
    from fl_orchestrator.training.weights_file import save_weights

    tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in manifest.tensors]
    save_weights(weights, initial, tensors)
    try:
        output.write_bytes(manifest.to_bytes())
    except OSError as error:
        raise Unwritable(
            f"{output} cannot be written: {error.strerror}.", "Check its directory."
        ) from error


def _as_json(
    manifest: Manifest, rehearsal: Rehearsal, output: Path, weights: Path
) -> dict[str, Any]:
    return {
        "manifest": str(output),
        "weights": str(weights),
        "digest": "0x" + manifest.digest.hex(),
        "private": manifest.is_private,
        "fraction_bits": manifest.update_fraction_bits,
        "offsets": {tensor.name: tensor.offset for tensor in manifest.tensors},
        "samples_per_weight": manifest.samples_per_weight,
        "clipped": rehearsal.clipped,
        "warnings": [finding.message for finding in rehearsal.findings],
        "before": rehearsal.before,
        "after": rehearsal.after,
    }
