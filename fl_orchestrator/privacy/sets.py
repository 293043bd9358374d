"""Which coalitions of seats must not read an update (docs/protocol.md, section 12.4).

A set of seats is a bit set of their positions in the seat table. Of every update, each maximal set
of seats with ``3 * stake <= secrecy * total`` lacks one share, which all other seats have. So such
a set cannot open a seed, and any more stake than that can.
"""

from collections.abc import Sequence
from typing import Final

from fl_orchestrator.errors import InputError

#: The largest number of seats of a private federation.
MAX_SEATS: Final = 10
#: The largest number of sets: no set contains another, so they are at most C(10, 5).
MAX_SETS: Final = 252


class SeatsError(InputError):
    """A seat table or a secrecy that no private federation can have."""


def cannot_read(stakes: Sequence[int], secrecy: int, members: int) -> bool:
    """Whether a set of seats has too little stake to read an update.

    Stakes are in wei, by position. Raises SeatsError.
    """
    _check(stakes, secrecy)
    if not 0 <= members < 1 << len(stakes):
        raise SeatsError(f"The set {members:#b} has positions that the seat table does not have.")
    return 3 * _stake(stakes, members) <= secrecy * sum(stakes)


def maximal_sets(stakes: Sequence[int], secrecy: int) -> tuple[int, ...]:
    """Return the maximal sets that cannot read, ascending: set a of the protocol is element a.

    There are 1 to MAX_SETS. Raises SeatsError.
    """
    _check(stakes, secrecy)
    limit = secrecy * sum(stakes)
    positions = range(len(stakes))
    found = []
    for members in range(1 << len(stakes)):
        room = limit - 3 * _stake(stakes, members)
        # Maximal: no absent seat fits. It is enough to look at single seats.
        if room >= 0 and all(members >> p & 1 or 3 * stakes[p] > room for p in positions):
            found.append(members)
    return tuple(found)


def sets_without(sets: Sequence[int], position: int) -> tuple[int, ...]:
    """Return the numbers of the sets that a seat is not in: the seat has the shares of these."""
    return tuple(a for a, members in enumerate(sets) if not members >> position & 1)


def _stake(stakes: Sequence[int], members: int) -> int:
    return sum(stake for position, stake in enumerate(stakes) if members >> position & 1)


def _check(stakes: Sequence[int], secrecy: int) -> None:
    if not 1 <= len(stakes) <= MAX_SEATS:
        raise SeatsError(
            f"A private federation has 1 to {MAX_SEATS} aggregators, not {len(stakes)}."
        )
    if min(stakes) <= 0:
        raise SeatsError("A seat without stake is not in the seat table.")
    if secrecy not in (1, 2):
        raise SeatsError(f"The secrecy is 1 or 2 (thirds of the stake), not {secrecy}.")
