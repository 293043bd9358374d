"""What the commands about stakes say of a contract's refusal, and of who is paid."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from support.observations import seen

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.cli.roles import stake


class Refusing:
    address = "0x" + "33" * 20

    def __init__(self, error: ContractReverted) -> None:
        self._error = error

    def send(self, call: Any) -> Any:
        raise self._error

    check = send


def send(sender: Any, dry_run: bool) -> int:
    """Send a call, or check it, on a site that has a lock for sending only."""
    site: Any = SimpleNamespace()
    if not dry_run:
        site.alone_with = lambda _chain, _address: contextlib.nullcontext()
    chain: Any = None
    call: Any = None
    return stake._send(site, chain, sender, call, dry_run)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_stake_that_still_counts_says_in_which_round(dry_run: bool) -> None:
    sender: Any = Refusing(ContractReverted(ContractError.StakeStillCounts, (5,)))
    with pytest.raises(stake.NotYet, match="counts in round 5, which is not final yet"):
        send(sender, dry_run)


def test_any_other_refusal_is_the_contracts_own() -> None:
    sender: Any = Refusing(ContractReverted(ContractError.NotAccountOrBeneficiary))
    with pytest.raises(ContractReverted, match="Only the account itself or its beneficiary"):
        send(sender, dry_run=False)


def test_who_never_registered_is_paid_itself() -> None:
    account, heir = "0x" + "22" * 20, "0x" + "11" * 20
    assert stake._receiver(seen(), account) == heir
    assert stake._receiver(seen(beneficiary="0x" + "0" * 40), account) == account
