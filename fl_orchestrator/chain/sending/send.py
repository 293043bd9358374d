"""Sends transactions: gas, fees, nonces, receipts, and reverts as the contract's named errors.

An account's next transaction takes the first nonce that is not mined on the chain. So after a
process was killed, it replaces the transaction that the process left pending. It does not do the
same thing twice, and does not wait behind the old transaction.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from web3 import Web3
from web3.types import TxParams

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted, RequestRefused, RevertDecoder
from fl_orchestrator.chain.nodes.endpoints import RpcUnavailable
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending.fees import Fees, highest, market_fees
from fl_orchestrator.chain.sending.flight import Flight, Receipt
from fl_orchestrator.chain.sending.pending import (
    Mined,
    PendingTransaction,
    SendPolicy,
    TransactionDropped,
    TransactionFailed,
)
from fl_orchestrator.chain.signing.keys import Signer
from fl_orchestrator.errors import ChainError
from fl_orchestrator.log import get_logger

__all__ = [
    "DEFAULT_POLICY",
    "Flight",
    "InsufficientFunds",
    "Receipt",
    "SendPolicy",
    "Sender",
    "TransactionDropped",
    "TransactionFailed",
]

_log = get_logger(__name__)

DEFAULT_POLICY: Final = SendPolicy()

# An estimate is exact only for the state in which it was made: batches may grow a little. Unused
# gas is not paid.
_GAS_MARGIN: Final = 1.5
# Every chain's blocks have room for this much gas, so up to it the block's limit is not requested.
_GAS_OF_ANY_BLOCK: Final = 4_000_000
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 1.0
# A node that is a block behind returns a nonce that is already mined: try again.
_NONCE_ATTEMPTS: Final = 5
_NONCE_PAUSE_SECONDS: Final = 0.5


class InsufficientFunds(ChainError):
    """The account cannot pay the value and the gas."""


@dataclass(slots=True)
class _Means:
    """What the account has for the calls that are sent at once, and what it offers for gas.

    ``nonce`` is the one that comes next, None before it was asked for.
    """

    balance: int
    fees: Fees
    nonce: int | None = None


class Sender:
    """Sends an account's calls; safe to use from several threads.

    ``on_receipt`` is called for every transaction that succeeded.
    """

    def __init__(
        self,
        web3: Web3,
        signer: Signer,
        reverts: RevertDecoder,
        policy: SendPolicy = DEFAULT_POLICY,
        on_receipt: Callable[[Receipt], None] = lambda _receipt: None,
    ) -> None:
        self.web3 = web3
        self._node = Node.of(web3)
        self.signer = signer
        self.policy = policy
        self._reverts = reverts
        self._on_receipt = on_receipt
        # Held while a transaction is built and sent, so that nonces are unique and have no gap;
        # not held while waiting for its receipt.
        self._lock = threading.Lock()
        self._in_flight: set[int] = set()
        self._flights: list[Flight] = []

    @property
    def address(self) -> str:
        return self.signer.address

    def send(self, call: Call) -> Receipt:
        """Send a call and wait until it is mined and confirmed.

        Raises ContractReverted (with the contract's own error), InsufficientFunds, FeeTooHigh and
        BudgetExceeded before anything is spent, RequestRefused when the node refuses the
        transaction, and TransactionFailed when it was sent without success.
        """
        with self._lock:
            means = self._means()
            pending = self._launch(call, self._estimate(call, means), means)
        return self._finish(pending)

    def send_together(self, calls: Iterable[Call]) -> list[Receipt | ChainError]:
        """Send calls as `start` does, and wait for all of them.

        The answer has, for each call that was tried, in order, its receipt, or the error that
        `send` would raise.
        """
        flight = self.start(calls)
        pause = _FIRST_PAUSE_SECONDS
        outcomes = flight.collect()
        while not flight.done:
            time.sleep(pause)
            pause = min(pause * 1.5, _LAST_PAUSE_SECONDS)
            outcomes += flight.collect()
        return outcomes

    def start(self, calls: Iterable[Call]) -> Flight:
        """Send calls one after the other with consecutive nonces, and wait for none of them.

        None of them may depend on another. Calls beyond what one block can take are not sent, so
        that the caller looks at the chain again in between. A call that the contract refuses is
        not sent, and its error is its outcome. An error that concerns the account and not the call
        (no coin, no budget, no node) is raised if nothing was sent.
        """
        sent: list[PendingTransaction | ChainError] = []
        with self._lock:
            means, room = self._means(), self.block_gas()
            for call in calls:
                try:
                    gas = self._estimate(call, means)
                    room -= gas + call.more_gas
                    if room < 0 and sent:
                        break
                    sent.append(self._launch(call, gas, means))
                except ContractReverted as error:
                    sent.append(error)
                except ChainError as error:
                    if not any(isinstance(one, PendingTransaction) for one in sent):
                        raise
                    _log.warning("sent only a part", calls=len(sent), reason=error.message)
                    break
            flight = Flight(sent, self._advance)
            self._flights = [other for other in self._flights if not other.done]
            if flight.launched:
                self._flights.append(flight)
        return flight

    def check(self, call: Call) -> int:
        """Return the gas that the call would take; raises what sending it would raise."""
        means = self._means()
        gas = self._estimate(call, means)
        if self.policy.budget is not None:
            limit = self._gas_limit(call, gas)
            self.policy.budget.check(limit * highest(means.fees), call.value)
        return gas

    def block_gas(self) -> int:
        """The gas limit of the latest block."""
        with self._reverts.translated():
            return int(self.web3.eth.get_block("latest")["gasLimit"])

    def _advance(self, pending: PendingTransaction) -> Receipt | ChainError | None:
        """What has become of a transaction; None while it is on its way."""
        try:
            receipt = self._poll(pending)
            if receipt is None:
                if pending.overdue is None:
                    return None
                raise pending.overdue
            return self._mined(pending, receipt)
        except ChainError as error:
            self._forget(pending)
            return error

    def _forget(self, pending: PendingTransaction) -> None:
        with self._lock:
            self._in_flight.discard(pending.nonce)

    def _finish(self, pending: PendingTransaction) -> Receipt:
        """Wait until a transaction that was sent is confirmed, and return its receipt."""
        try:
            receipt = self._wait(pending)
        finally:
            self._forget(pending)
        return self._mined(pending, receipt)

    def _mined(self, pending: PendingTransaction, receipt: Mined) -> Receipt:
        """Count a transaction that is in a block. Raises TransactionFailed when it reverted."""
        self._forget(pending)
        with self._reverts.translated():
            mined = self._settle(pending, receipt)
        if not receipt.succeeded:
            raise TransactionFailed(
                f"{pending.call.label} reverted in block {receipt.block}.",
                "The chain changed between the check and the block; run the command again.",
            )
        self._on_receipt(mined)
        return mined

    # ------------------------------------------------------------------ sending

    def _launch(self, call: Call, gas: int, means: _Means) -> PendingTransaction:
        """Send a transaction. The caller holds the lock, and must follow it until it is mined."""
        transaction: dict[str, Any] = {
            "chainId": self._chain_id,
            "gas": self._gas_limit(call, gas),
            "value": call.value,
            "data": call.data,
            **means.fees,
        }
        if call.to is not None:
            transaction["to"] = call.to
        attempt = 1
        while True:
            transaction["nonce"] = self._next_nonce(means.nonce)
            pending = PendingTransaction(
                *(self.web3, self.signer, self._reverts, self.policy),
                *(call, dict(transaction)),
                functools.partial(self._has_before, transaction["nonce"]),
            )
            try:
                with self._reverts.translated():
                    pending.launch()
                self._in_flight.add(pending.nonce)
                means.nonce = pending.nonce + 1
                means.balance -= call.value + transaction["gas"] * highest(pending.fees)
                return pending
            except RequestRefused as refusal:
                means.nonce = None
                if "nonce" not in refusal.message.lower() or attempt == _NONCE_ATTEMPTS:
                    raise
            attempt += 1
            time.sleep(_NONCE_PAUSE_SECONDS)

    def _has_before(self, nonce: int) -> bool:
        """Whether this sender has a pending transaction with a lower nonce."""
        return any(other < nonce for other in tuple(self._in_flight))

    def _next_nonce(self, known: int | None) -> int:
        """The first nonce that is neither mined nor in a pending transaction of this sender.

        ``known``: the nonce after the last transaction, if there is no need to ask the node.
        """
        if known is None:
            address = Web3.to_checksum_address(self.address)
            with self._reverts.translated():
                known = self._node.nonce(address)
        while known in self._in_flight:
            known += 1
        return known

    @functools.cached_property
    def _chain_id(self) -> int:
        return int(self.web3.eth.chain_id)

    def _poll(self, pending: PendingTransaction) -> Mined | None:
        """The receipt of a transaction that is confirmed. An outage of the node is no failure."""
        try:
            with self._reverts.translated():
                return pending.poll()
        except (RpcUnavailable, RequestRefused):
            if pending.overdue:
                raise
            return None

    def _wait(self, pending: PendingTransaction) -> Mined:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            # What was started and is not waited for may be in the way.
            for flight in tuple(self._flights):
                flight.advance_before(pending.nonce)
            receipt = self._poll(pending)
            if receipt is not None:
                return receipt
            if failure := pending.overdue:
                raise failure
            time.sleep(pause)
            pause = min(pause * 1.5, _LAST_PAUSE_SECONDS)

    def _settle(self, pending: PendingTransaction, receipt: Mined) -> Receipt:
        fee = receipt.gas_used * receipt.price
        if self.policy.budget is not None:
            value = pending.call.value if receipt.succeeded else 0
            self.policy.budget.settle(pending.nonce, fee, value)
        return Receipt(
            pending.call.label,
            receipt.transaction,
            receipt.block,
            receipt.gas_used,
            receipt.contract_address,
            fee,
        )

    # ------------------------------------------------------------------ what it may cost

    def _gas_limit(self, call: Call, gas: int) -> int:
        """The gas limit for an estimate: with a margin, but at most the limit of a block."""
        if call.gas is not None:
            return call.gas
        limit = int(gas * _GAS_MARGIN) + call.more_gas
        return limit if limit <= _GAS_OF_ANY_BLOCK else max(gas, min(limit, self.block_gas()))

    def _means(self) -> _Means:
        """What the account has and has to offer now. Raises FeeTooHigh."""
        with self._reverts.translated():
            balance = self._node.balance(Web3.to_checksum_address(self.address))
            return _Means(balance, market_fees(self.web3, self.policy.max_fee_per_gas))

    def _estimate(self, call: Call, means: _Means) -> int:
        """The gas of a call that the account can pay."""
        if call.gas is not None:
            self._require(means.balance, call, call.value + call.gas * highest(means.fees))
            return call.gas
        transaction: TxParams = {
            "from": Web3.to_checksum_address(self.address),
            "data": call.data,
            "value": Web3.to_wei(call.value, "wei"),
        }
        if call.to is not None:
            transaction["to"] = call.to
        # Check the balance first: nodes refuse to estimate a call that the account cannot pay, each
        # with a different message.
        self._require(means.balance, call, call.value)
        with self._reverts.translated(call.data):
            gas = self.web3.eth.estimate_gas(transaction)
        limit = self._gas_limit(call, gas)
        self._require(means.balance, call, call.value + limit * highest(means.fees))
        return gas

    def _require(self, balance: int, call: Call, needed: int) -> None:
        if balance < needed:
            raise InsufficientFunds(
                f"{self.address} has {Web3.from_wei(balance, 'ether')} ETH and {call.label} needs "
                f"up to {Web3.from_wei(needed, 'ether')} ETH.",
                "Send coin to the account first.",
            )
