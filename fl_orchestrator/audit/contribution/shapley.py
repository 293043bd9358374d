"""Shapley values and leave-one-out values of a cooperative game, exact or sampled.

The utility of a coalition is a float; all arithmetic on utilities is in fractions, so that a result
does not depend on the order of a sum, and is rounded once.

An update that joins first moves the model far, and one that joins last hardly at all: most of the
spread of a player's gains is between the places of an order. So orders are sampled in groups, the
rotations of a random one, in which every player has every place once. What is left is the spread
between groups, and the error is computed from it. Orders that are independent one by one give a
larger error, and understate it when a player has by chance not been the first.

Source: Shapley 1953; permutation sampling: Castro, Gómez and Tejada 2009,
doi:10.1016/j.cor.2008.04.004; strata of places: Castro et al. 2017, doi:10.1016/j.cor.2017.01.019.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_NORMAL: Final = 1.959964
_STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

#: The players of a coalition, as a bit set of their indices.
Coalition = int
#: The utility of a coalition.
Utility = Callable[[Coalition], float]


@dataclass(frozen=True, slots=True)
class Value:
    """What one player contributes to a game, in the unit of its utility.

    ``variance`` is that of the estimate ``shapley``: 0 if it is exact.
    """

    shapley: Fraction
    variance: Fraction
    leave_one_out: Fraction


class Utilities:
    """A utility whose answers are kept: each coalition is evaluated once."""

    def __init__(self, utility: Utility) -> None:
        self._utility = utility
        self.known: dict[Coalition, float] = {}

    def __call__(self, coalition: Coalition) -> Fraction:
        if coalition not in self.known:
            self.known[coalition] = self._utility(coalition)
        return Fraction(self.known[coalition])


def groups_of(players: int, permutations: int) -> int:
    """In how many groups of rotations so many orders are sampled, rounded up; at least 2."""
    return max(2, -(-permutations // players))


def is_enumerated(players: int, groups: int) -> bool:
    """Whether all coalitions are no more than those that so many groups may visit."""
    return (1 << players) - 2 <= groups * players * (players - 1)


def exact_values(utility: Utilities, players: int) -> list[Value]:
    """The Shapley values by their definition, over all 2^players coalitions."""
    weights = [Fraction(1, players * math.comb(players - 1, size)) for size in range(players)]
    values = []
    for player in range(players):
        own = 1 << player
        gains = (
            weights[coalition.bit_count()] * (utility(coalition | own) - utility(coalition))
            for coalition in range(1 << players)
            if not coalition & own
        )
        values.append(Value(sum(gains, Fraction(0)), Fraction(0), _last(utility, players, player)))
    return values


def sampled_values(
    utility: Utilities, players: int, groups: Iterable[Iterable[Sequence[int]]]
) -> list[Value]:
    """Estimate the Shapley values by the gains of the players as they join in these orders.

    A group has orders in which each player has each place equally often; there must be two groups
    or more, drawn independently. ``variance`` is the sample variance of the groups' means, divided
    by their number. The values sum to u(all) - u(none), as the gains in every order do.
    """
    means: list[list[Fraction]] = [[] for _ in range(players)]
    for group in groups:
        gains: list[list[Fraction]] = [[] for _ in range(players)]
        for order in group:
            coalition: Coalition = 0
            for player in order:
                joined = coalition | 1 << player
                gains[player].append(utility(joined) - utility(coalition))
                coalition = joined
        for player in range(players):
            means[player].append(sum(gains[player], Fraction(0)) / len(gains[player]))
    return [
        Value(*_mean(means[player]), _last(utility, players, player)) for player in range(players)
    ]


def seeded_groups(
    seed: int, scope: bytes, names: Sequence[str], count: int
) -> list[list[list[int]]]:
    """``count`` groups of orders of the players, the same on every platform and in every language.

    Group k has all rotations of the players sorted by sha256(seed || k || scope || name): 32 and 8
    bytes big-endian, and UTF-8. It does not depend on the order of ``names``.
    """

    def rank(number: int, player: int) -> bytes:
        head = seed.to_bytes(32) + number.to_bytes(8)
        return hashlib.sha256(head + scope + names[player].encode()).digest()

    groups = []
    for number in range(count):
        order = sorted(range(len(names)), key=lambda player: rank(number, player))
        groups.append([order[first:] + order[:first] for first in range(len(order))])
    return groups


def student95(freedom: int) -> float:
    """The two-sided 95 per cent point of Student's t distribution; above 9 to three digits.

    Source of the expansion: Abramowitz and Stegun, 26.7.5.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    x, n = _NORMAL, freedom
    first = (x**3 + x) / (4 * n)
    second = (5 * x**5 + 16 * x**3 + 3 * x) / (96 * n**2)
    third = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * n**3)
    return x + first + second + third


def _mean(gains: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """The mean, and its variance."""
    count = len(gains)
    mean = sum(gains, Fraction(0)) / count
    squares = sum(((gain - mean) ** 2 for gain in gains), Fraction(0))
    return mean, squares / ((count - 1) * count)


def _last(utility: Utilities, players: int, player: int) -> Fraction:
    everybody = (1 << players) - 1
    return utility(everybody) - utility(everybody & ~(1 << player))
