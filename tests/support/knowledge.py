"""What a coalition can compute in a private round: linear algebra over symbols instead of bytes.

keccak256 is taken as a random function, and a share that nobody of the coalition has as unknown.
Then every piece of it is an independent unknown, and so is the seed of every pair of honest
parties. What is public or released are exclusive ors of these: linear forms over GF(2). A seed is
either determined by them or unknown altogether, and then its stream is an independent unknown of
Z_2^32.

The coalition has all masked updates. It can compute a combination of the honest parties' x if and
only if the combination has no part of any unknown stream. Combinations are vectors over Z_2^32, by
honest party; those without unknown parts are what the rows of all unknown streams annihilate.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fl_orchestrator.privacy.dealing import Dealing
from fl_orchestrator.privacy.masks import masks_of

RING = 2**32
Label = tuple[int, int]  # (k, l): the label l of the commit of index k


def own_pair(i: int, j: int) -> Label:
    """The seed that a pair of commits has in common: another one for every pair."""
    return min(i, j), max(i, j)


@dataclass
class Knowledge:
    """A round of ``size`` parties and ``sets`` sets, of which the coalition has ``known`` shares.

    ``honest`` are the indices of honest parties; the coalition knows all that the others know.
    ``pair`` names the seed of a pair.
    """

    size: int
    sets: int
    known: frozenset[int]
    honest: tuple[int, ...]
    pair: Callable[[int, int], Label] = own_pair
    told: frozenset[Label] = frozenset()
    released: set[Label] = field(default_factory=set)

    def release(self, labels: Iterable[Label]) -> "Knowledge":
        """Honest seats release these labels, of all sets that the coalition is not outside of."""
        self.released |= set(labels)
        return self

    def unknown_streams(self) -> Iterator[list[int]]:
        """Yield the part of each unknown stream in each honest y: -1, 0 or 1, by honest party."""
        basis = _Basis(self._public())
        parts: dict[Label, list[int]] = {}
        for column, k in enumerate(self.honest):
            for label, sign in signs(self.size, k):
                if not basis.contains(self._seed(k, label)):
                    name = (k, k) if label == k else self.pair(k, label)
                    parts.setdefault(name, [0] * len(self.honest))[column] += sign
        yield from parts.values()

    def sees_only(self, allowed: Iterable[int]) -> bool:
        """Whether every combination that it can compute is a multiple of one sum over ``allowed``.

        The ring is its own injective hull, so this is so if the rows of the unknown streams
        generate every row that annihilates that sum.
        """
        members = [column for column, k in enumerate(self.honest) if k in set(allowed)]
        rows = echelon(list(self.unknown_streams()), len(self.honest))
        others = [column for column in range(len(self.honest)) if column not in members]
        wanted = [{column: 1} for column in others]
        wanted += [{members[0]: 1, column: -1} for column in members[1:]]
        return all(
            generates(rows, [row.get(column, 0) for column in range(len(self.honest))])
            for row in wanted
        )

    def sees(self, combination: dict[int, int]) -> bool:
        """Whether it can compute a combination of honest parties' x, given by index."""
        factors = [combination.get(k, 0) for k in self.honest]
        return all(
            sum(f * part for f, part in zip(factors, row, strict=True)) % RING == 0
            for row in self.unknown_streams()
        )

    def _public(self) -> Iterator[int]:
        """Every correction of honest parties, and what was told, as forms over what is unknown."""
        for k in self.honest:
            for label in range(self.size):
                if label != k:
                    yield self._seed(k, label) ^ self._pieces(k, label)
        yield from (self._seed(k, label) for k, label in self.told)

    def _seed(self, k: int, label: int) -> int:
        if label == k:
            return self._pieces(k, k)
        first, second = self.pair(k, label)
        if not {first, second} <= set(self.honest):
            return 0
        return 1 << first * self.size + second

    def _pieces(self, k: int, label: int) -> int:
        """The exclusive or of the pieces of a label: the form of those that are unknown."""
        if (k, label) in self.released:
            return 0
        place = self.size * self.size + (k * self.size + label) * self.sets
        return sum(1 << place + a for a in range(self.sets) if a not in self.known)


@functools.cache
def signs(size: int, k: int) -> tuple[tuple[int, int], ...]:
    """The labels of a party, with the signs that the product gives their masks."""
    names = tuple(bytes((label,)) for label in range(size))
    masks = masks_of(Dealing(k, b"", (), (), names, ()))
    added = [(seed[0], 1) for seed in masks.added]
    return (*added, *((seed[0], -1) for seed in masks.subtracted))


class _Basis:
    """A space of forms over GF(2), each a bit set of symbols."""

    def __init__(self, forms: Iterable[int]) -> None:
        self._by_highest: dict[int, int] = {}
        for form in forms:
            if rest := self._reduced(form):
                self._by_highest[rest.bit_length()] = rest

    def contains(self, form: int) -> bool:
        return self._reduced(form) == 0

    def _reduced(self, form: int) -> int:
        while form and form.bit_length() in self._by_highest:
            form ^= self._by_highest[form.bit_length()]
        return form


def valuation(number: int) -> int:
    """How often 2 divides a number of the ring; 32 for zero."""
    number %= RING
    return (number & -number).bit_length() - 1 if number else 32


def echelon(rows: list[list[int]], width: int) -> list[list[int]]:
    """Rows that generate the same module over Z_2^32, one pivot a column at most (Howell form)."""
    found, left = [], [[value % RING for value in row] for row in rows]
    for column in range(width):
        left.sort(key=lambda row: valuation(row[column]))
        if not left or not left[0][column]:
            continue
        pivot = left.pop(0)
        power = valuation(pivot[column])
        unit = pow(pivot[column] >> power, -1, RING)
        pivot = [value * unit % RING for value in pivot]
        found.append(pivot)
        left = [_less(row, pivot, row[column] >> power) for row in left]
        left.append([value << 32 - power & RING - 1 for value in pivot])
    return found


def generates(rows: list[list[int]], row: list[int]) -> bool:
    """Whether an echelon form generates a row."""
    for pivot in rows:
        column = next(i for i, value in enumerate(pivot) if value)
        power = valuation(pivot[column])
        if valuation(row[column]) >= power:
            row = _less(row, pivot, row[column] % RING >> power)
    return not any(value % RING for value in row)


def _less(row: list[int], pivot: list[int], factor: int) -> list[int]:
    return [(value - factor * other) % RING for value, other in zip(row, pivot, strict=True)]
