"""`flo model`: fetch a federation's global model, and compute it again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.audit.lineage import (
    AncestorRpcOption,
    follow_lineage,
    rounds_json,
    say_equal,
)
from fl_orchestrator.cli.console import (
    JsonOption,
    interruptible,
    print_json,
    print_pairs,
    progress,
    quiet_if,
    safe,
    say,
    short,
)
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.options.trainers import TrainerOption, loading
from fl_orchestrator.cli.site import (
    Reader,
    deployed_at,
    named,
    with_options,
)
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation
    from fl_orchestrator.chain.types import ModelView
    from fl_orchestrator.training.keras import KerasModel
    from fl_orchestrator.training.trainer import WeightSpec

app = Noun("Fetch the global model, or compute it again.")

RoundOption = Annotated[
    int | None,
    typer.Option("--round", min=0, metavar="N", help="The round. Default: that of the last model."),
]


class NoArchitecture(InputError):
    """A Keras model was requested without a trainer, which defines its layers."""


@app.command()
@with_options
def get(
    site: Reader,
    round_number: RoundOption = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="safetensors, npz, torch (a state dict), keras, litert or onnx. "
            "Default: by the suffix of --output, or safetensors.",
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write. Default: model-ROUND.FORMAT."),
    ] = None,
    trainer: Annotated[
        str,
        typer.Option(
            metavar="FILE.py[:FUNCTION]",
            help="For keras, litert and onnx: your trainer, a KerasTrainer, which has the layers.",
        ),
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Fetch a model, check it against its root on-chain, and write it for other programs.

    Example: flo model get --round 12 --output global.npz --store file:///srv/flo
    """
    kind = _format(format_, output, trainer)
    with interruptible("Nothing was written."):
        from fl_orchestrator.training.export import FORMATS, write_model
        from fl_orchestrator.training.trainer import WeightSpec

        federation = _opened(site)
        model = federation.model(round_number)
        tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in federation.manifest.tensors]
        layers = _keras_model(trainer, tensors) if FORMATS[kind].has_layers else None
        weights = list(federation.weights_of(model).values())
        file = output or Path(f"model-{model.round}.{FORMATS[kind].suffix}")
        write_model(file, kind, weights, tensors, layers)
    root, cid = "0x" + model.root.hex(), str(model.cid)
    if json_output:
        print_json({"round": model.round, "root": root, "cid": cid, "file": str(file)})
        return
    say(f"The model of round {model.round}, root {short(root)}, is in {safe(file)}.")


