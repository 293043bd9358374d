"""Sums over all parties' rows, computed by a federation whose "weights" are the sums.

A party's vector has, for each column, what adds up: how many rows have a value, the sum of the
values and of their squares, or how many rows have each category. Each is written as an integer in
units of ``most_rows`` / 2^26, where ``most_rows`` is the most that a site has, in four digits from
-64 to 63. A digit is 256 units of an update. All updates weigh the same, so the federation's mean,
times the number of updates, is the sum of the digits, and the rounding of the mean is less than
half a digit for up to 255 updates: the sums are exact.

Source: docs/trainers.md, "What all parties' rows are like".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fl_orchestrator.errors import InputError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.training.trainer import FloatArray, Metrics, WeightSpec

#: Fraction bits of an update of such a federation.
FRACTION_BITS: Final = 14
_DIGITS: Final = 4
_BASE: Final = 128
#: The tensors of such a federation: a digit each, the lowest first.
NAMES: Final = tuple(f"sums/{digit}" for digit in range(_DIGITS))
#: So many values of sums are possible.
_MOST_VALUES: Final = 100_000
_MOST_ROWS: Final = 1 << 24
_LARGEST: Final = 1 << 26
# 256 of the 2^14 units that are 1 in an update.
_DIGIT: Final = 256 / 2**FRACTION_BITS


class BadStatistics(InputError):
    """A plan that is impossible, or columns that do not go with it."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers. Values outside of ``low`` to ``high`` count as the nearest of both."""

    name: str
    low: float
    high: float

    @property
    def size(self) -> int:
        return 3


@dataclass(frozen=True, slots=True)
class Categories:
    """A column of texts. Values that are not in ``values`` are counted together."""

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.values) + 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is summed: the same at every site, in this order. Raises BadStatistics."""

    columns: tuple[Numbers | Categories, ...]
    most_rows: int

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) != len(names):
            raise BadStatistics("A plan needs columns with different names.", "Name each once.")
        if not 1 <= self.most_rows <= _MOST_ROWS:
            raise BadStatistics(
                f"most_rows is {self.most_rows}.", f"It must be 1 to {_MOST_ROWS:,}."
            )
        for column in self.columns:
            if isinstance(column, Numbers) and not -math.inf < column.low < column.high < math.inf:
                raise BadStatistics(
                    f"The bounds of {column.name} are {column.low} and {column.high}.",
                    "Give two finite numbers, the smaller one first.",
                )
        if self.size > _MOST_VALUES:
            raise BadStatistics("The plan has too many categories.", f"At most {_MOST_VALUES:,}.")

    @property
    def size(self) -> int:
        return 1 + sum(column.size for column in self.columns)

    @property
    def scale(self) -> int:
        """The integers that a sum of 1 is: a whole number, so that counts are exact."""
        return _LARGEST // self.most_rows

    @property
    def tensors(self) -> list[WeightSpec]:
        return [WeightSpec(name, (self.size,)) for name in NAMES]

    @property
    def digest(self) -> str:
        """The hex sha256 of the plan."""
        told = {"mostRows": self.most_rows, "columns": [asdict(c) for c in self.columns]}
        return hashlib.sha256(to_json(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class NumbersFound:
    """``rows`` have a value; ``scale`` is their standard deviation, above 0."""

    rows: int
    mean: float
    scale: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """All parties' rows together. ``categories`` has the count of each; None stands for others."""

    rows: int
    numbers: dict[str, NumbersFound]
    categories: dict[str, dict[str | None, int]]


