"""`flo party check`: a rehearsal of one round on the real data; nothing leaves the site."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    duration,
    err,
    interruptible,
    print_json,
    print_pairs,
    safe,
    say,
    short,
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
from fl_orchestrator.cli.roles.protection import (
    BudgetOption,
    Choice,
    ClipOption,
    DeltaOption,
    NoiseOption,
    spent_in,
)
from fl_orchestrator.cli.roles.trust import TrustOption, parse_trust
from fl_orchestrator.cli.roles.what_leaves import Leaves, leaves_of, show_masked
from fl_orchestrator.cli.site import Site, deployed_at, with_options
from fl_orchestrator.errors import InputError, TrainingError
from fl_orchestrator.model.protocol import MAX_WEIGHT

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.model.vector_file import VectorMeta
    from fl_orchestrator.roles.party.rehearsal import Rehearsal
    from fl_orchestrator.roles.party.spending import Spent
    from fl_orchestrator.training.checked import CheckedTrainer


class NoInitialModel(InputError):
    """The trainer gives no model to start the rehearsal from."""


@dataclass(frozen=True, slots=True)
class _Start:
    """The start of a rehearsal: the global state as integers, and a text that names its source."""

    manifest: Manifest
    state: Any
    meta: VectorMeta
    words: str
    leaves: Leaves | None = None


@with_options
def check(
    site: Site,
    trainer: TrainerOption = None,
    flower: FlowerOption = None,
    run_config: RunConfigOption = None,
    node_config: NodeConfigOption = None,
    initial: InitialOption = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="A manifest file; then no chain and no store are needed."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="With --manifest: the weights to train from. Default: the trainer's."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the update file here, to inspect it.")
    ] = None,
    trust: TrustOption = "",
    privacy_budget: BudgetOption = None,
    delta: DeltaOption = None,
    noise_multiplier: NoiseOption = None,
    clip_norm: ClipOption = None,
    json_output: JsonOption = False,
) -> None:
    """Rehearse one round on the real data. Nothing is sent, nothing leaves this machine.

    Trains from the federation's model as `flo party run` would. Shows the result of the training,
    and exactly what a round would publish. Prints warnings about the numbers on stderr; an update
    that is zero everywhere, or clipped in a tenth of its values or of a tensor's, makes the exit
    code 5.

    Example: flo party check --trainer my_trainer.py:make_trainer --manifest manifest.json
    """
    code = chosen_trainer(trainer, flower, run_config, node_config, initial)
    choice = Choice.of(privacy_budget, delta, noise_multiplier, clip_norm)
    trusted = parse_trust(trust)
    with interruptible("Nothing was sent."), tempfile.TemporaryDirectory() as workspace:
        from fl_orchestrator.model.fixed_point import float_view
        from fl_orchestrator.roles.party import rehearsal
        from fl_orchestrator.training.site.local_tensors import federated, model_specs

        with loading(code) as (loaded, status):
            protected = choice.applied(loaded)
            start = (
                _from_federation(site, Path(workspace), trusted)
                if manifest is None
                else _from_file(manifest, weights, loaded)
            )
            loaded.require_model(model_specs(start.manifest), start.manifest.architecture)
            trains = federated(protected.checked if protected else loaded, start.manifest)
            spent = _spent_here(site) if manifest is None and protected is not None else None
            status.update("Training …")
            config = rehearsal.training_config(start.manifest, 0)
            base = float_view(start.manifest.layout, start.state)
            training = rehearsal.train(trains, base, config)
            file = output or Path(workspace) / "update.safetensors"
            done = rehearsal.rehearse(
                trains, start.manifest, start.state, training, start.meta, file
            )
    if json_output:
        privacy = protected and {"privacy": protected.as_json(start.manifest, spent)}
        private = start.leaves and {"private": start.leaves.as_json()}
        print_json({**_as_json(start, done), **(privacy or {}), **(private or {})})
    else:
        say(f"A rehearsal of one round, from {start.words}. Nothing was sent.\n")
        show_training(start.manifest, done)
        if protected is not None:
            say("\nWhat rounds tell of any one row, at most (docs/privacy.md):")
            print_pairs(protected.explained(start.manifest, spent))
        if start.leaves is None:
            _show_what_leaves(start, done, output)
        else:
            start.leaves.show(done, output)
    warn_of(done)
    if start.leaves is not None:
        start.leaves.require_trust()
    if any(finding.serious for finding in done.findings):
        raise typer.Exit(TrainingError.exit_code)


def _spent_here(site: Site) -> Spent | None:
    """What this party has spent, if the site has its key; the rehearsal itself spends nothing."""
    if site.key is None:
        return None
    return spent_in(site.role_home(site.open_federation(), site.account()))


def _from_federation(site: Site, workspace: Path, trusted: frozenset[str] | None) -> _Start:
    from fl_orchestrator.roles.manifests import manifest_of
    from fl_orchestrator.roles.vectors import Origin, VectorCache

    chain, store = site.open_federation(), site.open_store()
    manifest = manifest_of(store, chain)
    head = chain.head()
    origin = Origin(chain.chain_id, chain.address)
    cache = VectorCache(workspace / "vectors", manifest)
    state = cache.load(cache.fetch(store, head.cid, head.root, origin.state(head.round)))
    words = f"the model of round {head.round} of {short(chain.address)}"
    leaves = leaves_of(chain, manifest, trusted, deployed_at(chain, site.deployments))
    return _Start(manifest, state, origin.update(head.round + 1), words, leaves)


def _from_file(manifest: Path, weights: Path | None, trainer: CheckedTrainer) -> _Start:
    from fl_orchestrator.model.fixed_point import genesis_state
    from fl_orchestrator.model.manifest import read_manifest
    from fl_orchestrator.roles.party.rehearsal import OFFLINE
    from fl_orchestrator.training.trainer import WeightSpec
    from fl_orchestrator.training.weights_file import load_weights

    described = read_manifest(manifest)
    if weights is not None:
        tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in described.tensors]
        first, words = load_weights(weights, tensors), f"the weights in {weights}"
    elif initial := trainer.initial_weights():
        stays = {tensor.name for tensor in described.local or ()}
        first = [array for name, array in initial.items() if name not in stays]
        words = "the trainer's own first weights"
    else:
        raise NoInitialModel(
            "The trainer has no first weights, so there is no model to train from.",
            "Give --weights FILE, or add a method initial_weights() to the trainer.",
        )
    return _Start(described, genesis_state(described.layout, first), OFFLINE, words)


def show_training(
    manifest: Manifest, done: Rehearsal, more: Sequence[tuple[str, str]] = ()
) -> None:
    """Show a rehearsal's training: shapes, changes, rows, seconds, loss and metrics."""
    training = done.training
    rows = [
        (tensor.name, f"{_shape(tensor.shape):<12} changed by up to {change:.3g} of {limit:.3g}")
        for tensor, change, limit in zip(manifest.tensors, done.largest, done.limits, strict=True)
    ]
    rows += [
        (tensor.name, f"{_shape(tensor.shape):<12} stays at this site")
        for tensor in manifest.local or ()
    ]
    rows += [
        ("trained on", f"{training.samples:,} rows in {_seconds(training.seconds)}"),
        ("evaluated on", f"{done.test_rows:,} rows"),
    ]
    rows += [
        (name, f"{before:.4g} before, {done.after.get(name, float('nan')):.4g} after")
        for name, before in done.before.items()
    ]
    rows.append(("clipped", f"{done.clipped:.3%} of the values were out of range"))
    print_pairs([*rows, *more])


