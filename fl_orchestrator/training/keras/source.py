"""The data that a Keras model trains on: arrays in memory, or batches that the user's code makes.

`source_of` takes what `Model.fit` takes. Arrays become a `Table`, from which the trainer makes
batches of the federation's size in the order of its seed. Everything else is a `Stream`, whose
batches and order are its own.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import InputError
from fl_orchestrator.training.data import BadRows, Indices, Rows
from fl_orchestrator.training.keras.runtime import UnsupportedModel, first_line

Nested = Any
ClassWeight = Mapping[int, float]


class UnusableData(InputError):
    """Data of a kind that cannot be trained on again and again, or arguments that contradict."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in memory: features, labels and weights, each an array or a dict or list of arrays.

    Floats are float32. `y` and `sample_weight` may be None.
    """

    x: Nested
    y: Nested = None
    sample_weight: Nested = None

    @classmethod
    def of(cls, x: Nested, y: Nested = None, sample_weight: Nested = None) -> Table:
        """Convert to arrays.

        Raises:
            BadRows: an array is not numeric or text, or has another number of rows than the first.
        """
        rows = Rows(x.x, x.y) if isinstance(x, Rows) else None
        table = cls(
            mapped(_features, rows.x if rows else x),
            mapped(_labels, rows.y if rows else y),
            mapped(_labels, sample_weight),
        )
        counts = [len(leaf) for leaf in leaves(table.data())]
        if len(set(counts)) != 1:
            raise BadRows(
                f"There are {counts[0] if counts else 0} rows of features and "
                f"{', '.join(map(str, counts[1:]))} labels or weights.",
                "Every array needs one entry for each row.",
            )
        return table

    def __len__(self) -> int:
        return len(leaves(self.x)[0])

    def data(self) -> tuple[Nested, ...]:
        """The arrays as Keras's steps take them: (x,), (x, y) or (x, y, sample_weight)."""
        parts = (self.x, self.y, self.sample_weight)
        return parts if self.sample_weight is not None else parts[: 1 + (self.y is not None)]

    def take(self, indices: Indices | slice) -> Table:
        parts = (
            mapped(lambda leaf: leaf[indices], p) for p in (self.x, self.y, self.sample_weight)
        )
        return Table(*parts)

    def weighted(self, classes: ClassWeight | None) -> Table:
        """The same rows with the weights of their classes, as Keras's `class_weight` gives them.

        Raises:
            UnusableData: there are sample weights too, or several outputs.
        """
        if classes is None:
            return self
        if self.sample_weight is not None or not isinstance(self.y, np.ndarray):
            raise UnusableData(
                "Class weights need labels in one array, and no sample weights.",
                "Multiply both into sample_weight.",
            )
        y = self.y
        if y.ndim > 1:
            y = y.argmax(axis=-1) if y.shape[-1] != 1 else y[..., 0]
        found, where = np.unique(np.round(y).astype(np.int64), return_inverse=True)
        each = np.array([classes.get(int(label), 1.0) for label in found], np.float32)
        return Table(self.x, self.y, each[where.reshape(y.shape)])


@dataclass(frozen=True, slots=True)
class Stream:
    """Batches that the user's code makes: a `tf.data.Dataset`, a `PyDataset`, or any iterable that
    starts anew for each epoch. `steps` is the number of batches of an epoch, if it has no end.
    """

    batches: Any
    steps: int | None = None
    class_weight: ClassWeight | None = None

    def weighted(self, classes: ClassWeight | None) -> Stream:
        return replace(self, class_weight=classes)


@dataclass(frozen=True, slots=True)
class Made:
    """Data that a function of the user makes for each training; it may take the config."""

    function: Callable[..., Any]
    steps: int | None = None
    class_weight: ClassWeight | None = None

    def weighted(self, classes: ClassWeight | None) -> Made:
        return replace(self, class_weight=classes)

    def make(self, config: dict[str, Any]) -> Table | Stream:
        takes = bool(inspect.signature(self.function).parameters)
        made = self.function(dict(config)) if takes else self.function()
        if isinstance(made, tuple) and 1 <= len(made) <= 3:
            return Table.of(*made).weighted(self.class_weight)
        if _is_iterator(made):
            # A generator has one epoch. The next one calls the function again.
            again = self.function
            made = _Restarted(made, (lambda: again(dict(config))) if takes else again)
        source = source_of(made, steps=self.steps)
        if isinstance(source, Made):
            raise UnusableData("The function of the data returned a function.", "Return the data.")
        return source.weighted(self.class_weight)


Source = Table | Stream | Made


class _Restarted:
    """An iterable over the generators that a function returns; the first one is already there."""

    def __init__(self, first: Any, again: Callable[[], Any]) -> None:
        self._first, self._again = first, again

    def __iter__(self) -> Any:
        first, self._first = self._first, None
        return iter(self._again() if first is None else first)


