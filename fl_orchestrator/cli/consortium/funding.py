"""Adding coin to a pot of rewards, for the commands that do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_orchestrator.cli.console import ether, print_json, say

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.contract import Call
    from fl_orchestrator.chain.sending.send import Sender


def add_to_pot(
    sender: Sender, call: Call, wei: int, pot: str, dry_run: bool, json_output: bool
) -> None:
    """Send a call that adds so many wei to a pot, or with ``dry_run`` only check it; say so.

    Raises what the sender raises.
    """
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json({"added_wei": wei, "gas": gas, "dry_run": dry_run})
    elif dry_run:
        say(f"Would add {ether(wei)} to {pot}; {gas:,} gas.")
    else:
        say(f"Added {ether(wei)} to {pot}.")
