"""A party's trainer in Keras."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fl_orchestrator.training.architecture import architecture_of
from fl_orchestrator.training.data import Rows, arrays_digest
from fl_orchestrator.training.dp_sgd import CannotProtect
from fl_orchestrator.training.keras.fitting import first_batch
from fl_orchestrator.training.keras.gradients import KerasDescent, require_rows_apart
from fl_orchestrator.training.keras.model import KerasModel
from fl_orchestrator.training.keras.runtime import load_tensorflow
from fl_orchestrator.training.keras.source import (
    ClassWeight,
    Made,
    Source,
    Table,
    UnusableData,
    leaves,
    source_of,
)
from fl_orchestrator.training.trainer import FloatArray, Metrics, Settings


class KerasTrainer:
    """A party's trainer: a compiled model and the party's own data (see `Trainer`)."""

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any = None,
        validation: Any = None,
        *,
        sample_weight: Any = None,
        class_weight: ClassWeight | None = None,
        callbacks: Any = (),
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        deterministic: bool = False,
        threads: int | None = None,
    ) -> None:
        """Train `model` on data in any form that `Model.fit` takes, under the same names.

        Args:
            model: a compiled Keras model, a function that returns one, or a `KerasModel`. Trainers
                that get one model share it.
            x, y, sample_weight: arrays, or dicts or lists of arrays, for each input and output. Or
                `x` alone: `Rows`, a `tf.data.Dataset`, a `PyDataset`, any iterable of batches, or
                a function that returns one of them, or a tuple of arrays, for each training. The
                function may take the config, which has the round's `seed` and `batchSize`.
            validation: data to evaluate on: (x, y) or (x, y, sample_weight), a fraction of the
                rows (the last ones), or any other form of `x`. Without it, the training data are
                evaluated.
            class_weight: weights of the rows of each class, in training only.
            callbacks: Keras callbacks, or a function of the config that returns them. With
                callbacks, `validation` is also evaluated in each epoch.
            steps_per_epoch, validation_steps: numbers of batches, for data without an end.
            deterministic, threads: see `load_tensorflow`. Give a function as `model`, so that they
                are set before it is made. They hold for the whole process.

        Raises:
            BadRows, UnusableData: data that do not go together, or come only once.
            TensorFlowMissing, UnsupportedModel, BadWeights: see `KerasModel`.
        """
        if isinstance(y, Rows):  # rows have their labels, so the next argument is the validation
            y, validation = None, y
        self._source: Source = source_of(x, y, sample_weight, steps=steps_per_epoch)
        self._callbacks = callbacks
        self._validation = self._validation_of(validation, validation_steps)
        self._source = self._source.weighted(class_weight)
        load_tensorflow(deterministic=deterministic, threads=threads)
        self.keras_model = KerasModel.shared(model, self._example)

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights` on this party's rows; raises what `KerasModel.train` does."""
        return self.keras_model.train(
            weights, self._source, config, self._callbacks, self._validation
        )

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        """Return the mean loss, the number and the metrics of this trainer's test rows.

        Raises:
            BadWeights: `weights` are not this model's.
        """
        return self.keras_model.test(weights, self._test_source, config)

    def validation_digest(self) -> str | None:
        """The digest of the rows that models are evaluated on; None if they come in batches."""
        source = self._test_source
        return arrays_digest(leaves(source.data())) if isinstance(source, Table) else None

    def require_rows_apart(self) -> None:
        """Raise CannotProtect if DP-SGD is not defined for the model, or for data in batches."""
        if not isinstance(self._source, Table):
            raise CannotProtect(
                "The data come in batches, but record-level privacy draws single rows.",
                "Give the trainer arrays.",
            )
        require_rows_apart(self.keras_model.tensorflow.keras, self.keras_model.model)

    def row_count(self) -> int:
        return len(self._table())

    def descent(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> AbstractContextManager[KerasDescent]:
        """Train by single gradients; raises what `fit` does. Callbacks are not called."""
        settings = Settings.from_config(config)
        return self.keras_model.descent(weights, self._table(), settings)

    def initial_weights(self) -> dict[str, FloatArray]:
        """The initial weights of the model, by their names."""
        names = [tensor.name for tensor in self.keras_model.tensors]
        return dict(zip(names, self.keras_model.initial_weights, strict=True))

    def architecture(self) -> str:
        """A digest of the model's layers and settings, for the manifest."""
        return architecture_of(self.keras_model.model)

    @property
    def _test_source(self) -> Source:
        return self._source if self._validation is None else self._validation

    def _validation_of(self, validation: Any, steps: int | None) -> Source | None:
        if validation is None:
            return None
        if isinstance(validation, float):
            return self._split(validation)
        if isinstance(validation, tuple):
            return source_of(*validation, steps=steps)
        return source_of(validation, steps=steps)

    def _split(self, fraction: float) -> Table:
        """Set the last rows apart, as Keras's `validation_split` does."""
        table = self._table()
        kept = int(len(table) * (1 - fraction))
        if not 0 < kept < len(table):
            raise UnusableData(
                f"A validation fraction of {fraction} leaves one side of {len(table)} rows empty.",
                "Give a fraction between 0 and 1, or more rows.",
            )
        self._source = table.take(np.arange(kept))
        return table.take(np.arange(kept, len(table)))

    def _table(self) -> Table:
        if not isinstance(self._source, Table):
            raise UnusableData(
                "Single rows can be chosen only from arrays.", "Give arrays in place of batches."
            )
        return self._source

    def _example(self) -> Any:
        """A batch of features, for a model that has no weights before it sees one."""
        source = self._source
        if isinstance(source, Made):
            source = source.make({"seed": 0, "epochs": 1, "batchSize": 1, "learningRate": 1.0})
        return first_batch(load_tensorflow(), source)
