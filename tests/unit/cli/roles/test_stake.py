"""What the commands about stakes say of a contract's refusal, and of who is paid."""

from __future__ import annotations

from typing import Any

import pytest
from support.observations import seen

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.cli.roles import stake


class Refusing:
    def __init__(self, error: ContractReverted) -> None:
        self._error = error

    def send(self, call: Any) -> Any:
        raise self._error

    check = send


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_stake_that_still_counts_says_in_which_round(dry_run: bool) -> None:
    sender: Any = Refusing(ContractReverted(ContractError.StakeStillCounts, (5,)))
    with pytest.raises(stake.NotYet, match="counts in round 5, which is not final yet"):
        stake._send(sender, None, dry_run)  # type: ignore[arg-type]


def test_any_other_refusal_is_the_contracts_own() -> None:
    sender: Any = Refusing(ContractReverted(ContractError.NotAccountOrBeneficiary))
    with pytest.raises(ContractReverted, match="Only the account itself or its beneficiary"):
        stake._send(sender, None, False)  # type: ignore[arg-type]


def test_who_never_registered_is_paid_itself() -> None:
    account, heir = "0x" + "22" * 20, "0x" + "11" * 20
    assert stake._receiver(seen(), account) == heir
    assert stake._receiver(seen(beneficiary="0x" + "0" * 40), account) == account
