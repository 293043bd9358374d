"""The fees of a transaction: EIP-1559 fees, or a legacy gas price; all in wei."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from web3 import Web3
from web3.exceptions import Web3RPCError

from fl_orchestrator.errors import ChainError
from fl_orchestrator.units import ether

Fees = dict[str, int]

# A node replaces a waiting transaction by another with the same nonce only if it pays this factor
# more: 12.5 % is the highest that a common node requires.
_BUMP: Final = (9, 8)
_FIELDS: Final = ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")
# The largest multiple of the first fees, if no ceiling is set.
_MAX_GROWTH: Final = 10


class FeeTooHigh(ChainError):
    """The chain asks for a higher fee than this sender may pay."""


def market_fees(web3: Web3, ceiling: int | None) -> Fees:
    """Fees with which a transaction should be mined soon. Raises FeeTooHigh."""
    base = web3.eth.get_block("latest").get("baseFeePerGas")
    price = web3.eth.gas_price if base is None else base
    if ceiling is not None and price > ceiling:
        raise FeeTooHigh(
            f"The chain asks for {_gwei(price)} for a unit of gas; at most {_gwei(ceiling)} may be "
            "paid.",
            "Wait until the price falls, or raise the highest fee.",
        )
    if base is None:
        return {"gasPrice": price}
    tip = _tip(web3, base)
    fees = {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip}
    return fees if ceiling is None else {name: min(fee, ceiling) for name, fee in fees.items()}


def _tip(web3: Web3, base: int) -> int:
    """The priority fee that the node proposes, by the first method for it that it supports."""
    try:
        # web3 tries eth_maxPriorityFeePerGas, then eth_feeHistory.
        return web3.eth.max_priority_fee
    except Web3RPCError:
        return max(0, web3.eth.gas_price - base)


def at_least(fees: Fees, price: int) -> Fees:
    """Fees with which a unit of gas pays at least this price, at any base fee."""
    return {name: max(fee, price) for name, fee in fees.items()}


def bumped(
    fees: Fees, first: Fees, market: Fees, ceiling: int | None, least_price: int = 0
) -> Fees | None:
    """Fees for a replacement of a transaction with these fees, if possible those of the ``market``.

    None when even the lowest sufficient ones are above the ceiling. Without a ceiling, the limit is
    ten times the ``first`` fees, or the ``least_price`` of the node if that is more. Also None
    where gas is free, because higher fees have no effect there.
    """
    limit = max(highest(first) * _MAX_GROWTH, least_price) if ceiling is None else ceiling
    numerator, denominator = _BUMP
    least = {name: -(-fee * numerator // denominator) for name, fee in fees.items()}
    wanted = {name: max(fee, market.get(name, 0)) for name, fee in least.items()}
    return next((some for some in (wanted, least) if 0 < highest(some) <= limit), None)


def fees_of(transaction: Mapping[str, Any]) -> Fees:
    """The fees of a transaction."""
    return {name: transaction[name] for name in _FIELDS if name in transaction}


def highest(fees: Fees) -> int:
    """The most that a unit of gas can cost."""
    return max(fees.values())


def _gwei(wei: int) -> str:
    return f"{Web3.from_wei(wei, 'gwei'):f} gwei" if wei >= 10**6 else ether(wei)
