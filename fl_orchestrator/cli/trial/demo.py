"""`flo demo`: a whole federation on this machine, from registration to the verified model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    duration,
    ether,
    interruptible,
    out,
    print_json,
    progress,
    quiet_if,
    safe,
    say,
    short,
)
from fl_orchestrator.cli.options.rule import (
    RULE_DEFAULT,
    chosen_rule,
    clip_option,
    learning_rate_option,
    momentum_option,
    rule_option,
    trim_option,
)
from fl_orchestrator.cli.options.runs import KeepOption, WorkersOption
from fl_orchestrator.cli.options.track import TrackOption
from fl_orchestrator.cli.options.trainers import TrainerOption
from fl_orchestrator.cli.trial.attack import COMBINES, perform, refuse_other_options
from fl_orchestrator.cli.trial.look import COMBINES as LOOK_COMBINES
from fl_orchestrator.cli.trial.look import show_look
from fl_orchestrator.cli.trial.own import COMBINES as OWN_COMBINES
from fl_orchestrator.cli.trial.own import (
    BatchSizeOption,
    EpochsOption,
    EvaluateOption,
    LearningRateOption,
    OwnTrainers,
    ProximalOption,
    require_trainer,
    run_own,
    verify_command,
)
from fl_orchestrator.cli.trial.serving import serving_demo
from fl_orchestrator.model.protocol import MAX_AGGREGATORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.table import Table

    from fl_orchestrator.audit.history import Comparison, RoundEntry
    from fl_orchestrator.simulation.experiment import Experiment, RewardShare

_MAX_LISTED_ACCOUNTS: Final = 20
# 78 characters with short roots and CIDs.
_COLUMNS: Final = "{:>5} {:>5} {:>8} {:>8} {:>6} {:>9}  {} {}"


def demo(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Option(
            help="breast-cancer, digits, heart-disease, mnist, credit-german or ai4i. "
            "The last four read files under FLO_DATA_DIR."
        ),
    ] = "breast-cancer",
    parties: Annotated[
        int | None, typer.Option(help="How many parties. Default: 10, or the data's own.")
    ] = None,
    aggregators: Annotated[
        int, typer.Option(help=f"How many aggregators; at most {MAX_AGGREGATORS}.")
    ] = 4,
    rounds: Annotated[int, typer.Option(help="How many rounds to run.")] = 10,
    partition: Annotated[
        str | None,
        typer.Option(help="iid, dirichlet:0.5, shards:2 or column:hospital. Default: the task's."),
    ] = None,
    rule: Annotated[str, rule_option()] = RULE_DEFAULT,
    trim: Annotated[float | None, trim_option()] = None,
    server_learning_rate: Annotated[float | None, learning_rate_option()] = None,
    server_momentum: Annotated[float | None, momentum_option()] = None,
    clip_norm: Annotated[float | None, clip_option()] = None,
    participants: Annotated[
        int | None, typer.Option(help="How many parties a round draws. Default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="One seed gives one result, bit for bit.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The directory for the record and the models. Default: flo-demo, or flo-look with "
            "--look.",
        ),
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(
            help="Show how an attack fails instead: wrong-model, withheld-model, demand-flood, "
            "copycat, poison, absent-aggregator, late-party or junk-bytes. Exits 1 if the attack "
            "succeeds."
        ),
    ] = None,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="Mask the updates, so that only their sum can be read. The models are the same, "
            "bit for bit.",
        ),
    ] = False,
    trainer: TrainerOption = None,
    evaluate: EvaluateOption = None,
    track: TrackOption = (),  # type: ignore[assignment]
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate: LearningRateOption = None,
    proximal_mu: ProximalOption = None,
    look: Annotated[
        bool,
        typer.Option(
            "--look",
            help="With --private: show what a reader of the store can reconstruct of one party's "
            "patient, in a plain federation and in a private one, as a picture (look.png).",
        ),
    ] = False,
    workers: WorkersOption = 1,
    keep: KeepOption = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Show it in a browser while it runs and until Ctrl-C (flo dashboard)."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Train a model across parties that share no data, where nobody has to be trusted.

    Real contracts on an EVM in this process, real Keras training, real content identifiers.

    With --trainer it runs your own trainers instead, as `simulate` does from Python: a function of
    the party's number and the number of parties makes the trainer of each party. Run again with the
    same --out, it goes on where it stopped.

    Example: flo demo --dataset breast-cancer --parties 10 --rounds 10
    """
    # A picture must not delete a run's record.
    output = output or Path("flo-look" if look else "flo-demo")
    if attack is not None:
        refuse_other_options(context, "--attack", COMBINES)
        perform(attack, seed, json_output, debug=context.find_root().params["debug"])
        return
    if look:
        refuse_other_options(context, "--look", LOOK_COMBINES)
        show_look(private, seed, output, json_output)
        return
    ruled = {
        "trim": trim,
        "server_learning_rate": server_learning_rate,
        "server_momentum": server_momentum,
    }
    if trainer is not None:
        refuse_other_options(context, "--trainer", OWN_COMBINES, "data")
        given = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "proximal_mu": proximal_mu,
        }
        own = OwnTrainers(
            str(trainer),
            parties,
            rounds,
            chosen_rule(rule, **ruled),
            evaluate,
            {
                "aggregators": aggregators,
                "participants": participants,
                "private": private,
                "clip_norm": clip_norm,
                "seed": seed,
                "trackers": track,
                "workers": workers,
                "keep": keep,
                **{name: value for name, value in given.items() if value is not None},
            },
        )
        run_own(own, output, json_output)
        return
    require_trainer(context)
    started = time.monotonic()
    console = quiet_if(json_output)
    with (
        interruptible("No round was run. Run the same command again."),
        console.status("Loading TensorFlow, the data and the contracts …"),
    ):
        from fl_orchestrator.audit.run_directory import check_run_directory

        check_run_directory(output)
        from fl_orchestrator.simulation.experiment import Experiment
        from fl_orchestrator.simulation.options import Options
        from fl_orchestrator.simulation.tracked import tracked
        from fl_orchestrator.tracking.by_name import openers_of
        from fl_orchestrator.training.tasks import task_named

        trackers = openers_of(track)

        options = Options(
            dataset=dataset,
            parties=task_named(dataset).parties if parties is None else parties,
            aggregators=aggregators,
            rounds=rounds,
            partition=partition,
            rule=chosen_rule(rule, **ruled),
            clip_norm=clip_norm,
            participants=participants,
            seed=seed,
            private=private,
            keep=keep,
        )
        experiment = Experiment(options, output, workers)
    run = experiment.simulation
    with experiment, serving_demo(run.federation, run.store, output, console, serve):
        with interruptible(
            f"{output} contains the record of the rounds so far: `{verify_command(output)}` "
            "checks it. Running the demo again starts from the beginning."
        ):
            _introduce(console, experiment)
            with tracked(run, output, trackers) as track_round:
                entries = _run_rounds(console, experiment, track_round)
                shares = _settle(console, experiment)
            comparison = _compare(console, experiment)
            experiment.export()
        seconds = time.monotonic() - started
        if json_output:
            _print_result(experiment, entries, comparison, seconds)
        else:
            _conclude(experiment, comparison, shares, seconds, output)


