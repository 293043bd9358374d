"""The steps of a whole fit, or of a whole test, in one graph over rows in memory.

A graph is traced once for each kind of rows, whatever their number. It gathers each batch and calls
the model's own `train_step` or `test_step`: so it uses the loss, the optimizer, the metrics and the
regularisation that the model was compiled with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fl_orchestrator.training.data import Indices
from fl_orchestrator.training.keras.gradients import Graphs as Gradients
from fl_orchestrator.training.keras.gradients import trace
from fl_orchestrator.training.keras.runtime import DataMismatch, UnsupportedModel, first_line
from fl_orchestrator.training.keras.source import Table
from fl_orchestrator.training.trainer import TEST_BATCH, Metrics


class StepGraphs:
    """The traced graphs of a model, by the types and shapes of the rows that they take."""

    def __init__(self, tf: Any, model: Any) -> None:
        self._tf = tf
        self._model = model
        self._steps: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {}
        self._gradients: dict[str, Gradients] = {}

    def forget(self) -> None:
        """Trace everything again: the model now computes with other constants."""
        self._steps.clear()
        self._gradients.clear()

    def train(self, table: Table, batches: Iterable[Indices]) -> Metrics:
        """Take a step on each batch of rows; the metrics are means over all steps."""
        return self._run(self._graphs_for(table)[0], table, batches)

    def test(self, table: Table, batches: Iterable[Indices]) -> Metrics:
        return self._run(self._graphs_for(table)[1], table, batches)

    def gradients(self, table: Table) -> Gradients:
        """The graphs for DP-SGD on rows of this kind (see `gradients.trace`)."""
        self._graphs_for(table)  # refuses labels that do not fit
        signature = self._signature(table)
        if str(signature) not in self._gradients:
            self._gradients[str(signature)] = trace(self._tf, self._model, signature)
        return self._gradients[str(signature)]

    def _run(self, graph: Callable[..., None], table: Table, batches: Iterable[Indices]) -> Metrics:
        order, bounds = order_and_bounds(batches)
        self._model.reset_metrics()
        graph(table.data(), order, bounds)
        return numbers(self._model.get_metrics_result())

    def _graphs_for(self, table: Table) -> tuple[Callable[..., None], Callable[..., None]]:
        signature = self._signature(table)
        if str(signature) not in self._steps:
            self._try(table)
            self._steps[str(signature)] = self._trace(signature)
        return self._steps[str(signature)]

    def _signature(self, table: Table) -> Any:
        """The types and shapes of rows, of any number."""
        tf = self._tf

        def spec(array: Any) -> Any:
            kind = tf.string if array.dtype.kind in "SUO" else array.dtype
            return tf.TensorSpec((None, *array.shape[1:]), kind)

        return tf.nest.map_structure(spec, table.data())

    def _try(self, table: Table) -> None:
        """Test a row. This also creates the metrics' variables before graphs are traced."""
        data = self._tf.nest.map_structure(self._tf.convert_to_tensor, table.take(slice(1)).data())
        try:
            self._model(data[0])
        except (ValueError, TypeError, self._tf.errors.OpError) as error:
            raise DataMismatch(
                f"The rows do not go with the model: {first_line(error)}",
                "Give features of the shape and type that the model takes.",
            ) from error
        try:
            self._model.test_step(data)
        except (ValueError, TypeError, KeyError, self._tf.errors.OpError) as error:
            raise UnsupportedModel(
                f"Labels of {_described(table.y)} do not go with the model's loss and its output "
                f"of shape {getattr(self._model, 'output_shape', 'unknown')}.",
                "Give labels as the loss needs them: classes, one-hot rows or numbers.",
            ) from error

    def _trace(self, signature: Any) -> tuple[Callable[..., None], Callable[..., None]]:
        """Build the graphs for training and testing; inputs: rows, order, bounds."""
        tf, model = self._tf, self._model
        numbers = tf.TensorSpec((None,), tf.int32)
        train_step, test_step = self._compiled(model.train_step), self._compiled(model.test_step)

        def batch(data: Any, rows: Any) -> Any:
            return tf.nest.map_structure(lambda part: tf.gather(part, rows), data)

        @tf.function(input_signature=[signature, numbers, numbers])  # type: ignore[untyped-decorator]
        def train(data: Any, order: Any, bounds: Any) -> None:
            for step in tf.range(tf.size(bounds) - 1):
                train_step(batch(data, order[bounds[step] : bounds[step + 1]]))

        @tf.function(input_signature=[signature, numbers, numbers])  # type: ignore[untyped-decorator]
        def test(data: Any, order: Any, bounds: Any) -> None:
            for step in tf.range(tf.size(bounds) - 1):
                test_step(batch(data, order[bounds[step] : bounds[step + 1]]))

        return train, test

    def _compiled(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A step, by XLA where Keras's own `fit` would use it: for most models on a GPU."""
        if not self._model.jit_compile:
            return step
        compiled: Callable[[Any], Any] = self._tf.function(
            step, jit_compile=True, reduce_retracing=True
        )
        return compiled


def order_and_bounds(batches: Iterable[Indices]) -> tuple[Any, Any]:
    """All rows of all batches, int32; batch i is `order[bounds[i] : bounds[i + 1]]`."""
    chosen = list(batches)
    bounds = np.cumsum([0, *map(len, chosen)]).astype(np.int32)
    return np.concatenate(chosen).astype(np.int32), bounds


def test_batches(rows: int) -> Iterator[Indices]:
    """The rows in their order, in batches."""
    everything = np.arange(rows)
    return (everything[i : i + TEST_BATCH] for i in range(0, rows, TEST_BATCH))


def numbers(results: Mapping[str, Any]) -> Metrics:
    """Keras's metrics as one number for each name; a metric with one for each class has several."""
    found: Metrics = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{key}": part for key, part in numbers(value).items()}
        elif np.ndim(value):
            parts = np.ravel(value)
            found |= {f"{name}/{number}": float(part) for number, part in enumerate(parts)}
        else:
            found[name] = float(value)
    return found


def _described(labels: Any) -> str:
    if isinstance(labels, np.ndarray):
        return f"{labels.dtype} and shape {('rows', *labels.shape[1:])}"
    if isinstance(labels, Mapping):
        return ", ".join(f"{name} ({_described(part)})" for name, part in labels.items())
    if isinstance(labels, list):
        return ", ".join(map(_described, labels))
    return "no kind"
