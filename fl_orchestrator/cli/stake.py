"""What parties and aggregators have in common: registering with stake, and looking."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from fl_orchestrator.cli.console import duration, ether, out, print_json, short
from fl_orchestrator.cli.site import open_federation, open_sender
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation, Role


def parse_ether(text: str) -> int:
    """An amount in ETH as wei. Raises InputError."""
    try:
        wei = Decimal(text) * 10**18
        if wei != wei.to_integral_value() or not 0 <= wei < 2**96:
            raise InputError(f"{text} ETH cannot be paid.", "Use at most 18 decimals.")
    except InvalidOperation as error:
        raise InputError(f"{text!r} is not an amount.", "Write it in ETH, such as 0.1.") from error
    return int(wei)


def register_role(
    role: Role,
    rpc: str,
    address: str | None,
    deployments: Path,
    key: tuple[Path, Path | None],
    stake: str,
    beneficiary: str,
    dry_run: bool,
    json_output: bool,
) -> None:
    """Register the key's account in a role."""
    from fl_orchestrator.chain.connect import connect
    from fl_orchestrator.chain.types import Role

    federation = open_federation(connect(rpc), address, deployments)
    params = federation.params()
    minimum = params.min_party_stake if role is Role.PARTY else params.min_aggregator_stake
    amount = parse_ether(stake) if stake else minimum
    sender = open_sender(federation, *key)
    receiver = beneficiary or sender.address
    if not federation.web3.is_address(receiver):
        raise InputError(f"{receiver!r} is not an address.", "Check --beneficiary.")
    call = federation.register(role, federation.web3.to_checksum_address(receiver), amount)
    name = role.name.lower()
    if dry_run:
        gas = sender.check(call)
        out.print(f"Would register {sender.address} as {name} with {ether(amount)}; {gas:,} gas.")
        return
    receipt = sender.send(call)
    if json_output:
        print_json(
            {
                "address": sender.address,
                "role": name,
                "stake_wei": amount,
                "beneficiary": receiver,
                "gas": receipt.gas_used,
            }
        )
        return
    out.print(
        f"{short(sender.address)} is registered as {name} with {ether(amount)}. It counts from the "
        "next round that opens; withdrawals and rewards go to "
        f"{'itself' if receiver == sender.address else short(receiver)}."
    )


def show_account(
    role: str,
    account: str,
    rpc: str,
    address: str | None,
    deployments: Path,
    json_output: bool,
) -> None:
    """Show what the chain knows of an account in a role."""
    from fl_orchestrator.chain.connect import connect

    federation = open_federation(connect(rpc), address, deployments)
    if not federation.web3.is_address(account):
        raise InputError(f"{account!r} is not an address.", "It has 40 hexadecimal digits.")
    seen = federation.observe(federation.web3.to_checksum_address(account))
    if json_output:
        print_json(_as_json(role, seen))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _rows(role, seen):
        table.add_row(name, value)
    out.print(table)


def _rows(role: str, seen: Observation) -> list[tuple[str, str]]:
    view = seen.party if role == "party" else seen.aggregator
    current = seen.current
    rows = [
        ("admitted", "yes" if view.admitted else "no"),
        ("stake", ether(view.stake)),
        ("counts in this round", ether(view.frozen_stake)),
        ("rewards to withdraw", ether(seen.credit)),
        ("round", f"{current.round}, {current.phase.name.lower()}"),
    ]
    ends = {"COMMIT": current.commit_end, "REVEAL": current.reveal_end}
    end = ends.get(current.phase.name, current.attest_end)
    if current.phase.name in ("COMMIT", "REVEAL", "ATTEST"):
        rows.append(("phase ends in", duration(max(0, end - seen.timestamp))))
    if role == "party":
        committed = seen.committed.round == current.round and current.round > 0
        state = "revealed" if seen.committed.revealed else "committed, not revealed"
        rows.append(("drawn", "yes" if seen.drawn else "no"))
        rows.append(("update in this round", state if committed else "none"))
    if view.unbond_at:
        rows.append(("unbonds in", duration(max(0, view.unbond_at - seen.timestamp))))
    rows.append(("head", f"round {seen.head.round}, root {short('0x' + seen.head.root.hex())}"))
    return rows


def _as_json(role: str, seen: Observation) -> dict[str, object]:
    view = seen.party if role == "party" else seen.aggregator
    return {
        "role": role,
        "admitted": view.admitted,
        "stake_wei": view.stake,
        "frozen_stake_wei": view.frozen_stake,
        "unbond_at": view.unbond_at,
        "credit_wei": seen.credit,
        "beneficiary": seen.beneficiary,
        "round": seen.current.round,
        "phase": seen.current.phase.name.lower(),
        "drawn": seen.drawn,
        "committed": seen.committed.round == seen.current.round and seen.current.round > 0,
        "revealed": seen.committed.revealed and seen.committed.round == seen.current.round,
        "head_round": seen.head.round,
        "head_root": "0x" + seen.head.root.hex(),
        "head_cid": str(seen.head.cid),
    }
