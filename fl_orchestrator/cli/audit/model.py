"""`flo model`: fetch a federation's global model, and compute it again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, safe, say, short
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.options.trainers import loading
from fl_orchestrator.cli.site import (
    Endpoint,
    GatewaysOption,
    RelayOption,
    StoreOption,
    deployed_at,
    open_content,
    with_options,
)
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.types import ModelView
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.model.digests import Result
    from fl_orchestrator.training.keras import KerasModel
    from fl_orchestrator.training.trainer import WeightSpec

app = Noun("Fetch the global model, or compute it again.")

_FORMATS: Final = ("safetensors", "npz", "keras")

RoundOption = Annotated[
    int | None,
    typer.Option("--round", min=0, metavar="N", help="The round. Default: that of the last model."),
]


class NoArchitecture(InputError):
    """A Keras model was requested without a trainer, which defines its layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader(Endpoint):
    """The options of a command that reads models and updates."""

    store: StoreOption = ""
    gateways: GatewaysOption = ""
    relay: RelayOption = ""

    def open_store(self) -> ContentStore:
        return open_content(self.store, self.gateways, self.relay)


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
            help="safetensors, npz or keras. Default: the suffix of --output, or safetensors.",
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
            help="For keras: your trainer, a KerasTrainer, which defines the model's layers.",
        ),
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Fetch a model, check it against its root on-chain, and write its float32 weights.

    Example: flo model get --round 12 --output global.npz --store file:///srv/flo
    """
    kind = _format(format_, output, trainer)
    with interruptible("Nothing was written."), _workspace() as workspace:
        from fl_orchestrator.chain.contract.rounds import model_of
        from fl_orchestrator.model.fixed_point import float_view
        from fl_orchestrator.roles.manifests import manifest_of
        from fl_orchestrator.roles.vectors import Origin, VectorCache
        from fl_orchestrator.training.trainer import WeightSpec
        from fl_orchestrator.training.weights_file import save_keras, save_weights

        chain, content = site.open_federation(), site.open_store()
        model = chain.head()
        if round_number is not None:
            model = model_of(chain, deployed_at(chain, site.deployments), round_number)
        manifest = manifest_of(content, chain)
        tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in manifest.tensors]
        layers = _keras_model(trainer, tensors) if kind == "keras" else None
        cache = VectorCache(workspace, manifest)
        meta = Origin(chain.chain_id, chain.address).state(model.round)
        state = cache.load(cache.fetch(content, model.cid, model.root, meta))
        weights = float_view(manifest.layout, state)
        file = output or Path(f"model-{model.round}.{kind}")
        if layers is not None:
            save_keras(file, layers, weights)
        else:
            save_weights(file, weights, tensors)
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
    json_output: JsonOption = False,
) -> None:
    """Compute a model again from its updates, and compare it with the one on-chain, bit for bit.

    Exits 1 and names the round and the first wrong coordinate if they differ; exits 1 too if an
    update is not available. With --round, the check trusts the model that the round starts from;
    with --all, it trusts only the contract, and the node that reports its state.

    Example: flo model verify --all --store kubo+http://127.0.0.1:5001
    """
    if all_rounds and round_number is not None:
        raise InputError("--round and --all exclude each other.", "Give one of them.")
    with interruptible("Nothing was changed; run it again."), _workspace() as workspace:
        from fl_orchestrator.audit.model_audit import ModelAudit
        from fl_orchestrator.roles.context import ReadContext
        from fl_orchestrator.roles.manifests import manifest_of

        chain, content = site.open_federation(), site.open_store()
        block = deployed_at(chain, site.deployments)
        manifest = manifest_of(content, chain)
        context = ReadContext(
            federation=chain,
            store=content,
            manifest=manifest,
            home=workspace,
            deployed_at=block,
        )
        audit = ModelAudit(context)
        nothing_yet = round_number is None and chain.head().height == 0
        if all_rounds or nothing_yet:
            rounds: Iterator[Result] = audit.rounds()
        else:
            rounds = iter([audit.check(_model_to_check(chain, block, round_number))])
        checked = []
        for found in rounds:
            checked.append(found)
            if not json_output:
                root = short("0x" + found.global_root.hex())
                updates = f"{found.included.bit_count():>3} updates"
                say(f"round {found.round:>4}  {updates}  root {root}  recomputed and equal")
    if json_output:
        print_json(
            {
                "equal": True,
                "federation": chain.address,
                "rounds": [
                    {
                        "round": one.round,
                        "updates": one.included.bit_count(),
                        "root": "0x" + one.global_root.hex(),
                    }
                    for one in checked
                ],
            }
        )
    elif not checked:
        say("No round has been accepted yet; the only model is genesis.")


@contextmanager
def _workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="flo-model-") as directory:
        yield Path(directory)


def _format(named_one: str, output: Path | None, trainer: str) -> str:
    """The requested format. Raises InputError."""
    suffix = output.suffix.removeprefix(".") if output else ""
    kind = named_one or suffix or _FORMATS[0]
    if kind not in _FORMATS:
        raise InputError(f"There is no format {kind!r}.", f"Use {', '.join(_FORMATS)}.")
    if output is not None and suffix != kind:
        raise InputError(
            f"{output} does not end in .{kind}.", "Programs choose the format by the suffix."
        )
    if kind == "keras" and not trainer:
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


def _model_to_check(chain: Federation, block: int, round_number: int | None) -> ModelView:
    """The model of a round, or the head."""
    from fl_orchestrator.chain.contract.rounds import model_of

    model = chain.head() if round_number is None else model_of(chain, block, round_number)
    if model.height == 0:
        raise InputError(
            "Genesis is not computed from updates.",
            "Compare its root with the one that the owner published.",
        )
    return model
