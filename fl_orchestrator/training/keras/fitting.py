"""Training by the model's own `fit`: for data in batches, callbacks, and steps of the user's own.

It costs a little more than a graph of all steps (`graphs`), and takes whatever Keras takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any

import numpy as np

from fl_orchestrator.training.data import BadRows, Indices
from fl_orchestrator.training.keras.graphs import numbers, order_and_bounds, test_batches
from fl_orchestrator.training.keras.source import Stream, Table, UnusableData, as_array, mapped
from fl_orchestrator.training.trainer import Metrics, Settings


class Fitting:
    """`fit` and `evaluate` of a model, which count the rows of streams."""

    def __init__(self, tf: Any, model: Any) -> None:
        self._tf = tf
        self._model = model
        self._seen: dict[str, Any] = {}

    def forget(self) -> None:
        """Trace everything again: the model now computes with other constants."""
        model = self._model
        model.train_function = model.test_function = model.predict_function = None

    def train(
        self,
        source: Table | Stream,
        settings: Settings,
        callbacks: Sequence[Any],
        validation: Table | Stream | None,
    ) -> tuple[int, Metrics]:
        """Fit; return the rows of an epoch, and the metrics as means over the epochs."""
        data, steps = self._training_data(source, settings)
        extra: dict[str, Any] = {}
        if callbacks and validation is not None:
            extra["validation_data"], extra["validation_steps"] = self._test_data(validation)
        own = list(callbacks)
        if settings.steps is not None:
            own.append(_stop_after(self._tf.keras, settings.steps))
        if isinstance(source, Stream):
            extra["class_weight"] = source.class_weight
        self._count_from_zero()
        with warnings.catch_warnings():
            # Keras warns at the end of every epoch whose length it could not know.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            history = self._model.fit(
                data,
                epochs=settings.steps or settings.epochs,
                steps_per_epoch=steps,
                callbacks=own,
                shuffle=isinstance(source, Stream) and _is_py_dataset(source.batches),
                verbose=0,
                **extra,
            )
        epochs = max(1, len(history.epoch))
        seen = int(self._seen["train_step"])
        rows = len(source) if isinstance(source, Table) else -(-seen // epochs)
        if rows == 0:
            raise _no_rows()
        means = {name: np.mean(values, axis=0) for name, values in history.history.items()}
        return rows, numbers({k: v for k, v in means.items() if not k.startswith("val_")})

    def test(self, source: Table | Stream) -> tuple[int, Metrics]:
        """Evaluate; return the number of rows and the metrics with the loss."""
        data, steps = self._test_data(source)
        self._count_from_zero()
        found = self._model.evaluate(data, steps=steps, verbose=0, return_dict=True)
        rows = len(source) if isinstance(source, Table) else int(self._seen["test_step"])
        return rows, numbers(found)

    def _training_data(self, source: Table | Stream, settings: Settings) -> tuple[Any, int | None]:
        if isinstance(source, Table):
            whole = settings.batches(len(source))
            return self._batches(source, whole), -(-len(source) // settings.batch_size)
        data = self._stream(source)
        if source.steps is not None and isinstance(data, self._tf.data.Dataset):
            data = data.repeat()  # an epoch goes on where the one before ended
        return data, source.steps

    def _test_data(self, source: Table | Stream) -> tuple[Any, int | None]:
        if isinstance(source, Table):
            return self._batches(source, test_batches(len(source))), None
        return self._stream(source), source.steps

    def _batches(self, table: Table, batches: Iterable[Indices]) -> Any:
        """A data set of batches of rows in memory."""
        tf = self._tf
        order, bounds = map(tf.constant, order_and_bounds(batches))
        parts = tf.nest.map_structure(tf.convert_to_tensor, table.data())

        def batch(step: Any) -> Any:
            rows = order[bounds[step] : bounds[step + 1]]
            return tf.nest.map_structure(lambda part: tf.gather(part, rows), parts)

        return tf.data.Dataset.range(tf.size(bounds, tf.int64) - 1).map(batch)

    def _stream(self, stream: Stream) -> Any:
        """What `fit` takes: data sets as they are, other iterables as a data set.

        Raises:
            UnusableData: the data set has no end, and the epoch no number of steps.
            BadRows: an iterable gives nothing.
        """
        tf, batches = self._tf, stream.batches
        if isinstance(batches, tf.data.Dataset):
            endless = int(batches.cardinality()) == tf.data.INFINITE_CARDINALITY
            if endless and stream.steps is None:
                raise UnusableData(
                    "The data set has no end.",
                    "Say with steps_per_epoch (validation_steps) how many batches to take.",
                )
            return batches
        if _is_py_dataset(batches):
            return batches
        return from_iterable(tf, batches)

    def _count_from_zero(self) -> None:
        """Count the rows that reach the model's steps: no data set can tell it beforehand."""
        if not self._seen:
            for name in ("train_step", "test_step"):
                self._seen[name] = self._tf.Variable(0, dtype=self._tf.int64, trainable=False)
                counted = self._counting(getattr(self._model, name), self._seen[name])
                object.__setattr__(self._model, name, counted)
            self.forget()
        for seen in self._seen.values():
            seen.assign(0)

    def _counting(self, step: Callable[[Any], Any], seen: Any) -> Callable[[Any], Any]:
        tf = self._tf

        def counted(data: Any) -> Any:
            first = next(part for part in tf.nest.flatten(data) if part is not None)
            rows = first.nrows() if isinstance(first, tf.RaggedTensor) else tf.shape(first)[0]
            seen.assign_add(tf.cast(rows, tf.int64))
            return step(data)

        return counted


