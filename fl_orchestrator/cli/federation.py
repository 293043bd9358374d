"""`flo federation`: what its owner and its sponsors do, and what anybody can look at."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

from fl_orchestrator.cli.console import JsonOption, duration, ether, out, print_json
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    DeploymentsOption,
    DryRunOption,
    FederationOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    open_federation,
    open_sender,
)
from fl_orchestrator.cli.stake import parse_ether
from fl_orchestrator.errors import InputError

app = typer.Typer(help="Admit accounts, fund rewards, look.", no_args_is_help=True)


@app.command()
def admit(
    accounts: Annotated[list[str], typer.Argument(help="The accounts to admit.")],
    key: KeyOption,
    role: Annotated[str, typer.Option(help="party or aggregator.")] = "party",
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
) -> None:
    """Let accounts register in a role. Owner only; cannot be taken back.

    Example: flo federation admit 0x7099…79C8 --role party --key owner.json
    """
    from fl_orchestrator.chain.connect import connect
    from fl_orchestrator.chain.types import Role

    if role not in ("party", "aggregator"):
        raise InputError(f"There is no role {role!r}.", "Use party or aggregator.")
    chain = open_federation(connect(rpc), federation, deployments)
    for account in accounts:
        if not chain.web3.is_address(account):
            raise InputError(f"{account!r} is not an address.", "It has 40 hexadecimal digits.")
    sender = open_sender(chain, key, password_file)
    checked = [chain.web3.to_checksum_address(account) for account in accounts]
    sender.send(chain.admit(checked, Role[role.upper()]))
    out.print(f"Admitted {len(accounts)} as {role}.")


@app.command()
def fund(
    amount: Annotated[str, typer.Argument(help="The amount in ETH.")],
    key: KeyOption,
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Add to the reward pot. It cannot be taken out again.

    Example: flo federation fund 1.5 --key owner.json
    """
    from fl_orchestrator.chain.connect import connect

    wei = parse_ether(amount)
    chain = open_federation(connect(rpc), federation, deployments)
    sender = open_sender(chain, key, password_file)
    call = chain.fund_rewards(wei)
    if dry_run:
        out.print(f"Would add {ether(wei)} to the reward pot; {sender.check(call):,} gas.")
        return
    sender.send(call)
    out.print(f"Added {ether(wei)} to the reward pot.")


@app.command()
def show(
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Show a federation's terms and where its round stands.

    Example: flo federation show --rpc http://127.0.0.1:8545
    """
    from fl_orchestrator.chain.connect import connect

    chain = open_federation(connect(rpc), federation, deployments)
    params = chain.params()
    seen = chain.observe(chain.address)
    rows: dict[str, object] = {
        "address": chain.address,
        "chain_id": chain.chain_id,
        "round": seen.current.round,
        "phase": seen.current.phase.name.lower(),
        "head_round": seen.head.round,
        "head_root": "0x" + seen.head.root.hex(),
        "head_cid": str(seen.head.cid),
        "final_height": seen.final_height,
        "free_pot_wei": seen.free_pot,
    }
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        rows[field.name] = (
            "0x" + value.hex() if isinstance(value, bytes) else _plain(field.name, value)
        )
    if json_output:
        print_json(rows)
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, shown in rows.items():
        table.add_row(name.replace("_", " ").removesuffix(" wei"), _words(name, shown))
    out.print(table)


def _plain(name: str, value: object) -> object:
    if name == "rule":
        return str(getattr(value, "name", value)).lower().replace("_", "-")
    return value if isinstance(value, bool | int) else str(value)


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
    return str(value)
