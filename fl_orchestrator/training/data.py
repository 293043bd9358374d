"""Rows, and how they are dealt to parties.

A partitioner returns index arrays, one per party, disjoint and covering every row. What a party
object receives afterwards is a copy of its own rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError
from fl_orchestrator.training.trainer import FloatArray

Indices = NDArray[np.int64]
Labels = NDArray[np.int32] | NDArray[np.float32]

MIN_ROWS = 8
MAX_DRAWS = 1_000


class BadRows(InputError):
    """Rows that are not one array of features with as many numeric labels."""


class BadPartition(InputError):
    """A partition is misspelt, or cannot be made from these rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Features `x`, float32 (n, ...), and labels `y`.

    Labels are int32 (classes from 0, or one-hot rows) or float32 (numbers to regress), of shape
    (n,) or (n, outputs); whole numbers and floats of other widths are converted.

    Raises:
        BadRows: labels that are no numbers, or another number of them than of features.
    """

    x: FloatArray
    y: Labels

    def __post_init__(self) -> None:
        """Convert the labels."""
        labels = np.asarray(self.y)
        if labels.dtype.kind not in "biuf":
            raise BadRows(
                f"The labels are {labels.dtype}, not numbers.",
                "Number the classes from 0, in the order that all parties use.",
            )
        if labels.ndim == 0 or len(labels) != len(self.x):
            raise BadRows(f"There are {len(self.x)} rows of features and {labels.size} labels.")
        kind = np.float32 if labels.dtype.kind == "f" else np.int32
        object.__setattr__(self, "y", labels.astype(kind, copy=False))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: Indices) -> Rows:
        """A copy of these rows alone: it keeps no reference to the others."""
        return Rows(self.x[indices], self.y[indices])


@dataclass(frozen=True, slots=True)
class PartitionSpec:
    """A way to deal rows: `iid`, `dirichlet:<alpha>`, `shards:<n>` or `column:<name>`."""

    kind: str
    alpha: float = 0.0
    shards: int = 0
    column: str = ""

    @classmethod
    def parse(cls, spec: str) -> PartitionSpec:
        """Read a spec such as `dirichlet:0.5`.

        Raises:
            BadPartition: the kind is unknown or its parameter unusable.
        """
        kind, _, value = spec.partition(":")
        try:
            if spec == "iid":
                return cls("iid")
            if kind == "dirichlet" and 0 < float(value) < np.inf:
                return cls(kind, alpha=float(value))
            if kind == "shards" and int(value) > 0:
                return cls(kind, shards=int(value))
            if kind == "column" and value:
                return cls(kind, column=value)
        except ValueError:
            pass  # not a number: the message below says what is
        raise BadPartition(
            f"{spec!r} is no partition.",
            "Use iid, dirichlet:<alpha above 0>, shards:<n per party> or column:<name>.",
        )


def partition(
    how: PartitionSpec,
    labels: Labels,
    groups: dict[str, NDArray[np.int64]],
    parties: int,
    seed: int,
) -> list[Indices]:
    """Deal the rows with these `labels` to `parties`, the same way for the same seed.

    `groups` maps a column that rows belong to by nature (a hospital, say) to each row's group
    number. Draws that leave a party with fewer than `MIN_ROWS` rows are repeated with the next
    seed of a fixed sequence.

    Raises:
        BadPartition: there is no such column, or no draw gives every party enough rows.
    """
    if parties < 1:
        raise BadPartition(f"{parties} parties cannot share rows.", "Use at least one party.")
    if len(labels) < parties * MIN_ROWS:
        raise BadPartition(
            f"{len(labels)} rows are too few for {parties} parties of at least {MIN_ROWS} rows.",
            f"Use at most {len(labels) // MIN_ROWS} parties.",
        )
    if how.kind == "column":
        return _by_column(how.column, groups, parties)
    deal: Callable[[np.random.Generator], list[Indices]] = {
        "iid": lambda draw: _iid(len(labels), parties, draw),
        "dirichlet": lambda draw: _dirichlet(how.alpha, labels, parties, draw),
        "shards": lambda draw: _shards(how.shards, labels, parties, draw),
    }[how.kind]
    for attempt in range(MAX_DRAWS):
        dealt = deal(np.random.Generator(np.random.PCG64([seed, attempt])))
        if min(map(len, dealt)) >= MIN_ROWS:
            return [np.sort(indices) for indices in dealt]
    raise BadPartition(
        f"No {how.kind} partition among {MAX_DRAWS} draws gave each of {parties} parties "
        f"{MIN_ROWS} rows.",
        "Use fewer parties, or a more even partition.",
    )


def _iid(rows: int, parties: int, draw: np.random.Generator) -> list[Indices]:
    return np.array_split(draw.permutation(rows), parties)


def _dirichlet(
    alpha: float, labels: Labels, parties: int, draw: np.random.Generator
) -> list[Indices]:
    """Label skew: each class is split in Dirichlet(alpha) proportions (Hsu et al. 2019)."""
    dealt: list[list[Indices]] = [[] for _ in range(parties)]
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        shares = np.cumsum(draw.dirichlet(np.full(parties, alpha)))[:-1]
        for hand, part in zip(
            dealt, np.split(rows, np.rint(shares * len(rows)).astype(int)), strict=True
        ):
            hand.append(part)
    return [np.concatenate(hand) for hand in dealt]


def _shards(
    per_party: int, labels: Labels, parties: int, draw: np.random.Generator
) -> list[Indices]:
    """Rows sorted by label, cut into equal shards, `per_party` for each (McMahan et al. 2017)."""
    shards = np.array_split(np.argsort(labels, kind="stable"), parties * per_party)
    order = draw.permutation(len(shards)).reshape(parties, per_party)
    return [np.concatenate([shards[shard] for shard in hand]) for hand in order]


def _by_column(column: str, groups: dict[str, NDArray[np.int64]], parties: int) -> list[Indices]:
    if column not in groups:
        raise BadPartition(
            f"This data set has no column {column!r} to partition by.",
            f"It has {', '.join(sorted(groups)) or 'none: use iid, dirichlet or shards'}.",
        )
    numbers = np.unique(groups[column])
    if len(numbers) != parties:
        raise BadPartition(
            f"Column {column} makes {len(numbers)} parties, not {parties}.",
            f"Use {len(numbers)} parties.",
        )
    dealt = [np.flatnonzero(groups[column] == number) for number in numbers]
    smallest = min(map(len, dealt))
    if smallest < MIN_ROWS:
        raise BadPartition(
            f"Column {column} leaves a party with {smallest} rows, fewer than {MIN_ROWS}.",
            "Use another partition.",
        )
    return dealt


@dataclass(frozen=True, slots=True)
class FeatureScale:
    """Constants that bring features to the order of one: (x - mean) / scale.

    One value stands for all features, else one for each. In a manifest they are `features`.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, x: FloatArray) -> FloatArray:
        """Scaled copy of `x`, float32, computed in float64."""
        mean, scale = np.array(self.mean, np.float64), np.array(self.scale, np.float64)
        return ((x - mean) / scale).astype(np.float32)

    @classmethod
    def of_own_rows(cls, x: FloatArray) -> FeatureScale:
        """Mean and sample standard deviation (n - 1) of a party's own rows.

        A feature that is constant in them is only centred.
        """
        x = x.astype(np.float64)
        deviation = x.std(axis=0, ddof=1)
        return cls(
            tuple(x.mean(axis=0).tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist())
        )


def stratified_split(
    labels: Labels, test_fraction: float, seed: int = 0
) -> tuple[Indices, Indices]:
    """Train and test indices, sorted, with the same share of each class in the test set.

    The split belongs to the data set, not to a run: it does not follow the run's seed.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    test = [
        draw.permutation(np.flatnonzero(labels == label))[: round(test_fraction * count)]
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True)
    ]
    chosen = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def concatenate(parts: Sequence[Rows]) -> Rows:
    """All rows of `parts`, in order: the pooled data that a federation never has."""
    return Rows(
        np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    )
