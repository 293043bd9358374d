"""Sends transactions: gas, fees, nonces, receipts, and reverts as the contract's named errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from web3 import Web3
from web3.exceptions import TimeExhausted, TransactionNotFound
from web3.types import TxParams

from fl_orchestrator.chain.federation import Call
from fl_orchestrator.chain.keys import Signer
from fl_orchestrator.chain.reverts import RevertDecoder
from fl_orchestrator.errors import ChainError

# An estimate is exact only for the state it was made in; batches shrink or grow a little.
_GAS_MARGIN: Final = 1.2


class TransactionFailed(ChainError):
    """A transaction was mined but reverted, or was not mined in time."""


class InsufficientFunds(ChainError):
    """The account cannot pay the value and the gas."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. ``label`` is that of its call."""

    label: str
    transaction: bytes
    block_number: int
    gas_used: int
    contract_address: str | None


class Sender:
    """Sends an account's calls one after the other, each mined before the next.

    ``timeout`` is in seconds; ``on_receipt`` sees every mined transaction.
    """

    def __init__(
        self,
        web3: Web3,
        signer: Signer,
        reverts: RevertDecoder,
        timeout: float = 120,
        on_receipt: Callable[[Receipt], None] = lambda _receipt: None,
    ) -> None:
        self.web3 = web3
        self.signer = signer
        self._reverts = reverts
        self._timeout = timeout
        self._on_receipt = on_receipt

    @property
    def address(self) -> str:
        return self.signer.address

    def send(self, call: Call) -> Receipt:
        """Send a call and wait until it is mined.

        Raises ContractReverted, with the contract's own error, and InsufficientFunds before
        anything is spent, RequestRefused when the node does not take the transaction, and
        TransactionFailed when it was sent in vain.
        """
        with self._reverts.translated():
            raw = self.signer.sign_transaction(self._prepare(call))
            transaction_hash = self.web3.eth.send_raw_transaction(raw)
        try:
            receipt = self.web3.eth.wait_for_transaction_receipt(
                transaction_hash, timeout=self._timeout, poll_latency=0.05
            )
        except (TimeExhausted, TransactionNotFound) as error:
            raise TransactionFailed(
                f"{call.label} was not mined within {self._timeout:.0f} s.",
                "It may still be; look at the chain before you repeat it.",
            ) from error
        if receipt["status"] != 1:
            raise TransactionFailed(
                f"{call.label} reverted in block {receipt['blockNumber']}.",
                "The chain changed between the check and the block; run the command again.",
            )
        sent = Receipt(
            call.label,
            bytes(transaction_hash),
            receipt["blockNumber"],
            receipt["gasUsed"],
            receipt["contractAddress"],
        )
        self._on_receipt(sent)
        return sent

    def check(self, call: Call) -> int:
        """The gas the call would take; raises what sending it would raise."""
        return self._estimate(call)[0]

    def _estimate(self, call: Call) -> tuple[int, dict[str, int]]:
        """The gas of a call that the account can pay, and the fees to offer."""
        transaction: TxParams = {
            "from": Web3.to_checksum_address(self.address),
            "data": call.data,
            "value": Web3.to_wei(call.value, "wei"),
        }
        if call.to is not None:
            transaction["to"] = call.to
        # Nodes refuse in words of their own to estimate what cannot be paid.
        self._require_balance(call, call.value)
        with self._reverts.translated():
            gas = self.web3.eth.estimate_gas(transaction)
        fees = self._fees()
        self._require_balance(call, call.value + int(gas * _GAS_MARGIN) * max(fees.values()))
        return gas, fees

    def _prepare(self, call: Call) -> dict[str, Any]:
        address = Web3.to_checksum_address(self.address)
        gas, fees = self._estimate(call)
        transaction: dict[str, Any] = {
            "chainId": self.web3.eth.chain_id,
            "nonce": self.web3.eth.get_transaction_count(address, "pending"),
            "gas": int(gas * _GAS_MARGIN),
            "value": call.value,
            "data": call.data,
            **fees,
        }
        if call.to is not None:
            transaction["to"] = call.to
        return transaction

    def _require_balance(self, call: Call, needed: int) -> None:
        address = Web3.to_checksum_address(self.address)
        balance = self.web3.eth.get_balance(address)
        if balance < needed:
            raise InsufficientFunds(
                f"{address} has {Web3.from_wei(balance, 'ether')} ETH and {call.label} needs up to "
                f"{Web3.from_wei(needed, 'ether')} ETH.",
                "Send coin to the account first.",
            )

    def _fees(self) -> dict[str, int]:
        """EIP-1559 fees where the chain has a base fee, else a legacy gas price, in wei."""
        base = self.web3.eth.get_block("latest").get("baseFeePerGas")
        if base is None:
            return {"gasPrice": self.web3.eth.gas_price}
        tip = self.web3.eth.max_priority_fee
        return {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip}
