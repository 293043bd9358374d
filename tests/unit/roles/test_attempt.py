"""Sending what somebody else may have sent before."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.send import Receipt, TransactionFailed
from fl_orchestrator.roles.attempt import attempt

CALL = Call(None, b"", 0, "slashSigner")


class FakeSender:
    def __init__(self, outcome: Exception | None) -> None:
        self._outcome = outcome

    def send(self, call: Call) -> Receipt:
        if self._outcome is not None:
            raise self._outcome
        return Receipt(call.label, b"", 1, 21_000, None)


def tried(outcome: Exception | None) -> bool:
    sender: Any = FakeSender(outcome)
    return attempt(sender, CALL, {ContractError.NotSlashable})


def test_what_the_contract_takes_is_sent() -> None:
    assert tried(None) is True


def test_an_expected_refusal_and_a_lost_race_are_no_errors() -> None:
    assert tried(ContractReverted(ContractError.NotSlashable)) is False
    lost = TransactionFailed("slashSigner reverted in block 7.", "Run the command again.")
    with capture_logs() as logs:
        assert tried(lost) is False
    assert [(log["log_level"], log["reason"]) for log in logs] == [("info", lost.message)]


def test_an_unexpected_refusal_is_an_error() -> None:
    with pytest.raises(ContractReverted, match="UnknownResult"):
        tried(ContractReverted(ContractError.UnknownResult))