class StatisticsTrainer:
    """A trainer whose update is the sums of a site's own rows, by ``plan``.

    ``columns`` has one array for each column: numbers with NaN where there is no value, or texts
    with an empty one. Raises BadStatistics.
    """

    def __init__(self, plan: Plan, columns: Mapping[str, ArrayLike]) -> None:
        self.plan = plan
        if missing := [column.name for column in plan.columns if column.name not in columns]:
            raise BadStatistics(f"There is no column {missing[0]!r}.", "Give all of the plan's.")
        arrays = [np.asarray(columns[column.name]) for column in plan.columns]
        self._rows = len(arrays[0])
        if any(array.shape != (self._rows,) for array in arrays):
            raise BadStatistics("The columns have different numbers of rows.", "Give one table.")
        if not 1 <= self._rows <= plan.most_rows:
            raise BadStatistics(
                f"There are {self._rows:,} rows, of at least 1 and at most {plan.most_rows:,}.",
                "The plan's most_rows is the most that any site has.",
            )
        parts = [_sums(column, a) for column, a in zip(plan.columns, arrays, strict=True)]
        self._sums = np.concatenate([[float(self._rows)], *parts])

    def initial_weights(self) -> dict[str, FloatArray]:
        return {name: np.zeros(self.plan.size, np.float32) for name in NAMES}

    def architecture(self) -> str:
        """The plan's digest: a party with another plan is refused."""
        return self.plan.digest

    def fit(
        self, _weights: list[FloatArray], _config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """The sums, whatever the weights were; one row, so that all updates weigh the same."""
        rest = np.rint(self._sums * self.plan.scale).astype(np.int64)
        digits = []
        for _ in NAMES:
            digit = (rest + _BASE // 2) % _BASE - _BASE // 2
            digits.append((digit * _DIGIT).astype(np.float32))
            rest = (rest - digit) // _BASE
        return digits, 1, {}

    def evaluate(
        self, _weights: list[FloatArray], _config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """There is nothing to evaluate."""
        return 0.0, 0, {}


def _sums(column: Numbers | Categories, values: NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(column, Categories):
        texts = [str(value) for value in values]
        known = {value: position for position, value in enumerate(column.values)}
        counts = np.zeros(column.size)
        for text in texts:
            if text:
                counts[known.get(text, len(known))] += 1
        return counts
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        raise BadStatistics(f"The column {column.name} has texts.", "Read it as numbers.") from None
    units = _units(column, numbers[~np.isnan(numbers)])
    return np.array([len(units), math.fsum(units), math.fsum(units**2)])


def _units(column: Numbers, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values between the column's bounds as numbers from -1 to 1."""
    middle, half = (column.low + column.high) / 2, (column.high - column.low) / 2
    return (np.clip(values, column.low, column.high) - middle) / half


def statistics_of(plan: Plan, weights: Mapping[str, FloatArray], updates: int) -> Statistics:
    """The statistics in a model of such a federation, which is the mean of so many updates.

    Raises BadStatistics if it is no model of this plan.
    """
    if [(n, weights[n].shape) for n in weights] != [(t.name, t.shape) for t in plan.tensors]:
        raise BadStatistics("The model has other tensors than the plan.", "Use its own plan.")
    digits = (np.rint(weights[name].astype(np.float64) / _DIGIT * updates) for name in NAMES)
    whole = sum(digit * float(_BASE**place) for place, digit in enumerate(digits))
    sums = np.asarray(whole) / plan.scale
    rows, start = round(sums[0]), 1
    numbers: dict[str, NumbersFound] = {}
    categories: dict[str, dict[str | None, int]] = {}
    for column in plan.columns:
        part = sums[start : start + column.size]
        start += column.size
        if isinstance(column, Categories):
            counts = [round(float(count)) for count in part]
            categories[column.name] = dict(zip((*column.values, None), counts, strict=True))
        else:
            numbers[column.name] = _numbers(column, part)
    return Statistics(rows, numbers, categories)


def _numbers(column: Numbers, part: NDArray[np.float64]) -> NumbersFound:
    present = round(float(part[0]))
    middle, half = (column.low + column.high) / 2, (column.high - column.low) / 2
    if present < 1:
        return NumbersFound(0, middle, half)
    mean = float(part[1]) / present
    variance = float(part[2]) / present - mean**2
    # A constant column has no scale: its values stay as they are.
    scale = half * math.sqrt(variance) if variance > 2.0**-20 else 1.0
    return NumbersFound(present, middle + half * mean, scale)
