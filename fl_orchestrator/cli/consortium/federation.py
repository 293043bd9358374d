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
    short,
)
from fl_orchestrator.cli.consortium.admission import admit, remove
from fl_orchestrator.cli.consortium.create import create
from fl_orchestrator.cli.consortium.funding import add_to_pot
from fl_orchestrator.cli.consortium.kits.answer import answer
from fl_orchestrator.cli.consortium.kits.kit import kit
from fl_orchestrator.cli.consortium.migration import migrate
from fl_orchestrator.cli.consortium.ownership import accept, transfer
from fl_orchestrator.cli.following import head_json
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.site import (
    DryRunOption,
    Endpoint,
    Payer,
    deployed_at,
    with_options,
)
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.contract.private import PrivateFederation

app = Noun("Create a federation, admit and remove accounts, fund rewards, show its terms.")
for _command in (create, migrate, kit, answer, admit, remove, transfer, accept):
    app.command()(_command)


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
    from fl_orchestrator.chain.deployment.migrate import require_deployed

    wei = parse_ether(amount)
    chain = site.open_federation()
    require_deployed(chain)
    sender = site.open_sender(chain)
    add_to_pot(sender, chain.fund_rewards(wei), wei, "the reward pot", dry_run, json_output)


@app.command()
@with_options
def show(
    site: Endpoint,
    words: Annotated[
        bool,
        typer.Option("--words", help="Only what members compare, with words for it."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Show a federation's terms and the state of its round.

    Example: flo federation show --rpc http://127.0.0.1:8545
    """
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.roles.masked.terms import at_a_glance

    chain = site.open_federation(any_version=True)
    if words:
        _show_words(chain, json_output)
        return
    params = chain.params()
    own = chain.private_params() if isinstance(chain, PrivateFederation) else None
    seen = chain.observe(chain.address)
    rows: dict[str, object] = {
        "address": chain.address,
        "chain_id": chain.chain_id,
        "private": own is not None,
        "who_reads_what": at_a_glance(own),
        "version": chain.version,
        "owner": chain.owner(),
        "offered_to": chain.pending_owner() or "nobody",
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


def _show_words(chain: Federation, json_output: bool) -> None:
    from fl_orchestrator.members.terms import AgreedTerms

    rows = AgreedTerms.of(chain).rows()
    if json_output:
        print_json({name: {"number": number, "words": words} for name, number, words in rows})
        return
    print_pairs(pair for name, number, words in rows for pair in ((name, number), ("", words)))


def _seats(site: Endpoint, chain: PrivateFederation) -> dict[str, object]:
    """The aggregators that would count in a round that opened now, and who of them reads alone."""
    from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
    from fl_orchestrator.roles.masked.terms import readers_alone

    index = PrivateRoundIndex(chain, deployed_at(chain, site.deployments))
    index.search_to(chain.node.block_number)
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
        if name == "chunk_norm_limit" and value == 0:
            return "none"
        if name.endswith("_bps"):
            return f"{value / 100:g} %"
    if name.endswith(("_root", "_cid", "_digest")):
        return short(str(value))
    return str(value)
