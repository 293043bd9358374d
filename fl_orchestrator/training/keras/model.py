"""A compiled Keras model that the trainers of a process share.

Each fit first sets the weights, the optimizers' state and the random state, so that parties do not
influence each other. Rows in memory are trained in one graph (`graphs`). Batches of the user's own,
callbacks, and models with steps of their own go through the model's `fit` (`fitting`).

If it is asked for (`load_tensorflow`), equal inputs give equal bits in every process on one kind of
machine and one TensorFlow version; other processors may round differently. The protocol does not
need reproducible training.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.training.data import BadRows, Rows
from fl_orchestrator.training.keras.fitting import Fitting
from fl_orchestrator.training.keras.gradients import KerasDescent
from fl_orchestrator.training.keras.graphs import StepGraphs, test_batches
from fl_orchestrator.training.keras.optimizers import OptimizerStates, require_compiled_as
from fl_orchestrator.training.keras.proximal import ProximalSteps
from fl_orchestrator.training.keras.runtime import (
    UnsupportedModel,
    first_line,
    load_tensorflow,
    seeded,
    training_errors,
)
from fl_orchestrator.training.keras.source import Made, Source, Stream, Table, fitted_to
from fl_orchestrator.training.keras.tensors import FederatedWeights, output_names
from fl_orchestrator.training.trainer import FloatArray, Metrics, Settings

_SHARED: Final = "_fl_orchestrator_model"


class KerasModel:
    """A compiled Keras model that any number of trainers share, one fit at a time.

    Its floating-point weights are federated, as float32. Integer weights, such as a layer's count
    of rows, keep their initial values.
    """

    def __init__(
        self,
        build: Any,
        example: Any = None,
        *,
        deterministic: bool = False,
        threads: int | None = None,
    ) -> None:
        """`build` is the compiled model, or a function that returns it.

        A function is better: threads and determinism (see `load_tensorflow`) are set before the
        model is made. `example` is a batch of features, and needed only for a model that gets its
        weights from its first batch.

        Raises:
            TensorFlowMissing: TensorFlow is not installed.
            BadWeights: the model has no weights yet.
            UnsupportedModel: it is no Keras model, not compiled, or cannot be built.
        """
        self.tensorflow = load_tensorflow(deterministic=deterministic, threads=threads)
        keras = self.tensorflow.keras
        self.model = build if isinstance(build, keras.Model) else build()
        _require_compiled(keras, self.model)
        if example is not None:
            _build(self.model, example)
        self._weights = FederatedWeights(self.model)
        self.tensors = self._weights.tensors
        self._outputs = output_names(self.model)
        self.lock = threading.Lock()
        self._optimizers = OptimizerStates(keras, self.model)
        self._random_states = [
            variable for variable in self.model.variables if "seed_generator" in variable.path
        ]
        self._graphs = StepGraphs(self.tensorflow, self.model)
        self._fitting = Fitting(self.tensorflow, self.model)
        self._proximal = ProximalSteps(self.tensorflow, self.model)
        self._own_steps = _has_own_steps(keras, self.model)

    @property
    def initial_weights(self) -> list[FloatArray]:
        """The weights that the model had when this was made; of a large model, another copy."""
        return self._weights.initial

    @classmethod
    def shared(cls, model: Any, example: Callable[[], Any]) -> KerasModel:
        """The `KerasModel` of a model, of a function that builds one, or of a `KerasModel`.

        Trainers that are given one model share it. `example` is called for a batch of features if
        the model has no weights before its first batch.
        """
        if isinstance(model, KerasModel):
            return model
        tensorflow = load_tensorflow()
        built = model if isinstance(model, tensorflow.keras.Model) else model()
        found = getattr(built, _SHARED, None)
        if found is None:
            _require_compiled(tensorflow.keras, built)
            found = cls(built, None if _is_built(built) else example())
            # Not by Keras's own setattr, which would make it a part of the model.
            object.__setattr__(built, _SHARED, found)
        kept: KerasModel = found
        return kept

    def train(
        self,
        weights: list[FloatArray],
        source: Rows | Source,
        config: dict[str, Any],
        callbacks: Any = (),
        validation: Source | None = None,
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights`; return the new ones, the rows of an epoch, and metrics.

        The metrics are means over all steps. If the model was compiled with a learning-rate
        schedule, it is used. `callbacks` is a list of Keras's, or a function of the config that
        returns one; `validation` is for them.

        Raises:
            BadTrainingConfig: a setting is unusable, or not what the model was compiled with.
            BadWeights, ModelChanged: the weights or the tensors are not this model's.
            BadRows, UnusableData, DataMismatch: the rows are none, or do not go with the model.
            OutOfMemory: a step needs more memory than there is.
        """
        settings = Settings.from_config(config)
        require_compiled_as(self.tensorflow.keras, self.model, settings)
        with self.lock, training_errors(self.tensorflow):
            self._begin(weights, settings)
            chosen = callbacks(dict(config)) if callable(callbacks) else callbacks
            if self._own_steps or chosen or not isinstance(source, Table | Rows):
                with seeded(self.tensorflow, settings.seed):
                    count, metrics = self._fit(source, settings, config, chosen, validation)
            else:
                table = self._table(source)
                _require_rows(table)
                count = len(table)
                metrics = self._graphs.train(table, settings.batches(count))
                self._optimizers.finish()
            return self._weights.read(), count, self._named(metrics)

    def _named(self, metrics: Metrics) -> Metrics:
        """Replace generated names of outputs, which differ between processes."""
        longest_first = sorted(self._outputs, key=len, reverse=True)
        named = {}
        for key, value in metrics.items():
            output = next((name for name in longest_first if key.startswith(f"{name}_")), "")
            named[self._outputs.get(output, "") + key.removeprefix(output)] = value
        return named

    def _fit(
        self,
        source: Rows | Source,
        settings: Settings,
        config: dict[str, Any],
        callbacks: Sequence[Any],
        validation: Source | None,
    ) -> tuple[int, Metrics]:
        data = self._opened(source, config)
        if isinstance(data, Table):
            _require_rows(data)
        checked = None if validation is None else self._opened(validation, config)
        return self._fitting.train(data, settings, callbacks, checked)

    def test(
        self, weights: list[FloatArray], source: Rows | Source, config: dict[str, Any] | None = None
    ) -> tuple[float, int, Metrics]:
        """Return the mean loss, the number of rows and the metrics of `weights`.

        Without any row they are NaN, 0 and nothing.
        """
        with self.lock, training_errors(self.tensorflow):
            self._write(weights)
            if self._own_steps or not isinstance(source, Table | Rows):
                settings = {"seed": 0, **(config or {})}
                with seeded(self.tensorflow, settings["seed"]):
                    rows, metrics = self._fitting.test(self._opened(source, settings))
            else:
                table = self._table(source)
                rows = len(table)
                metrics = self._graphs.test(table, test_batches(rows)) if rows else {}
        return metrics.pop("loss", math.nan), rows, self._named(metrics)

    @contextmanager
    def descent(
        self, weights: list[FloatArray], source: Rows | Table, settings: Settings
    ) -> Iterator[KerasDescent]:
        """Train by single gradients (see `dp_sgd.Descending`)."""
        require_compiled_as(self.tensorflow.keras, self.model, settings)
        with self.lock, training_errors(self.tensorflow):
            table = self._table(source)
            _require_rows(table)
            self._begin(weights, settings)
            graphs = self._graphs.gradients(table)
            trainable = {id(variable) for variable in self.model.trainable_variables}
            trained = [id(variable) in trainable for variable in self._weights.variables]
            yield KerasDescent(graphs, table, trained, weights, self._weights.read)

    def save(self, weights: list[FloatArray], path: Path) -> None:
        """Write the compiled model as a `.keras` file, with these weights and a new optimizer."""
        with self.lock:
            self._write(weights)
            self._optimizers.forget()
            self.model.save(path)

    def export(self, weights: list[FloatArray], path: Path, format_: str) -> None:
        """Write the model for another runtime, by Keras's own export: ``litert`` or ``onnx``.

        Raises:
            ImportError: a package is missing that the format needs.
            UnsupportedModel: the format has no form for a part of the model.
        """
        with self.lock:
            self._write(weights)
            try:
                if getattr(self.model, "inputs", None):
                    self._call_on_nothing()  # ONNX needs a model that was called
                self.model.export(path, format=format_, verbose=False)
            except ImportError:
                raise
            except Exception as error:
                raise UnsupportedModel(
                    f"Keras cannot write this model as {format_}: {first_line(error)}",
                    "Use another --format.",
                ) from error

    def _call_on_nothing(self) -> None:
        tf = self.tensorflow
        given = [
            tf.zeros([1, *(size or 1 for size in put.shape[1:])], put.dtype)
            for put in self.model.inputs
        ]
        self.model(given if len(given) > 1 else given[0])

    def _begin(self, weights: list[FloatArray], settings: Settings) -> None:
        self._write(weights)
        self._optimizers.forget()
        self._optimizers.set_rate(settings.learning_rate)
        if self._proximal.begin(settings):
            self._trace_again()
        for number, state in enumerate(self._random_states):
            words = settings.seed % 2**32, (settings.seed >> 32) + number
            state.assign([word % 2**32 for word in words])

    def _write(self, weights: list[FloatArray]) -> None:
        if self._weights.write(weights):
            self._trace_again()

    def _trace_again(self) -> None:
        self._graphs.forget()
        self._fitting.forget()

    def _opened(self, source: Rows | Source, config: dict[str, Any]) -> Table | Stream:
        """The data of one training."""
        made = source.make(config) if isinstance(source, Made) else source
        return made if isinstance(made, Stream) else self._table(made)

    def _table(self, source: Rows | Table) -> Table:
        """The rows, in the shape of the model's inputs."""
        table = Table.of(source) if isinstance(source, Rows) else source
        inputs = getattr(self.model, "inputs", None) or []
        return fitted_to([tuple(tensor.shape[1:]) for tensor in inputs], table)


