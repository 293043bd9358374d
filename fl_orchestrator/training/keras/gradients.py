"""The gradients of single rows of a Keras model, for DP-SGD (see `dp_sgd`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.dp_sgd import Array, CannotProtect
from fl_orchestrator.training.keras.optimizers import inner
from fl_orchestrator.training.keras.source import Table
from fl_orchestrator.training.trainer import FloatArray

# `clipped`, and `move`: the two graphs of `trace`.
Graphs = tuple[Callable[..., list[Any]], Callable[..., None]]


def require_rows_apart(keras: Any, model: Any) -> None:
    """Refuse a model in which one row's gradient depends on other rows, or has no meaning.

    Raises:
        CannotProtect: with the name of the layer.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            raise CannotProtect(
                f"The layer {layer.name} normalises each row by the others of its batch, so the "
                "gradient of a single row is not defined, and its moving averages have no noise.",
                "Use GroupNormalization or LayerNormalization instead of BatchNormalization.",
            )
    if type(model).train_step is not keras.Model.train_step:
        raise CannotProtect(
            f"The model {type(model).__name__} has a train_step of its own, which record-level "
            "privacy would replace.",
            "Use keras.Model, and a loss that describes the training.",
        )


def trace(tf: Any, model: Any, signature: Any) -> Graphs:
    """Build the graphs for the sum of clipped gradients, and for a step of the optimizer.

    `signature`: features, labels and sample weights. Rows are vectorised: each is a batch of one,
    and no operation sees two of them.
    """
    variables = model.trainable_variables
    # Gradients are those of the loss itself, not of one that is scaled for mixed precision.
    optimizer = inner(model.optimizer)

    def clipped_one(row: Any, clip_norm: Any) -> list[Any]:
        data = tf.nest.map_structure(lambda part: part[None], row)
        x, y, weight = (*data, None, None)[:3]
        with tf.GradientTape() as tape:
            loss = model.compute_loss(
                x=x, y=y, y_pred=model(x, training=True), sample_weight=weight, training=True
            )
        found = tape.gradient(loss, variables)
        slopes = [
            tf.zeros(variable.shape)
            if slope is None
            else tf.cast(tf.convert_to_tensor(slope), tf.float32)
            for slope, variable in zip(found, variables, strict=True)
        ]
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(slope)) for slope in slopes]))
        factor = tf.minimum(1.0, clip_norm / tf.maximum(norm, 1e-30))
        finite = tf.math.is_finite(norm)
        return [tf.where(finite, slope * factor, tf.zeros_like(slope)) for slope in slopes]

    @tf.function(input_signature=[signature, tf.TensorSpec((), tf.float32)])  # type: ignore[untyped-decorator]
    def clipped(data: Any, clip_norm: Any) -> list[Any]:
        each = tf.vectorized_map(lambda row: clipped_one(row, clip_norm), data)
        return [tf.reduce_sum(tf.cast(part, tf.float64), axis=0) for part in each]

    @tf.function(input_signature=[[tf.TensorSpec(v.shape, tf.float32) for v in variables]])  # type: ignore[untyped-decorator]
    def move(gradient: list[Any]) -> None:
        cast = [tf.cast(g, v.dtype) for g, v in zip(gradient, variables, strict=True)]
        optimizer.apply(cast, variables)

    return clipped, move


class KerasDescent:
    """One training of a shared model by single gradients; the model is locked meanwhile.

    Weights that are not trained stay as they were, whatever their layers do with rows.
    """

    def __init__(
        self,
        graphs: Graphs,
        table: Table,
        trained: list[bool],
        start: list[FloatArray],
        now: Callable[[], list[FloatArray]],
    ) -> None:
        """`trained` says of each of the model's weights, `start` and `now()`, if it is trained."""
        self._clipped, self._move = graphs
        self._table = table
        self._trained, self._start, self._now = trained, start, now

    def clipped_sum(self, rows: NDArray[np.int64], clip_norm: float) -> list[Array]:
        """The sum over rows, for all weights; zero for those that are not trained."""
        sums = self._clipped(self._table.take(rows).data(), np.float32(clip_norm))
        found = iter([part.numpy() for part in sums])
        return [
            next(found) if trained else np.zeros(array.shape)
            for trained, array in zip(self._trained, self._start, strict=True)
        ]

    def move(self, gradient: list[Array]) -> None:
        self._move(
            [
                values.astype(np.float32)
                for values, trained in zip(gradient, self._trained, strict=True)
                if trained
            ]
        )

    def weights(self) -> list[FloatArray]:
        return [
            after if trained else before
            for trained, after, before in zip(self._trained, self._now(), self._start, strict=True)
        ]
