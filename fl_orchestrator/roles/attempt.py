"""Sends what somebody else may have sent before."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.send import Sender, TransactionFailed

_log = structlog.get_logger(__name__)


def attempt(sender: Sender, call: Call, not_now: Collection[ContractError]) -> bool:
    """Send a call; False when the contract refuses it by one of these errors, or did in its block.

    Raises ContractReverted for every other error, and what else Sender raises.
    """
    try:
        receipt = sender.send(call)
    except ContractReverted as error:
        if error.cause not in not_now:
            raise
        _log.info("refused", call=call.label, reason=str(error))
        return False
    except TransactionFailed as error:
        # Somebody was faster by one block, and nothing is wrong: the next look tells what is left.
        _log.info("overtaken", call=call.label, reason=error.for_log)
        return False
    _log.info("sent", call=call.label, gas=receipt.gas_used)
    return True