def _introduce(console: Console, experiment: Experiment) -> None:
    from fl_orchestrator.roles.masked.terms import at_a_glance

    options, manifest = experiment.options, experiment.manifest
    rows = [len(party) for party in experiment.data.parties]
    say(
        f"[bold]{options.dataset}[/]: {sum(rows)} rows, partitioned {experiment.partition} "
        f"among {options.parties} parties ({min(rows)} to {max(rows)} rows each), "
        f"{len(experiment.data.test)} test rows. {experiment.licence}",
        console,
    )
    drawn = "all" if options.participants is None else f"about {options.participants}"
    say(
        f"Model: {manifest.layout.parameters:,} parameters; rule {manifest.rule}; {drawn} parties "
        f"drawn per round; {options.aggregators} aggregators; seed {options.seed}.",
        console,
    )
    say(
        f"Federation {short(experiment.simulation.federation.address)} deployed, "
        f"{options.parties + options.aggregators} accounts registered with stake.",
        console,
    )
    say(f"{at_a_glance(experiment.simulation.private)}\n", console)


def _run_rounds(
    console: Console, experiment: Experiment, track: Callable[[RoundEntry], None]
) -> list[RoundEntry]:
    width = 15 if out.is_terminal else 66
    console.print(
        _COLUMNS.format(
            "round", "drawn", "included", "accuracy", "loss", "gas", "root".ljust(width), "CID"
        ),
        style="bold",
        soft_wrap=True,
    )
    entries = []
    with progress(console, "training", experiment.options.rounds) as advance:
        for _ in range(experiment.options.rounds):
            entry = experiment.run_round()
            track(entry)
            entries.append(entry)
            line = _COLUMNS.format(
                entry.round,
                entry.drawn,
                entry.included if entry.accepted else "void",
                f"{entry.accuracy:.3f}",
                f"{entry.loss:.3f}",
                f"{entry.gas:,}",
                short(entry.root).ljust(width),
                short(entry.cid),
            )
            console.print(line, soft_wrap=True)
            advance()
    clipped = max(entry.clipped for entry in entries)
    if clipped:
        say(f"Up to {clipped:.2%} of an update's values were out of range and clipped.", console)
    return entries