def source_of(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    steps: int | None = None,
) -> Source:
    """Data in any form that `Model.fit` takes, or a function that returns such data.

    Raises:
        BadRows: arrays that do not go together.
        UnusableData: a generator, which gives its batches only once, or contradicting arguments.
    """
    if _is_iterator(x):
        raise UnusableData(
            f"A {type(x).__name__} gives its batches only once, but every round needs them again.",
            "Give the function that returns it, not what it returned.",
        )
    if isinstance(x, Rows) or _is_arrays(x):
        return Table.of(x, y, sample_weight)
    if y is not None or sample_weight is not None:
        raise UnusableData(
            f"Labels or weights are given beside a {type(x).__name__}.",
            "Its batches have them: (x, y) or (x, y, sample_weight).",
        )
    if callable(x) and not _is_batches(x):
        return Made(x, steps)
    if _is_batches(x) or isinstance(x, Iterable):
        return Stream(x, steps)
    raise UnusableData(
        f"A {type(x).__name__} is no data that Keras trains on.",
        "Give arrays, a tf.data.Dataset, a PyDataset, or a function that returns batches.",
    )


def fitted_to(inputs: list[tuple[int | None, ...]], table: Table) -> Table:
    """Shape one array of features as the model's inputs; several inputs share its columns.

    `inputs` are the inputs' shapes without the batch; a model that has none yet takes all.

    Raises:
        UnsupportedModel: the rows have more or fewer values than the inputs take.
    """
    x = table.x
    if not isinstance(x, np.ndarray) or not inputs or any(None in shape for shape in inputs):
        return table
    if len(inputs) == 1 and x.shape[1:] == inputs[0]:
        return table
    sizes = [math.prod(size or 0 for size in shape) for shape in inputs]
    flat = x.reshape(len(x), -1)
    if flat.shape[1] != sum(sizes):
        raise UnsupportedModel(
            f"The rows have {flat.shape[1]} values each; the model's inputs take {sum(sizes)}.",
            "Give features of the model's shape.",
        )
    parts = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
    shaped = [part.reshape(len(x), *shape) for part, shape in zip(parts, inputs, strict=True)]
    return Table(shaped if len(shaped) > 1 else shaped[0], table.y, table.sample_weight)


def mapped(function: Callable[[Any], Any], value: Nested) -> Nested:
    """Apply a function to every array of a nested structure; None stays None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: mapped(function, item) for key, item in value.items()}
    if _is_structure(value):
        return [mapped(function, item) for item in value]
    return function(value)


def leaves(value: Nested) -> list[Any]:
    """The arrays of a nested structure."""
    found: list[Any] = []
    mapped(found.append, value)
    return found


def _is_structure(value: Any) -> bool:
    """If a list or tuple holds arrays; one of numbers is an array itself."""
    return isinstance(value, list | tuple) and any(
        (hasattr(item, "shape") and item.shape != ()) or isinstance(item, Mapping) for item in value
    )


def _is_arrays(x: Any) -> bool:
    """If x is an array, a table of pandas, or holds such."""
    is_array = hasattr(x, "shape") and hasattr(x, "dtype")
    return is_array or isinstance(x, Mapping | list | tuple) or hasattr(x, "to_numpy")


def _is_batches(x: Any) -> bool:
    return any(parent.__name__ in ("DatasetV2", "PyDataset") for parent in type(x).__mro__)


def _is_iterator(x: Any) -> bool:
    return hasattr(x, "__next__")


def as_array(leaf: Any) -> NDArray[Any]:
    """An array with one entry for each row; floats are float32. Raises BadRows."""
    try:
        array = np.asarray(leaf)
    except (ValueError, TypeError) as error:
        raise BadRows(
            f"A {type(leaf).__name__} cannot be an array: {first_line(error)}",
            "Give arrays with one entry for each row.",
        ) from error
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def _features(leaf: Any) -> NDArray[Any]:
    array = as_array(leaf)
    if array.dtype.kind == "O" and array.size and not isinstance(array.flat[0], str | bytes):
        try:
            array = array.astype(np.float32)  # a table with columns of several types
        except (ValueError, TypeError) as error:
            raise BadRows(
                "The features have a value that is no number.",
                "Convert the columns of text first.",
            ) from error
    if array.dtype.kind not in "biufSUO" or array.ndim == 0:
        raise BadRows(
            f"The features are {array.dtype} of shape {array.shape}, not an array of numbers.",
            "Give arrays with one entry for each row.",
        )
    return array


def _labels(leaf: Any) -> NDArray[Any]:
    array = as_array(leaf)
    if array.dtype.kind == "V" and "float" in array.dtype.name:  # bfloat16
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise BadRows(
            f"The labels are {array.dtype}, not numbers.",
            "Number the classes from 0, in the order that all parties use.",
        )
    return array if array.dtype.kind == "f" else array.astype(np.int32)