def _require_compiled(keras: Any, model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise UnsupportedModel(
            f"A {type(model).__name__} is no Keras model.",
            "Give a compiled keras.Model, or a function that returns one.",
        )
    if not model.compiled:
        raise UnsupportedModel(
            "The model is not compiled.", "Call model.compile(optimizer, loss) first."
        )


def _is_built(model: Any) -> bool:
    return bool(model.built) and all(layer.built for layer in model._flatten_layers())


def _build(model: Any, batch: Any) -> None:
    """Give a model its weights by a batch of features."""
    try:
        model(batch)
    except NotImplementedError:
        # A model with steps of its own may have no `call`; its layers were built before.
        if not model.weights:
            raise UnsupportedModel(
                "The model has no `call`, and its layers have no weights yet.",
                "Build its layers before its trainer.",
            ) from None
    except Exception as error:
        raise UnsupportedModel(
            f"The model cannot be built from its first batch: {first_line(error)}",
            "Call it on a batch before you give it to a trainer.",
        ) from error


def _has_own_steps(keras: Any, model: Any) -> bool:
    """If a model does not train by Keras's own steps in a graph."""
    kind = type(model)
    same = all(
        getattr(kind, name) is getattr(keras.Model, name)
        for name in ("train_step", "test_step", "fit", "evaluate", "make_train_function")
    )
    return bool(not same or model.run_eagerly or model._distribute_strategy is not None)


def _require_rows(table: Table) -> None:
    if len(table) == 0:
        raise BadRows("There are no rows to train on.", "Check what your data have for this site.")
