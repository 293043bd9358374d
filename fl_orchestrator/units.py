"""Amounts of money in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_LEAST_SHOWN_WEI: Final = 10**12


def ether(wei: int) -> str:
    """An amount for people: in ETH with 6 decimals, or in wei where these would hide it."""
    if 0 < wei < _LEAST_SHOWN_WEI:
        return f"{wei:,} wei"
    amount = (Decimal(wei) / 10**18).quantize(Decimal("0.000001"))
    return f"{amount.normalize():f} ETH"
