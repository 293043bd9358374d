"""One pending transaction: signs it, sends it, raises its fee, and follows it until it has enough
confirmations."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import Web3Exception, Web3RPCError

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.logs import number_of
from fl_orchestrator.chain.contract.reverts import ContractReverted, RevertDecoder
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending.budget import Budget, BudgetExceeded, UnusableBudget
from fl_orchestrator.chain.sending.fees import Fees, at_least, bumped, fees_of, highest, market_fees
from fl_orchestrator.chain.signing.http_signer import SignerUnavailable
from fl_orchestrator.chain.signing.keys import Signer
from fl_orchestrator.errors import ChainError
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

# Nodes behind a load balancer are not always at the same block. So a nonce counts as taken, or as
# missing, only after it has looked so for this long.
_BELIEF_SECONDS: Final = 3.0
# The error messages of geth, Besu, Erigon, Nethermind and Anvil for a fee that is too low: too low
# to replace another transaction, or below Besu's --min-gas-price.
_BELOW_LEAST_PRICE: Final = re.compile(r"price is below|below.*minimum", re.IGNORECASE)
_UNDERPRICED: Final = re.compile(
    rf"underpriced|replace|{_BELOW_LEAST_PRICE.pattern}", re.IGNORECASE
)


class TransactionFailed(ChainError):
    """A transaction was mined but reverted, or was not mined in time."""

    @property
    def for_log(self) -> str:
        """The message without the hint, because a service retries by itself."""
        return self.message


class TransactionDropped(TransactionFailed):
    """A transaction that was sent will not be mined, and has changed nothing.

    Another transaction with its nonce was mined, or a reorg removed it and it would now revert. The
    caller has to read the chain again and decide what to do.
    """


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How an account sends transactions.

    A transaction is done when ``confirmations`` blocks follow its own. It has failed when it made
    no progress towards that for ``timeout`` seconds. While it is not mined, its fee is raised every
    ``bump_after`` seconds, up to ``max_fee_per_gas`` wei (None: ten times the first fee) and within
    the ``budget``.
    """

    confirmations: int = 0
    timeout: float = 120
    bump_after: float = 30
    max_fee_per_gas: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block; ``price`` is what it paid for a unit of gas, in wei."""

    transaction: bytes
    block: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    price: int
    contract_address: str | None

    @classmethod
    def of(cls, receipt: Any, offered: int) -> Mined:
        """From a receipt as a node or as web3 has it; some nodes do not say what was paid."""
        created, price = receipt["contractAddress"], receipt.get("effectiveGasPrice")
        return cls(
            bytes(HexBytes(receipt["transactionHash"])),
            number_of(receipt["blockNumber"]),
            bytes(HexBytes(receipt["blockHash"])),
            number_of(receipt["status"]) == 1,
            number_of(receipt["gasUsed"]),
            offered if price is None else number_of(price),
            None if created is None else Web3.to_checksum_address(created),
        )


class PendingTransaction:
    """A call sent as a transaction with one nonce; versions of it differ only in their fees."""

    def __init__(
        self,
        web3: Web3,
        signer: Signer,
        reverts: RevertDecoder,
        policy: SendPolicy,
        call: Call,
        transaction: dict[str, Any],
        preceded: Callable[[], bool] = lambda: False,
    ) -> None:
        """``preceded`` returns whether earlier transactions of this sender are still pending."""
        self.call = call
        self._preceded = preceded
        self._eth = web3.eth
        self._web3 = web3
        self._node = Node.of(web3)
        self._signer = signer
        self._account = Web3.to_checksum_address(signer.address)
        self._reverts = reverts
        self._policy = policy
        self._transaction = transaction
        self._first_fees = self.fees
        # The version that was sent last, and the hashes of all versions that may be mined.
        self._raw = b""
        self._hashes: tuple[bytes, ...] = ()
        self._offered_at = time.monotonic()
        self._offered_block: int | None = None
        self._head = 0
        self._mined_in: tuple[bytes, int] | None = None
        self._overtaken_at: float | None = None
        self._deadline = 0.0
        self._renew_deadline()

    @property
    def nonce(self) -> int:
        return int(self._transaction["nonce"])

    @property
    def fees(self) -> Fees:
        """The fees of the latest version."""
        return fees_of(self._transaction)

    @property
    def overdue(self) -> TransactionFailed | None:
        """The error to raise when the timeout is over; None before."""
        if time.monotonic() < self._deadline:
            return None
        done = "confirmed" if self._mined_in else "mined"
        return TransactionFailed(
            f"{self.call.label} was not {done} within {self._policy.timeout:.0f} s.",
            "It may still be; look at the chain before you repeat it.",
        )

    # ------------------------------------------------------------------ sending

    def launch(self) -> None:
        """Send it, replacing any waiting transaction with the same nonce.

        Raises BudgetExceeded, and Web3RPCError when the node refuses it.
        """
        while refusal := self._offer(self.fees):
            higher = self._fees_after(str(refusal))
            if higher is None:
                raise refusal
            self._transaction |= higher

    def _offer(self, fees: Fees) -> Web3RPCError | None:
        """Send a version with these fees; return the node's error if it refuses it, else None."""
        transaction = {**self._transaction, **fees}
        if self._policy.budget is not None:
            most = transaction["gas"] * highest(fees)
            self._policy.budget.charge(self.nonce, most, self.call.value)
        raw = self._signer.sign_transaction(transaction)
        before = self._transaction, self._raw, self._hashes
        # Record the hash before sending: without a response the node may still have accepted it.
        self._transaction, self._raw, self._hashes = transaction, raw, (keccak(raw), *self._hashes)
        refusal = self._hand_over()
        if refusal is not None:
            self._transaction, self._raw, self._hashes = before
        return refusal

    def _hand_over(self) -> Web3RPCError | None:
        try:
            self._eth.send_raw_transaction(self._raw)
        except Web3RPCError as error:
            # A node refuses a transaction that it already has: an earlier attempt may have
            # succeeded, and only its response was lost.
            return None if self._is_known() else error
        return None

    def _is_known(self) -> bool:
        try:
            self._eth.get_transaction(HexBytes(self._hashes[0]))
        except Web3Exception:
            return False
        return True

    # ------------------------------------------------------------------ following

    def poll(self) -> Mined | None:
        """Return the receipt once it is confirmed or has reverted; else resend it if needed.

        Raises TransactionDropped, and the node's errors.
        """
        head = self._node.block_number
        receipt = self._receipt()
        if receipt is None:
            self._push(head)
            return None
        depth = head - receipt.block
        if not receipt.succeeded or depth >= self._policy.confirmations:
            return receipt
        progress = receipt.block_hash, depth
        if progress != self._mined_in:
            self._mined_in = progress
            self._renew_deadline()
        return None

    def _receipt(self) -> Mined | None:
        for version in self._hashes:
            found = self._node.receipt(version)
            if found is not None:
                return Mined.of(found, highest(self.fees))
        return None

    def _push(self, head: int) -> None:
        if self._mined_in is not None:
            _log.warning("reorganised", call=self.call.label, nonce=self.nonce)
            self._mined_in = None
            self._renew_deadline()
            self._require_valid()
            self._hand_over()
        if head != self._head or self._overtaken_at is not None:
            self._require_nonce()
            # After a reorg, or with a full pool, nodes drop waiting transactions: send it again.
            if self._head and not self._is_known():
                self._hand_over()
            self._head = head
        if self._offered_block is None:
            self._offered_block = head
        waited = time.monotonic() - self._offered_at
        # If no new block was mined, a higher fee cannot help.
        if waited >= self._policy.bump_after and head > self._offered_block:
            self._offered_at, self._offered_block = time.monotonic(), head
            self._bump()

    def _bump(self) -> None:
        higher = self._higher_fees()
        try:
            refusal = self._hand_over() if higher is None else self._offer(higher)
        except (BudgetExceeded, UnusableBudget, SignerUnavailable) as error:
            _log.warning("fee not raised", call=self.call.label, reason=error.message)
            refusal = self._hand_over()
        _log.info("sent again", call=self.call.label, **self.fees, refusal=refusal and str(refusal))

    def _fees_after(self, refusal: str) -> Fees | None:
        """The fees for a retry after a refusal because of the price; None for other refusals."""
        if _BELOW_LEAST_PRICE.search(refusal):
            return self._higher_fees(least_price=self._eth.gas_price)
        return self._higher_fees() if _UNDERPRICED.search(refusal) else None

    def _higher_fees(self, least_price: int = 0) -> Fees | None:
        market = at_least(market_fees(self._web3, None), least_price)
        most = self._policy.max_fee_per_gas
        return bumped(self.fees, self._first_fees, market, most, least_price)

    def _require_valid(self) -> None:
        """Raise TransactionDropped if it would revert now, after a reorg."""
        call: Any = {"from": self._account, "data": self.call.data, "value": self.call.value}
        if self.call.to is not None:
            call["to"] = self.call.to
        try:
            with self._reverts.translated(self.call.data):
                self._eth.estimate_gas(call)
        except ContractReverted as error:
            raise TransactionDropped(
                f"A reorganisation of the chain removed {self.call.label}, and it is no longer "
                f"possible: {error.message}",
                "Run the command again.",
            ) from error

    def _require_nonce(self) -> None:
        """Raise TransactionDropped if it cannot be mined with its nonce.

        Either another transaction with the nonce was mined, or an earlier nonce is missing and
        no transaction with it is pending any more.
        """
        count = self._node.nonce(self._account)
        if count == self.nonce or (count < self.nonce and self._preceded()):
            self._overtaken_at = None
            return
        now = time.monotonic()
        self._overtaken_at = self._overtaken_at or now
        if now - self._overtaken_at < _BELIEF_SECONDS:
            return
        if count < self.nonce:
            raise TransactionDropped(
                f"A reorganisation of the chain removed an earlier transaction of {self._account}. "
                f"{self.call.label} cannot be mined without it.",
                "Run the command again.",
            )
        raise TransactionDropped(
            f"Another transaction of {self._account} was mined in the place of {self.call.label}.",
            "Use a key in one process only, and run the command again.",
        )

    def _renew_deadline(self) -> None:
        self._deadline = time.monotonic() + self._policy.timeout
