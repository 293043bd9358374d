"""The stake and the rewards of parties and aggregators."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import duration, ether, print_json, print_pairs, say, short
from fl_orchestrator.cli.following import head_json, phase_ends_in
from fl_orchestrator.cli.site import Account, Payer, parse_address
from fl_orchestrator.errors import ChainError
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.contract import Call
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.sending.send import Sender
    from fl_orchestrator.chain.types import Observation, Role, StakeView

OfOption = Annotated[
    str,
    typer.Option(
        "--account", help="The account, whose beneficiary the key is. Default: the key's own."
    ),
]


class NotYet(ChainError):
    """A stake cannot be withdrawn now."""


def register_role(
    role: Role,
    site: Payer,
    stake: str,
    beneficiary: str,
    dry_run: bool,
    json_output: bool,
    key_of: Callable[[Federation, str], bytes | None] = lambda _federation, _account: None,
) -> None:
    """Register the key's account in a role; ``key_of`` gives its encryption key, if it has one."""
    from fl_orchestrator.members.base import registration

    federation = site.open_federation()
    sender = site.open_sender(federation)
    receiver = parse_address(beneficiary or sender.address)
    key = key_of(federation, sender.address)
    asked = registration(federation, role, sender.address, stake, receiver, key)
    call, amount = asked.call, asked.stake
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
                **({} if key is None else {"encryption_key": "0x" + key.hex()}),
            }
        )
    elif dry_run:
        say(f"Would register {sender.address} as {name} with {ether(amount)}; {gas:,} gas.")
    else:
        say(
            f"{short(sender.address)} is registered as {name} with {ether(amount)}. It counts from "
            "the next round that opens; withdrawals and rewards are paid to "
            f"{'itself' if receiver == sender.address else short(receiver)}."
        )


def add_stake(site: Payer, amount: str, dry_run: bool, json_output: bool) -> None:
    """Add to the stake of the key's account, which is a party."""
    from fl_orchestrator.chain.deployment.migrate import require_deployed

    federation = site.open_federation()
    require_deployed(federation)
    added = parse_ether(amount)
    sender = site.open_sender(federation)
    call = federation.deposit(added)
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    stake = federation.observe(sender.address).party.stake
    if json_output:
        print_json(
            {
                "address": sender.address,
                "added_wei": added,
                "stake_wei": stake,
                "gas": gas,
                "dry_run": dry_run,
            }
        )
    elif dry_run:
        say(f"Would add {ether(added)} to the {ether(stake)} of {sender.address}; {gas:,} gas.")
    else:
        say(
            f"The stake of {short(sender.address)} is {ether(stake)}. What was added counts from "
            "the next round that opens."
        )


def withdraw_stake(role: Role, site: Payer, account: str, dry_run: bool, json_output: bool) -> None:
    """Request an account's stake back, or, if it is due, have it paid to its beneficiary."""
    chain = site.open_federation(any_version=True)
    sender = site.open_sender(chain)
    owner = parse_address(account or sender.address)
    seen = chain.observe(owner)
    view, name, receiver = _view(role, seen), role.name.lower(), _receiver(seen, owner)
    if view.stake == 0:
        raise NotYet(f"{owner} has no stake as {name}.", "There is nothing to withdraw.")
    wait = view.unbond_at - seen.timestamp
    if view.unbond_at and wait > 0:
        raise NotYet(
            f"The stake of {ether(view.stake)} is due {_when(view.unbond_at, wait)}.",
            "Run the command again then. Until then it can be slashed for what it signed or owes.",
        )
    asks = view.unbond_at == 0
    call = chain.request_unbond(owner, role) if asks else chain.withdraw(owner, role)
    gas = _send(site, chain, sender, call, dry_run)
    view = _view(role, chain.observe(owner)) if asks and not dry_run else view
    if json_output:
        print_json(
            {
                "address": owner,
                "role": name,
                "stake_wei": view.stake,
                "done": "requested" if asks else "withdrawn",
                "due_at": view.unbond_at,
                "beneficiary": receiver,
                "gas": gas,
                "dry_run": dry_run,
            }
        )
    elif asks:
        _say_asked(chain, view, seen, gas, dry_run)
    else:
        would = "Would pay" if dry_run else "Paid"
        say(f"{would} {ether(view.stake)} to {short(receiver)}; {gas:,} gas.")