def warn_of(done: Rehearsal) -> None:
    """Say on stderr what is wrong with an update's numbers."""
    for finding in done.findings:
        colour, word = ("red", "Not fit to take part") if finding.serious else ("yellow", "Note")
        err.print(f"[bold {colour}]{word}:[/] {safe(finding.message)}", soft_wrap=True)


def _show_what_leaves(start: _Start, done: Rehearsal, output: Path | None) -> None:
    if start.manifest.is_private:
        show_masked(start.manifest.layout.parameters, done, output)
        say(
            "\nThe masked update by itself looks random. Which aggregators could together read it, "
            "this command says without --manifest, when the federation is there."
        )
        return
    say("\nWhat a round would publish, and nothing else of this site:")
    where = f", kept in {output}" if output else ""
    print_pairs(
        [
            ("  update file", f"{done.file_bytes:,} bytes{where}"),
            ("  its CID", str(done.cid)),
            ("  its root", "0x" + done.root.hex()),
            ("  weight", f"{done.weight} of {MAX_WEIGHT}, for {done.training.samples:,} rows"),
            ("  besides", "this account's address, a random salt, and when it was sent"),
        ]
    )
    say(
        "\nThe update is the rounded change of the weights by training. Whoever reads it can "
        "compute this site's trained weights from it; rows, labels and metrics are not in it."
    )
    if start.meta.chain_id == 0:
        say("The file contains its federation and round, so its CID differs in a real round.")


def _as_json(start: _Start, done: Rehearsal) -> dict[str, Any]:
    return {
        "from": start.words,
        "tensors": {
            tensor.name: {"shape": tensor.shape, "largest_change": change, "limit": limit}
            for tensor, change, limit in zip(
                start.manifest.tensors, done.largest, done.limits, strict=True
            )
        },
        "local": [tensor.name for tensor in start.manifest.local or ()],
        "samples": done.training.samples,
        "seconds": round(done.training.seconds, 3),
        "training_metrics": done.training.metrics,
        "before": done.before,
        "after": done.after,
        "clipped": done.clipped,
        "warnings": [finding.message for finding in done.findings],
        "weight": done.weight,
        "bytes": done.file_bytes,
        "cid": str(done.cid),
        "root": "0x" + done.root.hex(),
    }


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one value"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
