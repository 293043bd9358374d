"""Rewards by shares as frozen dataclasses, with the fields of ``IRewardShares.sol``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The most accounts that one distribution credits.
MAX_SHARES: Final = 100
#: Amounts are below it, in wei.
AMOUNT_LIMIT: Final = 1 << 96


@dataclass(frozen=True, slots=True)
class Share:
    """What an account gets, in wei."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Shares:
    """What aggregators sign: these accounts get these amounts, for these rounds.

    ``valid_until`` is in seconds since 1970, ``report`` the sha256 of what the amounts follow. The
    ``parts`` are in ascending order of their accounts.
    """

    number: int
    from_round: int
    to_round: int
    valid_until: int
    report: bytes
    parts: tuple[Share, ...]

    @property
    def total(self) -> int:
        """The sum of the amounts, in wei."""
        return sum(share.amount for share in self.parts)


@dataclass(frozen=True, slots=True)
class Seat:
    """A seat of the federation, by its number, and what its signature counts, in wei."""

    number: int
    account: str
    stake: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """Shares that were credited, from the event. ``signers`` are the accounts that signed."""

    number: int
    from_round: int
    to_round: int
    report: bytes
    credited: int
    signers: tuple[str, ...]
    block_number: int


def ordered(shares: dict[str, int]) -> tuple[Share, ...]:
    """Amounts by their accounts, in the contract's order, without those that are zero."""
    accounts = sorted(shares, key=lambda account: int(account, 16))
    return tuple(Share(account, shares[account]) for account in accounts if shares[account])
