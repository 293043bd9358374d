"""Trainers for Keras models on TensorFlow; training is deterministic.

All parties in a process share one compiled `KerasModel`. Each fit first sets the weights, the
optimizer's state and the random state, so that parties do not influence each other. The steps of a
fit run inside one graph, which is traced once for any number of rows. It gathers each batch and
calls the model's own `train_step`, so it uses the loss, the optimizer, the metrics and the
regularisation that the model was compiled with.

Equal inputs give equal bits in every process on one kind of machine and one TensorFlow version;
other processors may round differently. The protocol does not need reproducible training.
"""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.training.architecture import architecture_of
from fl_orchestrator.training.data import Indices, Labels, Rows
from fl_orchestrator.training.keras_gradients import Graphs, KerasDescent, require_rows_apart, trace
from fl_orchestrator.training.trainer import (
    BadTrainingConfig,
    BadWeights,
    FloatArray,
    Metrics,
    Settings,
    WeightSpec,
    check_weights,
)

TEST_BATCH = 1_024


class TensorFlowMissing(TrainingError):
    """TensorFlow cannot be imported."""


class UnsupportedModel(TrainingError):
    """A model, or its labels, that this trainer cannot train."""


def load_tensorflow() -> Any:
    """Import TensorFlow without log output, deterministic, and with one thread.

    One thread is faster on small models, and gives equal bits on every machine of one kind.

    Raises:
        TensorFlowMissing: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN's kernels depend on the processor
    try:
        import tensorflow
    except ImportError as error:
        raise TensorFlowMissing(
            f"TensorFlow cannot be imported: {error}.",
            "Install it with: pip install 'fl-orchestrator[demo]'.",
        ) from error
    tensorflow.config.experimental.enable_op_determinism()
    threads = tensorflow.config.threading
    if threads.get_intra_op_parallelism_threads() != 1:
        try:
            threads.set_intra_op_parallelism_threads(1)
            threads.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            warnings.warn(
                "TensorFlow was already started with more than one thread: "
                "trained weights may depend on the number of processors.",
                stacklevel=2,
            )
    return tensorflow


class KerasModel:
    """A compiled Keras model that any number of trainers share, one fit at a time.

    Its float32 weights are federated. Integer weights, such as a layer's count of rows, keep their
    initial values.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        """`build` returns the compiled model.

        Layers need explicit names, because a tensor's name is part of the manifest, and the names
        that Keras generates differ between processes.

        Raises:
            TensorFlowMissing: TensorFlow is not installed.
            BadWeights: the model has no weights yet, two with one name, or a float weight that is
                not float32.
            UnsupportedModel: the model has several outputs.
        """
        self.tensorflow = load_tensorflow()
        self.model = build()
        self.tensors = tensor_specs(self.model)
        if len(self.model.outputs) != 1:
            raise UnsupportedModel(
                f"The model has {len(self.model.outputs)} outputs; this trainer takes one.",
                "Join them into one output, or write a trainer of your own.",
            )
        self._variables = federated_variables(self.model)
        self._variances = [v.path.endswith("moving_variance") for v in self._variables]
        self._local = [
            (variable, variable.numpy())
            for variable in self.model.weights
            if not any(variable is federated for federated in self._variables)
        ]
        self.initial_weights: list[FloatArray] = self._weights()
        self.lock = threading.Lock()
        self.model.optimizer.build(self.model.trainable_variables)
        self._fresh_optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        self._random_states = [
            variable for variable in self.model.variables if "seed_generator" in variable.path
        ]
        self._graphs: dict[tuple[str, tuple[int, ...]], tuple[Any, Any]] = {}
        self._gradients: dict[tuple[str, tuple[int, ...]], Graphs] = {}

    def _weights(self) -> list[FloatArray]:
        return [np.array(variable.numpy(), np.float32) for variable in self._variables]

    def _set_weights(self, weights: list[FloatArray]) -> None:
        check_weights(weights, self.tensors)
        for variable, value, variance in zip(
            self._variables, weights, self._variances, strict=True
        ):
            # Rounding may make a variance slightly negative; its square root would then be NaN.
            variable.assign(np.maximum(value, 0) if variance else value)
        for variable, value in self._local:
            variable.assign(value)

    def _graphs_for(self, rows: Rows) -> tuple[Any, Any]:
        """The graphs that train and test on labels of this type and shape; each is traced once."""
        kind = (rows.y.dtype.name, rows.y.shape[1:])
        if kind not in self._graphs:
            x, y = self._tensors_of(rows.take(np.zeros(1, np.int64)))
            try:
                # This step creates the metrics' variables before the graphs are traced.
                self.model.test_step((x, y))
            except (ValueError, TypeError) as error:
                raise UnsupportedModel(
                    f"Labels of {rows.y.dtype} and shape {('rows', *kind[1])} do not go with the "
                    f"model's loss and its output of shape {self.model.output_shape}.",
                    "Give labels as the loss needs them: classes, one-hot rows or numbers.",
                ) from error
            self._graphs[kind] = self._trace(rows.y)
        return self._graphs[kind]

    def _signature(self, labels: Labels) -> list[Any]:
        """The types of features and labels."""
        spec = self.tensorflow.TensorSpec
        inputs = [spec((None, *i.shape[1:]), "float32") for i in self.model.inputs]
        return [
            inputs if len(inputs) > 1 else inputs[0],
            spec((None, *labels.shape[1:]), labels.dtype),
        ]

    def _trace(self, labels: Labels) -> tuple[Any, Any]:
        """Build the graphs for training and testing; inputs: features, labels, order, bounds.

        Batch i is `order[bounds[i] : bounds[i + 1]]`.
        """
        tf, model = self.tensorflow, self.model
        signature = [
            *self._signature(labels),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.int32),
        ]

        def batch(x: Any, y: Any, rows: Any) -> tuple[Any, Any]:
            return tf.nest.map_structure(lambda part: tf.gather(part, rows), x), tf.gather(y, rows)

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def train(x: Any, y: Any, order: Any, bounds: Any) -> None:
            for step in tf.range(tf.size(bounds) - 1):
                model.train_step(batch(x, y, order[bounds[step] : bounds[step + 1]]))

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def test(x: Any, y: Any, order: Any, bounds: Any) -> None:
            for step in tf.range(tf.size(bounds) - 1):
                model.test_step(batch(x, y, order[bounds[step] : bounds[step + 1]]))

        return train, test

    def train(
        self, weights: list[FloatArray], rows: Rows, settings: Settings
    ) -> tuple[list[FloatArray], Metrics]:
        """Train from `weights` on `rows`; the metrics are means over all steps.

        If the model was compiled with a learning-rate schedule, it is used.
        """
        self._check(settings)
        with self.lock:
            graph, _ = self._graphs_for(rows)
            self._begin(weights, settings)
            metrics = self._run(graph, rows, settings.batches(len(rows)))
            return self._weights(), metrics

    @contextmanager
    def descent(
        self, weights: list[FloatArray], rows: Rows, settings: Settings
    ) -> Iterator[KerasDescent]:
        """Train by single gradients (see `dp_sgd.Descending`)."""
        self._check(settings)
        with self.lock:
            self._graphs_for(rows)  # refuses labels that do not fit
            kind = (rows.y.dtype.name, rows.y.shape[1:])
            if kind not in self._gradients:
                signature = self._signature(rows.y)
                self._gradients[kind] = trace(self.tensorflow, self.model, signature)
            self._begin(weights, settings)
            trainable = {id(variable) for variable in self.model.trainable_variables}
            trained = [id(variable) in trainable for variable in self._variables]
            graphs, tensors_of = self._gradients[kind], self._tensors_of
            yield KerasDescent(graphs, rows, tensors_of, trained, weights, self._weights)

    def _begin(self, weights: list[FloatArray], settings: Settings) -> None:
        self._set_weights(weights)
        self._reset_optimizer()
        if not self._has_schedule():
            self.model.optimizer.learning_rate = settings.learning_rate
        for number, state in enumerate(self._random_states):
            words = settings.seed % 2**32, (settings.seed >> 32) + number
            state.assign([word % 2**32 for word in words])

    def test(self, weights: list[FloatArray], rows: Rows) -> tuple[float, Metrics]:
        """Return the mean loss and the metrics of `weights` over `rows`."""
        everything = np.arange(len(rows))
        batches = (everything[i : i + TEST_BATCH] for i in range(0, len(rows), TEST_BATCH))
        with self.lock:
            _, graph = self._graphs_for(rows)
            self._set_weights(weights)
            metrics = self._run(graph, rows, batches)
        return metrics.pop("loss"), metrics

    def _run(self, graph: Any, rows: Rows, batches: Iterable[Indices]) -> Metrics:
        chosen = list(batches)
        bounds = np.cumsum([0, *map(len, chosen)])
        self.model.reset_metrics()
        order = np.concatenate(chosen).astype(np.int32)
        graph(*self._tensors_of(rows), order, bounds.astype(np.int32))
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _tensors_of(self, rows: Rows) -> tuple[Any, Labels]:
        """Convert rows to the model's inputs; several inputs share the columns in their order."""
        shapes = [tuple(tensor.shape[1:]) for tensor in self.model.inputs]
        sizes = [math.prod(shape) for shape in shapes]
        flat = rows.x.reshape(len(rows), -1)
        if flat.shape[1] != sum(sizes):
            raise UnsupportedModel(
                f"The rows have {flat.shape[1]} values each; the model's inputs take {sum(sizes)}.",
                "Give features of the model's shape.",
            )
        parts = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
        inputs = [
            part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)
        ]
        return (inputs if len(inputs) > 1 else inputs[0]), rows.y

    def save(self, weights: list[FloatArray], path: Path) -> None:
        """Write the compiled model as a `.keras` file, with these weights and a new optimizer."""
        with self.lock:
            self._set_weights(weights)
            self._reset_optimizer()
            self.model.save(path)

    def _has_schedule(self) -> bool:
        schedules = self.tensorflow.keras.optimizers.schedules
        # The public property returns the current rate; only this attribute has the schedule.
        rate = getattr(self.model.optimizer, "_learning_rate", None)
        return isinstance(rate, schedules.LearningRateSchedule)

    def _reset_optimizer(self) -> None:
        variables = self.model.optimizer.variables
        for variable, value in zip(variables, self._fresh_optimizer, strict=True):
            variable.assign(value)

    def _check(self, settings: Settings) -> None:
        """Raise BadTrainingConfig if the settings' optimizer or loss differs from the model's."""
        keras, model = self.tensorflow.keras, self.model
        for asked, compiled, find in (
            (settings.optimizer, model.optimizer, keras.optimizers.get),
            (settings.loss, model.loss, keras.losses.get),
        ):
            if asked is not None and _canonical(asked, find) != _canonical(compiled, find):
                raise BadTrainingConfig(
                    f"The training settings ask for {asked}, but the model has "
                    f"{_canonical(compiled, find)}.",
                    "Compile the model as its manifest says.",
                )


