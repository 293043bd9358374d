"""Which aggregators of a private federation could together read an update."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readers:
    """The seats of a round, (account, stake in wei), seen by a party that ``trusts`` some of them.

    Those with more than ``secrecy``/3 of the stake together can read every update. ``trusts`` None
    stands for all seats.
    """

    seats: tuple[tuple[str, int], ...]
    secrecy: int
    trusts: frozenset[str] | None = None

    @property
    def total(self) -> int:
        """All stake, in wei."""
        return sum(stake for _, stake in self.seats)

    def can_read(self, stake: int) -> bool:
        """Whether seats with this much stake can read an update together."""
        return 3 * stake > self.secrecy * self.total

    @property
    def fewest(self) -> int:
        """How many seats have to work together at least to read an update."""
        largest = sorted((stake for _, stake in self.seats), reverse=True)
        sums = itertools.accumulate(largest)
        return next((n for n, stake in enumerate(sums, 1) if self.can_read(stake)), 0)

    @property
    def alone(self) -> str | None:
        """The seat that can read every update by itself, if there is one."""
        return next((account for account, stake in self.seats if self.can_read(stake)), None)

    @property
    def others(self) -> tuple[tuple[str, int], ...]:
        """The seats that are not trusted."""
        if self.trusts is None:
            return ()
        trusted = {account.lower() for account in self.trusts}
        return tuple(seat for seat in self.seats if seat[0].lower() not in trusted)

    @property
    def accepted(self) -> bool:
        """Whether those that are not trusted cannot read an update without one that is."""
        return not self.can_read(sum(stake for _, stake in self.others))