def _say_asked(
    chain: Federation, view: StakeView, seen: Observation, gas: int, dry_run: bool
) -> None:
    if dry_run:
        least = duration(chain.params().unbond_period)
        say(
            f"Would request {ether(view.stake)} back; {gas:,} gas. It would be due in {least} or "
            "more, and would not count in new rounds."
        )
        return
    wait = view.unbond_at - seen.timestamp
    say(
        f"Requested {ether(view.stake)} back. It does not count in new rounds, and is due "
        f"{_when(view.unbond_at, wait)}: run this command again then."
    )
    if seen.committed.round == seen.current.round and not seen.committed.revealed:
        say("Start `flo party run` again until the update of this round is revealed.")


def collect_rewards(
    site: Payer, account: str, collect: bool, dry_run: bool, json_output: bool
) -> None:
    """Show an account's rewards; with ``collect`` have them paid to its beneficiary."""
    chain = site.open_federation(any_version=True)
    owner = site.account(account)
    seen = chain.observe(owner)
    receiver = _receiver(seen, owner)
    gas = 0
    if collect:
        if seen.credit == 0:
            raise NotYet(
                f"{owner} has no rewards to collect.",
                "They are credited when a keeper distributes the rewards of a final round.",
            )
        sender = site.open_sender(chain)
        gas = _send(site, chain, sender, chain.withdraw_rewards(owner), dry_run)
    paid = collect and not dry_run
    if json_output:
        print_json(
            {
                "address": owner,
                "credit_wei": seen.credit,
                "beneficiary": receiver,
                "collected": paid,
                "gas": gas,
                "dry_run": dry_run,
            }
        )
    elif collect:
        would = "Paid" if paid else "Would pay"
        say(f"{would} {ether(seen.credit)} to {short(receiver)}; {gas:,} gas.")
    else:
        say(
            f"{ether(seen.credit)} to collect, for {short(receiver)}."
            + (" Collect with --collect." if seen.credit else "")
        )


def _send(site: Payer, chain: Federation, sender: Sender, call: Call, dry_run: bool) -> int:
    """Send a call, or with ``dry_run`` only check it; return its gas. Raises NotYet."""
    from fl_orchestrator.chain.contract.contract_errors import ContractError
    from fl_orchestrator.chain.contract.reverts import ContractReverted

    try:
        if dry_run:
            return sender.check(call)
        with site.alone_with(chain, sender.address):
            return sender.send(call).gas_used
    except ContractReverted as error:
        if error.error is not ContractError.StakeStillCounts:
            raise
        raise NotYet(
            f"The stake counts in round {error.arguments[0]}, which is not final yet.",
            "Run the command again later: a keeper makes rounds final when their challenge "
            "period is over.",
        ) from error


def _receiver(seen: Observation, account: str) -> str:
    """The account that is paid: the beneficiary, or the account itself if it never registered."""
    return seen.beneficiary if int(seen.beneficiary, 16) else account


def _when(at: int, wait: int) -> str:
    """A time for people, in words and as a date."""
    date = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return f"in {duration(wait)}, on {date:%Y-%m-%d at %H:%M} UTC"


def _view(role: Role, seen: Observation) -> StakeView:
    from fl_orchestrator.chain.types import Role

    return seen.party if role is Role.PARTY else seen.aggregator


def show_account(
    role: str,
    account: str,
    site: Account,
    json_output: bool,
    here: Callable[[Path], dict[str, object]] = lambda _home: {},
) -> None:
    """Show the on-chain state of an account in a role, and the values ``here`` from its home."""
    chain = site.open_federation(any_version=True)
    owner = site.account(account)
    seen = chain.observe(owner)
    known = here(site.role_home(chain, owner))
    if json_output:
        print_json({"address": owner, **_as_json(role, seen), **known})
        return
    rows = [(key.replace("_", " "), _plain(value)) for key, value in known.items()]
    print_pairs([("account", owner), *_rows(role, seen), *rows])


def _plain(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


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