def _canonical(identifier: Any, find: Callable[[Any], Any]) -> str:
    """The name of an optimizer or a loss that is given by name, alias, object or function."""
    try:
        found = find(identifier)
    except (ValueError, TypeError):
        return str(identifier).lower()
    name = getattr(found, "__name__", None) or type(found).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class KerasTrainer:
    """A party's trainer: a shared model and the party's own rows (see `Trainer`)."""

    def __init__(self, model: KerasModel, rows: Rows, test: Rows | None = None) -> None:
        """Train on `rows`; evaluate on `test`, or on `rows` if `test` is None."""
        self.keras_model = model
        self._rows = rows
        self._test = rows if test is None else test

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights` on this party's rows.

        Raises:
            BadTrainingConfig: a setting is unusable, or not what the model was compiled with.
            BadWeights: `weights` are not this model's.
        """
        trained, metrics = self.keras_model.train(weights, self._rows, Settings.from_config(config))
        return trained, len(self._rows), metrics

    def evaluate(
        self,
        weights: list[FloatArray],
        config: dict[str, Any],  # noqa: ARG002 - part of the Trainer protocol
    ) -> tuple[float, int, Metrics]:
        """Return the mean loss, the number and the metrics of this trainer's test rows.

        Raises:
            BadWeights: `weights` are not this model's.
        """
        loss, metrics = self.keras_model.test(weights, self._test)
        return loss, len(self._test), metrics

    def require_rows_apart(self) -> None:
        """Raise CannotProtect if DP-SGD is not defined for the model."""
        require_rows_apart(self.keras_model.tensorflow.keras, self.keras_model.model)

    def row_count(self) -> int:
        return len(self._rows)

    def descent(
        self, weights: list[FloatArray], settings: Settings
    ) -> AbstractContextManager[KerasDescent]:
        """Train by single gradients; raises what `fit` does."""
        return self.keras_model.descent(weights, self._rows, settings)

    def initial_weights(self) -> dict[str, FloatArray]:
        """The initial weights of the model, by their names."""
        names = [tensor.name for tensor in self.keras_model.tensors]
        return dict(zip(names, self.keras_model.initial_weights, strict=True))

    def architecture(self) -> str:
        """A digest of the model's layers and settings, for the manifest."""
        return architecture_of(self.keras_model.model)


def federated_variables(model: Any) -> list[Any]:
    """The weights of a model that parties average: all but integers, such as local counters."""
    return [weight for weight in model.weights if not str(weight.dtype).startswith(("int", "uint"))]


def tensor_specs(model: Any) -> tuple[WeightSpec, ...]:
    """Names (`layer/kernel`) and shapes of a model's federated weights, in the model's order.

    Raises:
        BadWeights: the model has no weights, two with one name, or a float that is not float32.
    """
    weights = federated_variables(model)
    tensors = tuple(
        WeightSpec(weight.path.removeprefix(f"{model.name}/"), tuple(weight.shape))
        for weight in weights
    )
    names = [tensor.name for tensor in tensors]
    if not tensors or len(set(names)) != len(names):
        raise BadWeights(
            "The model has no weights, or two of the same name.",
            "Build it before use and give every layer a name of its own.",
        )
    for weight in weights:
        if str(weight.dtype) != "float32":
            raise BadWeights(
                f"The weight {weight.path} is {weight.dtype}; a federation averages float32.",
                "Build the model in float32.",
            )
    return tensors
