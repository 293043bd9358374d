"""`flo federation transfer` and `accept`: another account becomes the owner, in two steps."""

from __future__ import annotations

from typing import Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, print_json, say
from fl_orchestrator.cli.site import DryRunOption, Payer, parse_address, with_options


@with_options
def transfer(
    account: Annotated[str, typer.Argument(help="The account that shall be the owner.")],
    site: Payer,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Offer the federation to another account. Owner only.

    Nothing changes until that account accepts. Another offer replaces this one; offer it to the
    owner itself to take it back. A contract wallet accepts by calling acceptOwnership().

    Example: flo federation transfer 0x7099…79C8 --key owner.json
    """
    address = parse_address(account)
    chain = site.open_federation()
    sender, call = site.open_sender(chain), chain.transfer_ownership(address)
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json({"offered_to": address, "gas": gas, "dry_run": dry_run})
    elif dry_run:
        say(f"Would offer the federation to {address}; {gas:,} gas.")
    else:
        say(f"Offered the federation to {address}, which runs `flo federation accept`.")


@with_options
def accept(site: Payer, dry_run: DryRunOption = False, json_output: JsonOption = False) -> None:
    """Become the owner of a federation that was offered to the account of the key.

    Example: flo federation accept --key new-owner.json
    """
    chain = site.open_federation()
    sender, call = site.open_sender(chain), chain.accept_ownership()
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json({"owner": sender.address, "gas": gas, "dry_run": dry_run})
    elif dry_run:
        say(f"{sender.address} would become the owner; {gas:,} gas.")
    else:
        say(f"{sender.address} is the owner now.")
