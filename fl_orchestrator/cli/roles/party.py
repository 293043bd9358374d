"""`flo party`: take part with your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fl_orchestrator.cli.console import JsonOption
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles import history, party_run, rehearsal, submission
from fl_orchestrator.cli.roles.stake import (
    OfOption,
    add_stake,
    collect_rewards,
    register_role,
    show_account,
    withdraw_stake,
)
from fl_orchestrator.cli.site import Account, DryRunOption, Payer, with_options

app = Noun("Take part with your own data.")


@app.command()
@with_options
def register(
    site: Payer,
    stake: Annotated[str, typer.Option(help="The stake in ETH. Default: the minimum.")] = "",
    beneficiary: Annotated[
        str, typer.Option(help="Who is paid stake and rewards. Default: this account.")
    ] = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Register this account as a party, with stake.

    Example: flo party register --key party.json --stake 0.1
    """
    from fl_orchestrator.chain.types import Role

    register_role(Role.PARTY, site, stake, beneficiary, dry_run, json_output)


@app.command()
@with_options
def deposit(
    site: Payer,
    amount: Annotated[str, typer.Argument(help="How much to add, in ETH.", metavar="ETH")],
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Add to this party's stake: after a slash it may be too small to be drawn.

    What is added counts from the next round that opens, and can be slashed and withdrawn like the
    rest.

    Example: flo party deposit 0.05 --key party.json
    """
    add_stake(site, amount, dry_run, json_output)


@app.command()
@with_options
def status(
    site: Account,
    address: Annotated[str, typer.Argument(help="The party's account. Default: the key's.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Show the on-chain state of a party and of the round, and the model in use on this site.

    Example: flo party status 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    show_account("party", address, site, json_output, _known_here)


def _known_here(home: Path) -> dict[str, object]:
    """Whether the party is paused, and its model; empty if the party never ran here."""
    if not home.exists():
        return {}
    from fl_orchestrator.members.party import PAUSED
    from fl_orchestrator.roles.party.adoption import in_use, last_evaluated
    from fl_orchestrator.roles.party.spending import summary

    current, last = in_use(home) or {}, last_evaluated(home) or {}
    return {
        "paused": (home / PAUSED).exists(),
        "model_in_use": current.get("file"),
        "model_in_use_round": current.get("round"),
        "refused": "; ".join(last.get("faults", [])) or None,
        **summary(home),
    }


app.command()(rehearsal.check)
app.command()(party_run.run)
app.command()(submission.submit)
app.command()(party_run.pause)
app.command()(history.history)


@app.command()
@with_options
def withdraw(
    site: Payer,
    account: OfOption = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Request the stake back, or, once it is due, have it paid to the beneficiary. Run it twice.

    A requested stake does not count in new rounds, and can be slashed until it is paid. The
    beneficiary may do this too, with a key of its own, for example if the party's key is lost.

    Example: flo party withdraw --key party.json --dry-run
    """
    from fl_orchestrator.chain.types import Role

    withdraw_stake(Role.PARTY, site, account, dry_run, json_output)


@app.command()
@with_options
def rewards(
    site: Payer,
    account: OfOption = "",
    collect: Annotated[bool, typer.Option("--collect", help="Pay them out.")] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show this account's rewards from all its roles, or have them paid to its beneficiary.

    Example: flo party rewards --key party.json --collect
    """
    collect_rewards(site, account, collect, dry_run, json_output)
