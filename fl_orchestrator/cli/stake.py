"""What parties and aggregators have in common: registering with stake, and looking."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from fl_orchestrator.cli.console import duration, ether, print_json, print_pairs, say, short
from fl_orchestrator.cli.site import Account, Endpoint, head_json, parse_address, phase_ends_in
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation, Role


_MAX_WEI: Final = 2**96 - 1  # of a stake or a reward in the contract
_WEI: Final = Decimal("1e-18")  # in ETH
# The default context would round amounts of more than 28 digits.
_EXACT: Final = Context(prec=64)


def parse_ether(text: str) -> int:
    """An amount in ETH as wei, exactly. Raises InputError."""
    try:
        amount = Decimal(text)
        in_range = 0 <= amount <= _EXACT.multiply(Decimal(_MAX_WEI), _WEI)
    except InvalidOperation as error:
        raise InputError(f"{text!r} is not an amount.", "Write it in ETH, such as 0.1.") from error
    if not in_range:
        raise InputError(f"{text} ETH cannot be paid.", "It has to be 0 to 79,228,162,514 ETH.")
    if amount != amount.quantize(_WEI, context=_EXACT):
        raise InputError(f"{text} ETH cannot be paid.", "Use at most 18 decimals.")
    return int(_EXACT.divide(amount, _WEI))


def register_role(
    role: Role,
    site: Account,
    stake: str,
    beneficiary: str,
    dry_run: bool,
    json_output: bool,
) -> None:
    """Register the key's account in a role."""
    from fl_orchestrator.chain.types import Role

    federation = site.open_federation()
    params = federation.params()
    minimum = params.min_party_stake if role is Role.PARTY else params.min_aggregator_stake
    amount = parse_ether(stake) if stake else minimum
    sender = site.open_sender(federation)
    receiver = parse_address(beneficiary or sender.address)
    call = federation.register(role, receiver, amount)
    name = role.name.lower()
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json(
            {
                "address": sender.address,
                "role": name,
                "stake_wei": amount,
                "beneficiary": receiver,
                "gas": gas,
                "dry_run": dry_run,
            }
        )
    elif dry_run:
        say(f"Would register {sender.address} as {name} with {ether(amount)}; {gas:,} gas.")
    else:
        say(
            f"{short(sender.address)} is registered as {name} with {ether(amount)}. It counts from "
            "the next round that opens; withdrawals and rewards go to "
            f"{'itself' if receiver == sender.address else short(receiver)}."
        )


def show_account(role: str, account: str, site: Endpoint, json_output: bool) -> None:
    """Show what the chain knows of an account in a role."""
    seen = site.open_federation().observe(parse_address(account))
    if json_output:
        print_json(_as_json(role, seen))
        return
    print_pairs(_rows(role, seen))


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
    if (ends_in := phase_ends_in(seen)) is not None:
        rows.append(("phase ends in", duration(ends_in)))
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
        **head_json(seen),
    }