def _settle(console: Console, experiment: Experiment) -> list[RewardShare]:
    with console.status("Waiting for finality and distributing rewards …"):
        return experiment.settle()


def _compare(console: Console, experiment: Experiment) -> Comparison:
    trainings = experiment.options.parties + 1
    with progress(console, "each party alone, and pooled", trainings) as advance:
        return experiment.compare(advance)


def _conclude(
    experiment: Experiment,
    comparison: Comparison,
    shares: list[RewardShare],
    seconds: float,
    directory: Path,
) -> None:
    from rich.table import Table

    from fl_orchestrator.audit.history import SAFETENSORS

    table = Table()
    table.add_column("trained by")
    table.add_column("accuracy", justify="right")
    table.add_row("a party alone (mean)", f"{comparison.accuracy_alone_mean:.3f}")
    table.add_row("[bold]the federation[/]", f"[bold]{comparison.accuracy:.3f}[/]")
    table.add_row("all data pooled", f"{comparison.accuracy_pooled:.3f}")
    for title, block in (
        ("Accuracy on the same test set", table),
        ("Stakes and rewards", _stakes(shares)),
    ):
        out.print(f"\n[italic]{title}[/]")
        out.print(block)
    gas = experiment.simulation.gas_total
    say(f"\nTotal gas: {gas:,}. Time: {duration(seconds)}.")
    if experiment.options.private:
        digest = experiment.history().exports[SAFETENSORS]
        say(
            f"Its {SAFETENSORS} has the sha256 {short(digest)}. Without --private this seed gives "
            "the same file, and the same values in every round's model. Only roots and CIDs "
            "differ, because a private federation lays out the tensors without padding."
        )
    files = "history.json, curves.png, model.keras, model.safetensors"
    say(f"Written to {safe(directory)}: {files}.")
    say(f"Check all of it yourself: [bold]{safe(verify_command(directory))}[/]")


def _stakes(shares: list[RewardShare]) -> Table:
    from rich.table import Table

    table = Table()
    for name, justify in (("role", "left"), ("account", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("stake", justify="right")
    table.add_column("reward", justify="right")
    if len(shares) <= _MAX_LISTED_ACCOUNTS:
        for share in shares:
            table.add_row(share.role, short(share.address), ether(share.stake), ether(share.credit))
        return table
    for role in ("party", "aggregator"):
        of_role = [share for share in shares if share.role == role]
        stake, credit = sum(s.stake for s in of_role), sum(s.credit for s in of_role)
        table.add_row(role, f"all {len(of_role)} together", ether(stake), ether(credit))
    return table


def _print_result(
    experiment: Experiment, entries: list[RoundEntry], comparison: Comparison, seconds: float
) -> None:
    from fl_orchestrator.audit.history import SAFETENSORS

    head = entries[-1]
    print_json(
        {
            "dataset": experiment.options.dataset,
            "private": experiment.options.private,
            "model_sha256": experiment.history().exports[SAFETENSORS],
            "seed": experiment.options.seed,
            "accuracy": comparison.accuracy,
            "accuracy_alone_mean": comparison.accuracy_alone_mean,
            "accuracy_pooled": comparison.accuracy_pooled,
            "head_root": head.root,
            "head_cid": head.cid,
            "rounds": len(entries),
            "rounds_accepted": sum(entry.accepted for entry in entries),
            "gas_total": experiment.simulation.gas_total,
            "seconds": round(seconds, 1),
        }
    )