@app.command()
@with_options
def verify(
    site: Reader,
    round_number: RoundOption = None,
    all_rounds: Annotated[
        bool, typer.Option("--all", help="Every round of the history, from genesis on.")
    ] = False,
    ancestor_rpc: AncestorRpcOption = "",
    mirror: Annotated[
        str,
        typer.Option(
            metavar="URL[#ADDRESS]",
            help="Compare a mirror's models with the federation's, too: an RPC endpoint of its "
            "chain, and its address if it is not recorded.",
        ),
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Compute a model again from its updates, and compare it with the one on-chain, bit for bit.

    Exits 1 and names the round and the first wrong coordinate if they differ; exits 1 too if an
    update is not available. With --round, the check trusts the model that the round starts from;
    with --all, it trusts only the contract, and the node that reports its state. A federation that
    goes on from another one (`flo federation migrate`) is followed back with --all: its first model
    is compared, and the old federation's history is computed again too.

    Example: flo model verify --all --store kubo+http://127.0.0.1:5001
    """
    if all_rounds and round_number is not None:
        raise InputError("--round and --all exclude each other.", "Give one of them.")
    with interruptible("Nothing was changed; run it again."):
        federation = _opened(site)
        nothing_yet = round_number is None and federation.head().height == 0
        everything = all_rounds or nothing_yet
        model = None if everything else _model_to_check(federation, round_number)
        total = federation.head().height if everything else 1
        checked = []
        with progress(quiet_if(json_output), "recomputing", total) as advance:
            for found in federation.checks(model):
                checked.append(found)
                advance()
                if not json_output:
                    say_equal(found)
        if not checked and not json_output:
            say("No round has been accepted yet; the only model is genesis.")
        before = follow_lineage(federation, site, ancestor_rpc, json_output) if everything else []
        mirrored = _compared(site, federation, mirror) if mirror else None
    if json_output:
        print_json(
            {
                "equal": True,
                **({} if mirrored is None else {"mirror": mirrored}),
                "federation": federation.address,
                "rounds": rounds_json(checked),
                "lineage": before,
            }
        )
    elif mirrored is not None:
        say(
            f"Mirror {mirrored['address']}: {mirrored['equal']} models are the federation's, the "
            f"last of them of round {mirrored['round']}; {mirrored['behind']} are not there yet."
        )


def _compared(site: Reader, federation: Federation, place: str) -> dict[str, Any]:
    """How a mirror compares with the federation. Raises OtherModels where they differ."""
    from fl_orchestrator.members.mirrors import compare, open_mirror

    chain = federation.chain
    found = compare(open_mirror(place, site.deployments, chain).contract, chain)
    return dataclasses.asdict(found)


@app.command()
@with_options
def evaluate(
    site: Reader,
    trainer: TrainerOption = None,
    round_number: RoundOption = None,
    json_output: JsonOption = False,
) -> None:
    """Evaluate a model on this site's own data: the last one, or that of a round.

    Fetches the model, checks it against its root on-chain, and calls the trainer's evaluate.
    Nothing leaves the site. A tensor that stays at each site has the trainer's first values.

    Example: flo model evaluate --trainer my_trainer.py:make_trainer --round 12
    """
    with interruptible("Nothing was changed; run it again."):
        from fl_orchestrator.roles.party.rehearsal import evaluation
        from fl_orchestrator.training.site.local_tensors import federated, model_specs

        code = named("trainer", trainer)
        federation = _opened(site)
        model, manifest = federation.model(round_number), federation.manifest
        with loading(code) as (loaded, status):
            loaded.require_model(model_specs(manifest), manifest.architecture)
            status.update("Evaluating …")
            weights = list(federation.weights_of(model).values())
            metrics, rows = evaluation(federated(loaded, manifest), manifest, weights, model.round)
    root = "0x" + model.root.hex()
    if json_output:
        print_json({"round": model.round, "root": root, "rows": rows, "metrics": metrics})
        return
    say(f"The model of round {model.round}, root {short(root)}, on {rows} rows:")
    if not rows:
        say("The trainer has no validation rows, so there is nothing to measure.")
        return
    print_pairs((name, f"{value:.6g}") for name, value in metrics.items())


def _opened(site: Reader) -> Federation:
    from fl_orchestrator.audit.federation import Federation

    chain = site.open_federation(any_version=True)
    return Federation(chain, site.open_store(), deployed_at(chain, site.deployments))


def _format(named_one: str, output: Path | None, trainer: str) -> str:
    """The requested format. Raises InputError."""
    from fl_orchestrator.training.export import FORMATS

    suffix = output.suffix.removeprefix(".") if output else "safetensors"
    by_suffix = next((name for name, known in FORMATS.items() if known.suffix == suffix), suffix)
    kind = named_one or by_suffix
    if kind not in FORMATS:
        raise InputError(f"There is no format {kind!r}.", f"Use {', '.join(FORMATS)}.")
    if output is not None and suffix != FORMATS[kind].suffix:
        raise InputError(
            f"{output} does not end in .{FORMATS[kind].suffix}.",
            "Programs choose the format by the suffix.",
        )
    if FORMATS[kind].has_layers and not trainer:
        raise NoArchitecture(
            "A federation stores only a model's weights; your trainer defines its layers.",
            "Give --trainer, or fetch safetensors or npz and load them into your own model.",
        )
    return kind


def _keras_model(trainer: str, tensors: list[WeightSpec]) -> KerasModel:
    """The Keras model of the user's trainer; its tensors must match the manifest's."""
    with loading(trainer) as (loaded, _):
        loaded.require_model(tensors)
    model = loaded.keras_model
    if model is None:
        raise NoArchitecture(
            f"{trainer} returns a trainer that is not a KerasTrainer.",
            "Fetch safetensors or npz, and load the weights into your own model.",
        )
    return model


def _model_to_check(federation: Federation, round_number: int | None) -> ModelView:
    """The model of a round, or the head."""
    model = federation.model(round_number)
    if model.height == 0:
        raise InputError(
            "Genesis is not computed from updates.",
            "Compare its root with the one that the owner published.",
        )
    return model
