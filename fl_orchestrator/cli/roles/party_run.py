"""`flo party run` and `flo party pause`: a party as a service."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    duration,
    err,
    interruptible,
    print_json,
    safe,
    say,
)
from fl_orchestrator.cli.following import phase_ends_in
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
    Protected,
)
from fl_orchestrator.cli.roles.service import SAFE_TO_STOP, ServiceSite, show_done
from fl_orchestrator.cli.roles.submission import NotTakingPart
from fl_orchestrator.cli.roles.trust import TrustOption, parse_trust, warn_of_trust
from fl_orchestrator.cli.site import Account, expanded, with_options
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.members.party import Guard
    from fl_orchestrator.service.process import Process

_SUFFIXES: Final = (".safetensors", ".npz")


@with_options
def run(
    site: ServiceSite,
    trainer: TrainerOption = None,
    flower: FlowerOption = None,
    run_config: RunConfigOption = None,
    node_config: NodeConfigOption = None,
    initial: InitialOption = None,
    alert_below: Annotated[
        str,
        typer.Option(
            metavar="METRIC=VALUE", help="Refuse a global model below this on validation data."
        ),
    ] = "",
    alert_above: Annotated[
        str, typer.Option(metavar="METRIC=VALUE", help="Or above this, for example loss=1.0.")
    ] = "",
    current: Annotated[
        Path | None,
        typer.Option(
            help="Where the last good global model is kept: .safetensors or .npz. "
            "Default: current.safetensors in this role's directory."
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Stop after taking part in this many rounds.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The seed of the training. Default: random."),
    ] = None,
    trust: TrustOption = "",
    privacy_budget: BudgetOption = None,
    delta: DeltaOption = None,
    noise_multiplier: NoiseOption = None,
    clip_norm: ClipOption = None,
    json_output: JsonOption = False,
) -> None:
    """Take part in every round that this account is drawn in, until stopped.

    Trains from the global model, commits, and reveals when the commit phase is over; with --relay
    it needs no coin and only outbound HTTPS. Evaluates every new global model; one that breaks a
    bound raises an alert in the log and is not adopted, although the next rounds start from it.
    Survives outages of the node, the store and the relay. Safe to kill and to start again.

    With --privacy-budget it trains with DP-SGD: whoever sees all its updates learns little about
    any one row (docs/privacy.md). What is spent stays in this role's directory, for all its rounds.

    In a private federation it sits out a round in which aggregators outside --trust could together
    read its update.

    Example: flo party run --trainer my_trainer.py:make_trainer --alert-below accuracy=0.7
    """
    from fl_orchestrator.roles.party.adoption import Bound

    bounds = Bound.parse(alert_below, above=False) + Bound.parse(alert_above, above=True)
    if current is not None and current.suffix not in _SUFFIXES:
        raise InputError(f"{current} has an unknown suffix.", f"Use {' or '.join(_SUFFIXES)}.")
    code = chosen_trainer(trainer, flower, run_config, node_config, initial)
    choice = Choice.of(privacy_budget, delta, noise_multiplier, clip_norm)
    trusted = parse_trust(trust)
    with interruptible(SAFE_TO_STOP):
        with _logged_in_part(site.home), loading(code) as (loaded, _):
            protected = choice.applied(loaded)
        with site.running("party", show=True) as process:
            from fl_orchestrator.members.party import Party

            guard = None if protected is None else _guarded(protected, process)
            with _logged_in_part(process.home):
                party = Party(
                    process,
                    loaded,
                    seed=seed,
                    trusted=trusted,
                    bounds=bounds,
                    current=current,
                    relay=site.open_relay(),
                    confirmations=site.confirmations,
                    guard=guard,
                )
            party.require_registered()
            _warn(process, site)
            warn_of_trust(process.chain, trusted)
            done = party.run(rounds)
    show_done(done, json_output)


@contextlib.contextmanager
def _logged_in_part(home: Path) -> Iterator[None]:
    """Write a trainer's whole error to a file, because stderr of a service is its log."""
    from fl_orchestrator.errors import TrainingError

    try:
        yield
    except TrainingError as error:
        from fl_orchestrator.roles.party.last_error import keep_error

        raise TrainingError(keep_error(expanded(home), error)) from error


def _guarded(protected: Protected, process: Process) -> Guard:
    return lambda context: protected.guarded(context, process.metrics)


def _warn(process: Process, site: ServiceSite) -> None:
    """Warn if the account is paused, or cannot pay for gas."""
    from web3 import Web3

    from fl_orchestrator.members.party import PAUSED

    account = process.sender.address
    eth, address = process.chain.web3.eth, Web3.to_checksum_address(account)
    if not site.relay and not process.waiting.until_had(
        "the chain", lambda: eth.get_balance(address)
    ):
        err.print(
            f"[yellow]{account} has no coin for gas:[/] send it some, or give --relay.",
            soft_wrap=True,
        )
    if (process.home / PAUSED).exists():
        err.print("[yellow]Paused:[/] this party reveals, but does not commit.", soft_wrap=True)


@with_options
def pause(
    site: Account,
    resume: Annotated[bool, typer.Option("--resume", help="Commit again.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Reveal the update that is committed, then commit no more: before maintenance or an absence.

    This applies to `flo party run` with this --home, now and when it is started again. Keep that
    running until the reveal is done: an update that is committed but not revealed costs stake. The
    stake stays in the contract; `flo party withdraw` requests it back.

    Example: flo party pause --key party.json
    """
    from fl_orchestrator.members.party import PAUSED

    with interruptible("Run it again."):
        chain = site.open_federation()
        account = site.account()
        home = site.role_home(chain, account)
        seen = chain.observe(account)
        marker = home / PAUSED
        if resume:
            marker.unlink(missing_ok=True)
        elif seen.party.stake == 0:
            raise NotTakingPart(f"{account} is not registered as a party.", "Nothing to pause.")
        else:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            marker.touch()
    owes = owes_reveal(seen)
    if json_output:
        print_json({"address": account, "paused": not resume, "owes_reveal": owes})
        return
    if resume:
        say("Resumed: `flo party run` commits again in the next round that it is drawn in.")
        return
    say(f"Paused ({safe(marker)}): `flo party run` commits no more.")
    if owes:
        ends_in = phase_ends_in(seen)
        say(
            f"[bold]Keep it running:[/] the update of round {seen.current.round} is committed and "
            f"not revealed; this phase ends in {duration(ends_in or 0)} at most."
        )


def owes_reveal(seen: Observation) -> bool:
    """Whether the party has committed in the current round and has not revealed."""
    from fl_orchestrator.chain.types import Phase

    current, committed = seen.current, seen.committed
    open_round = current.phase in (Phase.COMMIT, Phase.REVEAL)
    return open_round and committed.round == current.round and not committed.revealed
