"""Sends calls that another account may have sent before; a lost race is not an error."""

from __future__ import annotations

from collections.abc import Collection

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.send import Sender, TransactionFailed
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)


def attempt(sender: Sender, call: Call, not_now: Collection[ContractError]) -> bool:
    """Send a call; False if the contract refuses it with one of the errors ``not_now``.

    The contract may refuse it before it is sent, or in its block. Raises ContractReverted for other
    errors, and what else Sender raises.
    """
    try:
        receipt = sender.send(call)
    except ContractReverted as error:
        if error.cause not in not_now:
            raise
        _log.info("refused", call=call.label, reason=str(error))
        return False
    except TransactionFailed as error:
        # Another account won the race by one block. The next step observes what is left to do.
        _log.info("overtaken", call=call.label, reason=error.for_log)
        return False
    _log.info("sent", call=call.label, gas=receipt.gas_used)
    return True
