"""`flo rewards`: rewards by shares that a quorum has signed. See docs/operating-a-consortium.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    ether,
    interruptible,
    print_json,
    print_pairs,
    safe,
    say,
    short,
)
from fl_orchestrator.cli.consortium.funding import add_to_pot
from fl_orchestrator.cli.consortium.rewards.common import RewardsOption, opened_rewards, sender_of
from fl_orchestrator.cli.consortium.rewards.signing import distribute, propose, sign
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles.stake import OfOption
from fl_orchestrator.cli.site import DryRunOption, Endpoint, Payer, parse_address, with_options
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.shares.shares import RewardShares

app = Noun("Pay rewards by shares that more than two thirds of the aggregators have signed.")


@app.command()
@with_options
def create(site: Payer, dry_run: DryRunOption = False, json_output: JsonOption = False) -> None:
    """Deploy the contract of a federation's rewards by shares, beside the federation.

    It is optional, and empty until somebody funds it. The deployment is recorded, so that a second
    call changes nothing.

    Example: flo rewards create --key owner.json
    """
    with interruptible("Run the same command again to continue."):
        from fl_orchestrator.chain.contract.reverts import RevertDecoder
        from fl_orchestrator.chain.deployment.migrate import deploy, gas_to_deploy
        from fl_orchestrator.chain.deployment.record import DeploymentRecord
        from fl_orchestrator.members.shares import open_shares

        home = site.open_federation()
        sender = sender_of(site, home, RevertDecoder.of_artifact("RewardShares"))
        record = DeploymentRecord(site.deployments, home.chain_id)
        terms = (home.address,)
        if dry_run:
            gas = gas_to_deploy(sender, "RewardShares", terms, record)
            if json_output:
                print_json({"gas": gas, "chain_id": home.chain_id, "dry_run": True})
            else:
                say(f"Would deploy on chain {home.chain_id}; {gas:,} gas.")
            return
        deployed = deploy(sender, "RewardShares", terms, record)[-1]
        contract = open_shares("", site.deployments, home).contract
    if json_output:
        print_json(_described(contract))
        return
    say(f"Rewards {deployed.address}, block {deployed.block}; recorded in {safe(record.path)}.")
    say("Next: `flo rewards fund`, for one period.")


@app.command()
@with_options
def fund(
    amount: Annotated[str, typer.Argument(help="The amount in ETH.")],
    site: Payer,
    rewards: RewardsOption = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Add ETH to the pot of the shares. It leaves only by shares that a quorum signs.

    A contract that is not recorded here is funded only if the chain shows how it was deployed.
    The reward of each round comes from another pot: see `flo federation fund`.

    Example: flo rewards fund 1.5 --key owner.json
    """
    from fl_orchestrator.members.shares import require_genuine

    wei = parse_ether(amount)
    home, opened = opened_rewards(site, rewards)
    require_genuine(opened, home)
    sender = sender_of(site, home, opened.contract.reverts)
    call = opened.contract.fund(wei)
    add_to_pot(sender, call, wei, "the pot of the shares", dry_run, json_output)


# In the order in which they are used.
for _command in (propose, sign, distribute):
    app.command()(_command)


@app.command()
@with_options
def show(
    site: Endpoint,
    rewards: RewardsOption = "",
    account: Annotated[str, typer.Option(help="Show what this account can withdraw, too.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Show the pot, what was distributed and who signed it, and whose signatures count now.

    Example: flo rewards show --rpc http://127.0.0.1:8545
    """
    with interruptible("Nothing was changed; run it again."):
        _, opened = opened_rewards(site, rewards)
        contract = opened.contract
        shown = _described(contract)
        done = contract.distributions(opened.from_block)
        seats = contract.seats()
        owner = parse_address(account) if account else ""
        credit = contract.credit_of(owner) if owner else 0
    if json_output:
        print_json(
            {
                **shown,
                "distributions": [
                    {
                        "number": one.number,
                        "from_round": one.from_round,
                        "to_round": one.to_round,
                        "report": "0x" + one.report.hex(),
                        "credited_wei": one.credited,
                        "signers": list(one.signers),
                    }
                    for one in done
                ],
                "seats": [{"account": seat.account, "stake_wei": seat.stake} for seat in seats],
                **({"account": owner, "credit_wei": credit} if owner else {}),
            }
        )
        return
    rows = [("rewards", contract.address), ("pot", ether(shown["pot_wei"]))]
    rows += [
        (
            f"distribution {one.number}",
            f"{ether(one.credited)} for rounds {one.from_round} to {one.to_round}, signed by "
            f"{len(one.signers)}, report {short('0x' + one.report.hex())}",
        )
        for one in done
    ]
    rows += [(f"seat {seat.number}", f"{seat.account} {ether(seat.stake)}") for seat in seats]
    if owner:
        rows.append(("to withdraw", f"{ether(credit)} for {owner}"))
    print_pairs(rows)


@app.command()
@with_options
def withdraw(
    site: Payer,
    account: OfOption = "",
    rewards: RewardsOption = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Have an account's shares paid to its beneficiary in the federation.

    What rounds have earned is paid by `flo party rewards` and `flo aggregator rewards`.

    Example: flo rewards withdraw --key party.json
    """
    home, opened = opened_rewards(site, rewards)
    contract = opened.contract
    sender = sender_of(site, home, contract.reverts)
    owner = parse_address(account or sender.address)
    credit, receiver = contract.credit_of(owner), contract.beneficiary_of(owner)
    call = contract.withdraw(owner)
    with site.alone_with(home, sender.address):
        gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json(
            {
                "address": owner,
                "credit_wei": credit,
                "beneficiary": receiver,
                "gas": gas,
                "dry_run": dry_run,
            }
        )
    else:
        would = "Would pay" if dry_run else "Paid"
        say(f"{would} {ether(credit)} to {short(receiver)}; {gas:,} gas.")


def _described(contract: RewardShares) -> dict[str, Any]:
    return {
        "rewards": contract.address,
        "chain_id": contract.chain_id,
        "federation": contract.federation(),
        "pot_wei": contract.pot(),
        "number": contract.number(),
    }
