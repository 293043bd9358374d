"""Keras models as trainers, on TensorFlow, with the same bits out for the same bits in.

All parties of a process share one compiled `KerasModel`: a fit first sets its weights, its
optimizer's state and its random state, so nothing of one party's training reaches another's. The
steps of a fit run inside one graph, traced once whatever the number of rows: it gathers each
batch and calls the model's own `train_step`, so loss, optimizer, metrics and regularisation are
those that the model was compiled with.

Equal bits are promised in every process on one kind of machine and one TensorFlow version; other
processors may round differently. Nothing in the protocol needs training to be reproducible.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.training.data import Indices, Rows
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


def load_tensorflow() -> Any:
    """Import TensorFlow: quiet, deterministic, one thread (faster on small models, and equal bits).

    Raises:
        TensorFlowMissing: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels differ between processors
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
                "TensorFlow was started before with more than one thread: "
                "trained weights may depend on the number of processors.",
                stacklevel=2,
            )
    return tensorflow


class KerasModel:
    """A compiled Keras model that any number of trainers share, one fit at a time."""

    def __init__(self, build: Callable[[], Any]) -> None:
        """Build and compile the model with `build`.

        Layers need explicit names: Keras numbers unnamed ones anew in every process, and a
        tensor's name is part of the manifest.

        Raises:
            TensorFlowMissing: TensorFlow is not installed.
            BadWeights: it has no weights yet, two of one name, or one that is not float32.
        """
        self.tensorflow = load_tensorflow()
        self.model = build()
        self.tensors = tensor_specs(self.model)
        self.initial_weights: list[FloatArray] = self.model.get_weights()
        self.lock = threading.Lock()
        self.model.optimizer.build(self.model.trainable_variables)
        self._fresh_optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        self._random_states = [
            variable for variable in self.model.variables if "seed_generator" in variable.path
        ]
        # One step now creates the metrics' variables, so that each graph is traced only once.
        row = np.zeros((1, *self.model.input_shape[1:]), np.float32)
        self.model.test_step((row, np.zeros(1, np.int32)))
        self._train, self._test = self._trace()

    def _trace(self) -> tuple[Any, Any]:
        """Two graphs over features (rows, ...), labels (rows,), an order of rows and its batches.

        Batch i is `order[bounds[i] : bounds[i + 1]]`.
        """
        tf, model = self.tensorflow, self.model
        signature = [
            tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.int32),
        ]

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def train(x: Any, y: Any, order: Any, bounds: Any) -> None:
            for step in tf.range(tf.size(bounds) - 1):
                rows = order[bounds[step] : bounds[step + 1]]
                model.train_step((tf.gather(x, rows), tf.gather(y, rows)))

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def test(x: Any, y: Any, order: Any, bounds: Any) -> None:
            for step in tf.range(tf.size(bounds) - 1):
                rows = order[bounds[step] : bounds[step + 1]]
                model.test_step((tf.gather(x, rows), tf.gather(y, rows)))

        return train, test

    def train(
        self, weights: list[FloatArray], rows: Rows, settings: Settings
    ) -> tuple[list[FloatArray], Metrics]:
        """Train from `weights` on `rows`; metrics are means over all steps."""
        self._check(settings)
        check_weights(weights, self.tensors)
        with self.lock:
            self.model.set_weights(weights)
            self._reset_optimizer()
            self.model.optimizer.learning_rate = settings.learning_rate
            for number, state in enumerate(self._random_states):
                words = settings.seed % 2**32, (settings.seed >> 32) + number
                state.assign([word % 2**32 for word in words])
            metrics = self._run(self._train, rows, settings.batches(len(rows)))
            return self.model.get_weights(), metrics

    def test(self, weights: list[FloatArray], rows: Rows) -> tuple[float, Metrics]:
        """Mean loss and metrics of `weights` over `rows`."""
        check_weights(weights, self.tensors)
        everything = np.arange(len(rows))
        batches = (everything[i : i + TEST_BATCH] for i in range(0, len(rows), TEST_BATCH))
        with self.lock:
            self.model.set_weights(weights)
            metrics = self._run(self._test, rows, batches)
        return metrics.pop("loss"), metrics

    def _run(self, graph: Any, rows: Rows, batches: Iterable[Indices]) -> Metrics:
        chosen = list(batches)
        bounds = np.cumsum([0, *map(len, chosen)])
        self.model.reset_metrics()
        graph(
            rows.x.reshape((len(rows), *self.model.input_shape[1:])),
            rows.y,
            np.concatenate(chosen).astype(np.int32),
            bounds.astype(np.int32),
        )
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def save(self, weights: list[FloatArray], path: Path) -> None:
        """Write the compiled model with these weights as a `.keras` file, its optimizer fresh."""
        check_weights(weights, self.tensors)
        with self.lock:
            self.model.set_weights(weights)
            self._reset_optimizer()
            self.model.save(path)

    def _reset_optimizer(self) -> None:
        variables = self.model.optimizer.variables
        for variable, value in zip(variables, self._fresh_optimizer, strict=True):
            variable.assign(value)

    def _check(self, settings: Settings) -> None:
        """Refuse a config that asks for another optimizer or loss than the model's."""
        for asked, compiled in (
            (settings.optimizer, type(self.model.optimizer).__name__.lower()),
            (settings.loss, getattr(self.model.loss, "name", self.model.loss)),
        ):
            if asked is not None and asked != compiled:
                raise BadTrainingConfig(
                    f"The training settings ask for {asked}, but the model has {compiled}.",
                    "Compile the model as its manifest says.",
                )


class KerasTrainer:
    """A party's trainer: a shared model and the party's own rows (see `Trainer`)."""

    def __init__(self, model: KerasModel, rows: Rows, test: Rows | None = None) -> None:
        """Train on `rows`, evaluate on `test`, or on `rows` where there are no test rows."""
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
        """Mean loss, number of rows and compiled metrics over this trainer's test rows.

        Raises:
            BadWeights: `weights` are not this model's.
        """
        loss, metrics = self.keras_model.test(weights, self._test)
        return loss, len(self._test), metrics

    def initial_weights(self) -> dict[str, FloatArray]:
        """The weights that the model was built with, by their names."""
        names = [tensor.name for tensor in self.keras_model.tensors]
        return dict(zip(names, self.keras_model.initial_weights, strict=True))


def tensor_specs(model: Any) -> tuple[WeightSpec, ...]:
    """Names (`layer/kernel`) and shapes of a model's weights, in the order of `get_weights`.

    Raises:
        BadWeights: it has none, two of one name, or one that is not float32.
    """
    tensors = tuple(
        WeightSpec(weight.path.removeprefix(f"{model.name}/"), tuple(weight.shape))
        for weight in model.weights
    )
    names = [tensor.name for tensor in tensors]
    if not tensors or len(set(names)) != len(names):
        raise BadWeights(
            "The model has no weights, or two of the same name.",
            "Build it before use and give every layer a name of its own.",
        )
    for weight in model.weights:
        if str(weight.dtype) != "float32":
            raise BadWeights(
                f"The weight {weight.path} is {weight.dtype}; a federation averages float32.",
                "Leave out layers that count in integers.",
            )
    return tensors
