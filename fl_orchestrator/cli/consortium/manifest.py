"""`flo manifest`: describe the model of a new federation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, safe, say
from fl_orchestrator.cli.consortium import stats
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.options import noise
from fl_orchestrator.cli.options.rule import (
    RULE_DEFAULT,
    chosen_rule,
    clip_option,
    learning_rate_option,
    momentum_option,
    rule_option,
    trim_option,
)
from fl_orchestrator.cli.options.trainers import (
    FlowerOption,
    InitialOption,
    NodeConfigOption,
    RunConfigOption,
    TrainerOption,
    chosen_trainer,
    loading,
)
from fl_orchestrator.cli.roles.rehearsal import NoInitialModel, show_training, warn_of
from fl_orchestrator.errors import ContentError, InputError
from fl_orchestrator.model.protocol import MAX_WEIGHT
from fl_orchestrator.model.rules import require_plain_clip

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest, RuleSpec
    from fl_orchestrator.roles.party.rehearsal import Rehearsal
    from fl_orchestrator.training.loading import FlowerSpec
    from fl_orchestrator.training.trainer import FloatArray

app = Noun("Describe a federation's model.")

_TRAINING: Final = "How every party trains"
_MODEL: Final = "The model's arithmetic"
_PRIVATE: Final = "yes: only sums of updates can be read (layout packed)"
_NOT_PRIVATE: Final = "no: whoever can read the store can read each update"


app.command()(stats.stats)


class Unwritable(ContentError):
    """The manifest cannot be written."""


@app.command()
def create(
    name: Annotated[str, typer.Option(help="The federation's name.")],
    loss: Annotated[str, typer.Option(help="The loss's name.", rich_help_panel=_TRAINING)],
    trainer: TrainerOption = None,
    flower: FlowerOption = None,
    run_config: RunConfigOption = None,
    node_config: NodeConfigOption = None,
    initial: InitialOption = None,
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
    proximal_mu: Annotated[
        float | None,
        typer.Option(
            help="FedProx: holds each training back to the weights it started from; 0.001 to 1.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    report: Annotated[
        str,
        typer.Option(help="Metrics to report, separated by commas.", rich_help_panel=_TRAINING),
    ] = "accuracy",
    local: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Tensors that stay at each site, by their names, with * and ?; repeatable.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    rule: Annotated[str, rule_option(_MODEL)] = RULE_DEFAULT,
    trim: Annotated[float | None, trim_option(_MODEL)] = None,
    server_learning_rate: Annotated[float | None, learning_rate_option(_MODEL)] = None,
    server_momentum: Annotated[float | None, momentum_option(_MODEL)] = None,
    clip_norm: Annotated[float | None, clip_option(_MODEL)] = None,
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
    code = chosen_trainer(trainer, flower, run_config, node_config, initial)
    chosen = chosen_rule(
        rule,
        trim=trim,
        server_learning_rate=server_learning_rate,
        server_momentum=server_momentum,
    )
    require_plain_clip(clip_norm, private)
    if private:
        _require_sum(chosen)
    described = {
        "name": name,
        "purpose": purpose,
        "data_schema": schema,
        "rule": chosen,
        "clip_norm": clip_norm,
        "training": {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "optimizer": optimizer,
            "loss": loss,
            "metrics": tuple(filter(None, report.split(","))),
            "proximal_mu": proximal_mu or None,
        },
        "samples_per_weight": samples_per_weight,
        "layout_kind": "packed" if private else None,
        "noise": noise.noise_terms(
            private, noise_clip, noise_multiplier, noise_honest, noise_rounds, noise_delta
        ),
    }
    with interruptible("Nothing was written."):
        _require_free(output, weights)
        manifest, rehearsal, first = _measured(
            code, described, local or [], max_clipped, fraction_bits
        )
        _write(manifest, first, output, weights)
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
        ("clip norm", _clip_norms(manifest)),
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
    trainer: Path | FlowerSpec,
    described: dict[str, Any],
    patterns: list[str],
    max_clipped: float,
    fraction_bits: int | None,
) -> tuple[Manifest, Rehearsal, list[FloatArray]]:
    """The manifest measured by a rehearsal, the rehearsal, and the weights it started from."""
    from fl_orchestrator.model.fixed_point import genesis_state
    from fl_orchestrator.roles.party import rehearsal
    from fl_orchestrator.roles.party.origination import originate
    from fl_orchestrator.training.site.local_tensors import federated, names_matching

    with (
        loading(trainer) as (loaded, status),
        tempfile.TemporaryDirectory() as workspace,
    ):
        initial = loaded.initial_weights()
        if initial is None:
            raise NoInitialModel(
                "The trainer does not describe its model.",
                "Give it a method initial_weights() that returns arrays by name; for a Flower app "
                "--initial.",
            )
        stays = names_matching(patterns, list(initial))
        described = {
            **described,
            "training": {**described["training"], "classes": loaded.classes()},
            "architecture": loaded.architecture(),
            "local": _local(initial, stays),
        }
        shared = {name: array for name, array in initial.items() if name not in stays}
        status.update("Training …")
        made = originate(
            [loaded],
            described,
            shared,
            max_clipped=max_clipped,
            fraction_bits=fraction_bits,
            wrap=federated,
        )
        done = rehearsal.rehearse(
            made.trainers[0],
            made.manifest,
            genesis_state(made.manifest.layout, made.first),
            made.trials[0],
            rehearsal.OFFLINE,
            Path(workspace) / "update.safetensors",
        )
    return made.manifest, done, made.first


def _local(initial: dict[str, FloatArray], stays: frozenset[str]) -> list[dict[str, Any]] | None:
    """The manifest's entries of the tensors that stay at each site; None if there are none."""
    found = [
        {"name": name, "position": position, "shape": array.shape}
        for position, (name, array) in enumerate(initial.items())
        if name in stays
    ]
    return found or None


def _clip_norms(manifest: Manifest) -> str:
    """The largest norm of a chunk, in units of the weights; an offset divides it by 2^offset."""
    limit = manifest.rule.chunk_norm_limit
    if limit is None:
        return "none"
    bits = manifest.update_fraction_bits
    offsets = sorted({tensor.offset for tensor in manifest.tensors}, key=abs)
    return ", ".join(
        f"{limit * 2.0 ** -(bits + offset):g}{f' at offset {offset:+}' * bool(offset)}"
        for offset in offsets
    )


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
        "chunk_norm_limit": manifest.rule.chunk_norm_limit,
        "offsets": {tensor.name: tensor.offset for tensor in manifest.tensors},
        "samples_per_weight": manifest.samples_per_weight,
        "local": [tensor.name for tensor in manifest.local or ()],
        "clipped": rehearsal.clipped,
        "warnings": [finding.message for finding in rehearsal.findings],
        "before": rehearsal.before,
        "after": rehearsal.after,
    }