def first_batch(tf: Any, source: Table | Stream) -> Any:
    """The features of the first batch: a row, or what a stream begins with."""
    if isinstance(source, Table):
        return tf.nest.map_structure(tf.convert_to_tensor, source.take(slice(1)).x)
    if _is_py_dataset(source.batches):
        batch = source.batches[0]
    else:
        batch = next(iter(source.batches), None)
    if batch is None:
        raise _no_rows()
    x = batch[0] if isinstance(batch, tuple | list) else batch
    return tf.nest.map_structure(tf.convert_to_tensor, x)


def from_iterable(tf: Any, batches: Iterable[Any]) -> Any:
    """A data set over an iterable of batches, which starts anew in each epoch.

    Raises BadRows: it gives nothing.
    """
    start = iter(batches)
    first = [_batch(batch) for _, batch in zip(range(2), start, strict=False)]
    if not first:
        raise _no_rows()

    def spec(*examples: Any) -> Any:
        sizes = zip(*(example.shape[1:] for example in examples), strict=True)
        shape = (None, *(each[0] if len(set(each)) == 1 else None for each in sizes))
        kind = tf.string if examples[0].dtype.kind in "SUO" else examples[0].dtype
        return tf.TensorSpec(shape, kind)

    opened = [(first, start)]  # the first epoch goes on where this look ended

    def each() -> Any:
        begun, rest = opened.pop() if opened else ([], iter(batches))
        yield from begun
        yield from map(_batch, rest)

    signature = tf.nest.map_structure(spec, *first)
    data = tf.data.Dataset.from_generator(each, output_signature=signature)
    if isinstance(batches, Sized):
        data = data.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return data


def _batch(batch: Any) -> tuple[Any, ...]:
    return tuple(
        mapped(as_array, part) for part in (batch if isinstance(batch, tuple) else (batch,))
    )


def _is_py_dataset(batches: Any) -> bool:
    return any(parent.__name__ == "PyDataset" for parent in type(batches).__mro__)


def _no_rows() -> BadRows:
    return BadRows("The data gave no rows.", "Check what the data set or function reads.")


def _stop_after(keras: Any, steps: int) -> Any:
    """A callback that ends a fit after so many optimizer steps."""
    left = steps

    def count(batch: int, logs: Any) -> None:  # noqa: ARG001 - as Keras calls it
        nonlocal left
        left -= 1
        if left == 0:
            stop.model.stop_training = True

    stop = keras.callbacks.LambdaCallback(on_train_batch_end=count)
    return stop
