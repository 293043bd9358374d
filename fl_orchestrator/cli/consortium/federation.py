"""`flo federation`: commands of its owner and sponsors, and one that shows its terms."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    duration,
    ether,
    print_json,
    print_pairs,
    say,
    short,
)
from fl_orchestrator.cli.consortium.create import create
from fl_orchestrator.cli.following import head_json
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.site import (
    DryRunOption,
    Endpoint,
    Payer,
    deployed_at,
    parse_address,
    with_options,
)
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.chain.types import Role

app = Noun("Create a federation, admit and remove accounts, fund rewards, show its terms.")
app.command()(create)


@app.command()
@with_options
def admit(
    accounts: Annotated[list[str], typer.Argument(help="The accounts to admit.")],
    site: Payer,
    role: Annotated[str, typer.Option(help="party or aggregator.")] = "party",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Let accounts register in a role. Only the owner can do this.

    Example: flo federation admit 0x7099…79C8 --role party --key owner.json
    """
    from fl_orchestrator.chain.sending.batches import ADMISSION_GAS, batches

    as_role = _role(role)
    addresses = sorted({parse_address(account) for account in accounts})
    chain = site.open_federation()
    sender = site.open_sender(chain)
    calls = [chain.admit(batch, as_role) for batch in batches(sender, addresses, ADMISSION_GAS)]
    gas = sum(sender.check(call) if dry_run else sender.send(call).gas_used for call in calls)
    if json_output:
        print_json({"admitted": addresses, "role": role, "gas": gas, "dry_run": dry_run})
        return
    what = f"{len(addresses)} account{'s' * (len(addresses) > 1)} as {role}"
    say(f"Would admit {what}; {gas:,} gas." if dry_run else f"Admitted {what}.")


@app.command()
@with_options
def remove(
    account: Annotated[str, typer.Argument(help="The account to remove.")],
    site: Payer,
    role: Annotated[str, typer.Option(help="party or aggregator.")] = "party",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """End an account's admission in a role. Owner only.

    It takes part until the current round is over. Its stake unbonds from now on, as if it had asked
    for it, and goes to its beneficiary.

    Example: flo federation remove 0x7099…79C8 --role party --key owner.json
    """
    as_role = _role(role)
    address = parse_address(account)
    chain = site.open_federation()
    sender = site.open_sender(chain)
    call = chain.remove(address, as_role)
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json({"removed": address, "role": role, "gas": gas, "dry_run": dry_run})
        return
    what = f"{short(address)} as {role}"
    say(f"Would remove {what}; {gas:,} gas." if dry_run else f"Removed {what}.")


def _role(name: str) -> Role:
    from fl_orchestrator.chain.types import Role

    if name not in ("party", "aggregator"):
        raise InputError(f"There is no role {name!r}.", "Use party or aggregator.")
    return Role[name.upper()]


@app.command()
@with_options
def fund(
    amount: Annotated[str, typer.Argument(help="The amount in ETH.")],
    site: Payer,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Add ETH to the reward pot. It cannot be withdrawn again.

    Example: flo federation fund 1.5 --key owner.json
    """
    wei = parse_ether(amount)
    chain = site.open_federation()
    sender = site.open_sender(chain)
    call = chain.fund_rewards(wei)
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json({"added_wei": wei, "gas": gas, "dry_run": dry_run})
    elif dry_run:
        say(f"Would add {ether(wei)} to the reward pot; {gas:,} gas.")
    else:
        say(f"Added {ether(wei)} to the reward pot.")


@app.command()
@with_options
def show(site: Endpoint, json_output: JsonOption = False) -> None:
    """Show a federation's terms and the state of its round.

    Example: flo federation show --rpc http://127.0.0.1:8545
    """
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.roles.masked.terms import at_a_glance

    chain = site.open_federation()
    params = chain.params()
    own = chain.private_params() if isinstance(chain, PrivateFederation) else None
    seen = chain.observe(chain.address)
    rows: dict[str, object] = {
        "address": chain.address,
        "chain_id": chain.chain_id,
        "private": own is not None,
        "who_reads_what": at_a_glance(own),
        "round": seen.current.round,
        "phase": seen.current.phase.name.lower(),
        **head_json(seen),
        "final_height": seen.final_height,
        "free_pot_wei": seen.free_pot,
    }
    if isinstance(chain, PrivateFederation):
        rows |= _seats(site, chain)
    for terms in (params, own):
        for field in () if terms is None else dataclasses.fields(terms):
            value = getattr(terms, field.name)
            rows[field.name] = "0x" + value.hex() if isinstance(value, bytes) else _plain(value)
    if json_output:
        print_json(rows)
        return
    print_pairs((_in_words(name), _words(name, shown)) for name, shown in rows.items())


def _seats(site: Endpoint, chain: PrivateFederation) -> dict[str, object]:
    """The aggregators that would count in a round that opened now, and who of them reads alone."""
    from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
    from fl_orchestrator.roles.masked.terms import readers_alone

    index = PrivateRoundIndex(chain, deployed_at(chain, site.deployments))
    index.search_to(chain.web3.eth.block_number)
    seats = index.present_seats()
    alone = readers_alone([seat.stake for seat in seats], chain.private_params().secrecy)
    return {
        "aggregators": len(seats),
        "alone_read_by": ", ".join(seats[seat].account for seat in alone) or "nobody",
    }


def _plain(value: object) -> object:
    if isinstance(value, RuleKind):
        return value.label
    return value if isinstance(value, bool | int) else str(value)


def _in_words(name: str) -> str:
    return name.replace("_", " ").removesuffix(" wei").removesuffix(" bps")


def _words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if name.endswith("_period"):
            return duration(value)
        if name.endswith(("_stake", "_bond", "_wei")) or name == "reward":
            return ether(value)
        if name.endswith("_bps"):
            return f"{value / 100:g} %"
    if name.endswith(("_root", "_cid", "_digest")):
        return short(str(value))
    return str(value)
