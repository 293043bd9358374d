"""Formats and parses amounts of money."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Final

from fl_orchestrator.errors import InputError

ETHER: Final = 10**18  # in wei
_GWEI_IN_ETHER: Final = 10**9
_LEAST_SHOWN_WEI: Final = 10**12
_MAX_WEI: Final = 2**96 - 1  # of a stake or a reward in the contract
_WEI: Final = Decimal("1e-18")  # in ETH
# The default context would round amounts of more than 28 digits.
_EXACT: Final = Context(prec=64)


def ether(wei: int) -> str:
    """Format an amount for people: in ETH with 6 decimals, or in wei if these would show zero."""
    if 0 < wei < _LEAST_SHOWN_WEI:
        return f"{wei:,} wei"
    amount = (Decimal(wei) / ETHER).quantize(Decimal("0.000001"))
    return f"{amount.normalize():f} ETH"


def parse_ether(text: str) -> int:
    """An amount in ETH as wei, exactly. Raises InputError."""
    return _parsed(text, "ETH")


def parse_gwei(text: str) -> int:
    """An amount in gwei as wei, rounded down. Raises InputError."""
    return _parsed(text, "gwei") // _GWEI_IN_ETHER


def _parsed(text: str, unit: str) -> int:
    """An amount in units of 10^-18. Raises InputError."""
    try:
        amount = Decimal(text)
        in_range = 0 <= amount <= _EXACT.multiply(Decimal(_MAX_WEI), _WEI)
    except InvalidOperation as error:
        raise InputError(
            f"{text!r} is not an amount.", f"Write it in {unit}, such as 0.1."
        ) from error
    if not in_range:
        raise InputError(
            f"{text} {unit} cannot be paid.", f"It has to be 0 to 79,228,162,514 {unit}."
        )
    if amount != amount.quantize(_WEI, context=_EXACT):
        raise InputError(f"{text} {unit} cannot be paid.", "Use at most 18 decimals.")
    return int(_EXACT.divide(amount, _WEI))
