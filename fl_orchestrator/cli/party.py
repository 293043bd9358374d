"""`flo party`: register, look, and take part."""

from __future__ import annotations

from typing import Annotated

import typer

from fl_orchestrator.cli import rehearsal, submission
from fl_orchestrator.cli.console import JsonOption
from fl_orchestrator.cli.site import Account, DryRunOption, Endpoint, with_options
from fl_orchestrator.cli.stake import register_role, show_account

app = typer.Typer(help="Take part with your own data.", no_args_is_help=True)


@app.command()
@with_options
def register(
    site: Account,
    stake: Annotated[str, typer.Option(help="The stake in ETH. Default: the minimum.")] = "",
    beneficiary: Annotated[
        str, typer.Option(help="Who gets stake and rewards back. Default: this account.")
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
def status(
    site: Endpoint,
    address: Annotated[str, typer.Argument(help="The party's account.")],
    json_output: JsonOption = False,
) -> None:
    """Show what the chain knows of a party and of the current round.

    Example: flo party status 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    show_account("party", address, site, json_output)


app.command()(rehearsal.check)
app.command()(submission.submit)
