"""Rows, and their partition among parties.

A partition is one index array per party. The arrays are disjoint and together contain every row. A
party object then receives a copy of its own rows only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError
from fl_orchestrator.training.trainer import FloatArray

Indices = NDArray[np.int64]
Labels = NDArray[np.int32] | NDArray[np.float32]

MIN_ROWS = 8
MAX_DRAWS = 1_000


class BadRows(InputError):
    """The labels are not numeric, or their number differs from that of the feature rows."""


class BadPartition(InputError):
    """A partition spec is invalid, or impossible with these rows."""


def arrays_digest(arrays: Iterable[NDArray[Any]]) -> str | None:
    """The hex sha256 of arrays, the same on every platform; None if one holds Python objects."""
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype.hasobject:
            return None
        fixed = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"{fixed.dtype.str} {array.shape}\n".encode())
        digest.update(fixed.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Rows:
    """Features `x`, float32 (n, ...), and labels `y`.

    Labels are int32 (classes from 0, or one-hot rows) or float32 (numbers to regress), of shape
    (n,) or (n, outputs); whole numbers and floats of other widths are converted.

    Raises:
        BadRows: the labels are not numeric, or their number differs from that of the feature rows.
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
        """Copy these rows; the copy keeps no reference to the other rows."""
        return Rows(self.x[indices], self.y[indices])


@dataclass(frozen=True, slots=True)
class PartitionSpec:
    """How to partition rows: `iid`, `dirichlet:<alpha>`, `shards:<n>` or `column:<name>`."""

    kind: str
    alpha: float = 0.0
    shards: int = 0
    column: str = ""

    @classmethod
    def parse(cls, spec: str) -> PartitionSpec:
        """Parse a spec such as `dirichlet:0.5`.

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
            pass  # not a number: the error below tells what is allowed
        raise BadPartition(
            f"{spec!r} is not a partition.",
            "Use iid, dirichlet:<alpha above 0>, shards:<n per party> or column:<name>.",
        )


def partition(
    how: PartitionSpec,
    labels: Labels,
    groups: dict[str, NDArray[np.int64]],
    parties: int,
    seed: int,
) -> list[Indices]:
    """Partition the rows with these `labels` among `parties`; the same seed gives the same result.

    `groups` maps the name of a natural column (for example, the hospital) to each row's group
    number. A draw that leaves a party with fewer than `MIN_ROWS` rows is repeated with the next
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
    """Sort rows by label and cut them into equal shards, `per_party` each (McMahan et al. 2017)."""
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
    """Constants that scale features to the order of one: (x - mean) / scale.

    Each of both has one value for all features, or one value per feature. A manifest has them as
    `features`.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, x: FloatArray) -> FloatArray:
        """Return a scaled copy of `x` as float32, computed in float64."""
        mean, scale = np.array(self.mean, np.float64), np.array(self.scale, np.float64)
        return ((x - mean) / scale).astype(np.float32)

    @classmethod
    def of_own_rows(cls, x: FloatArray) -> FeatureScale:
        """Use the mean and the sample standard deviation (n - 1) of a party's own rows.

        A feature that is constant in these rows is centred but not scaled.
        """
        x = x.astype(np.float64)
        deviation = x.std(axis=0, ddof=1)
        return cls(
            tuple(x.mean(axis=0).tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist())
        )


def stratified_split(
    labels: Labels, test_fraction: float, seed: int = 0
) -> tuple[Indices, Indices]:
    """Return sorted train and test indices, with the same share of each class in the test set.

    The split is a property of the data set: it does not depend on a run's seed.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    test = [
        draw.permutation(np.flatnonzero(labels == label))[: round(test_fraction * count)]
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True)
    ]
    chosen = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def concatenate(parts: Sequence[Rows]) -> Rows:
    """All rows of `parts`, in order. It gives the pooled data, which no real federation has."""
    return Rows(
        np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    )
