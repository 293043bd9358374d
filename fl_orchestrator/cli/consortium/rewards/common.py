"""What the commands of `flo rewards` share."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.console import ether, print_json, print_pairs
from fl_orchestrator.cli.site import Endpoint, Payer, parse_address

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.contract.reverts import RevertDecoder
    from fl_orchestrator.chain.sending.send import Sender
    from fl_orchestrator.chain.shares.types import Shares
    from fl_orchestrator.members.shares import OpenShares

RewardsOption = Annotated[
    str,
    typer.Option("--rewards", metavar="ADDRESS", help="The contract. Default: the recorded one."),
]


def opened_rewards(site: Endpoint, rewards: str) -> tuple[Federation, OpenShares]:
    from fl_orchestrator.members.shares import open_shares

    home = site.open_federation()
    address = parse_address(rewards) if rewards else ""
    return home, open_shares(address, site.deployments, home)


def sender_of(site: Payer, home: Federation, reverts: RevertDecoder) -> Sender:
    """What sends as the key's account, within its limits, to a contract beside the federation."""
    from fl_orchestrator.chain.sending.send import Sender

    sender = site.open_sender(home)
    return Sender(home.web3, sender.signer, reverts, sender.policy)


def shares_json(shares: Shares) -> dict[str, Any]:
    return {
        "number": shares.number,
        "from_round": shares.from_round,
        "to_round": shares.to_round,
        "valid_until": shares.valid_until,
        "report": "0x" + shares.report.hex(),
        "shares": [{"account": one.account, "wei": one.amount} for one in shares.parts],
        "total_wei": shares.total,
    }


def show_shares(shares: Shares, json_output: bool) -> None:
    """Show what is to be signed."""
    if json_output:
        print_json(shares_json(shares))
        return
    until = datetime.datetime.fromtimestamp(shares.valid_until, datetime.UTC)
    print_pairs(
        [
            ("number", str(shares.number)),
            ("rounds", f"{shares.from_round} to {shares.to_round}"),
            ("valid until", f"{until:%Y-%m-%d %H:%M} UTC"),
            ("report", f"sha256 {shares.report.hex()}"),
            *((one.account, f"{ether(one.amount)} ({one.amount} wei)") for one in shares.parts),
            ("total", ether(shares.total)),
        ]
    )
