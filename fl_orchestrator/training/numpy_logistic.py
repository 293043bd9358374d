"""Softmax regression in plain NumPy: a trainer for processes without TensorFlow.

Sums use NumPy's own loops. BLAS is not used, because its order of additions depends on its threads.
So the same weights, rows and seed give the same bits in every process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.data import Rows, arrays_digest
from fl_orchestrator.training.trainer import (
    BadTrainingConfig,
    FloatArray,
    Metrics,
    Settings,
    WeightSpec,
    check_weights,
)

OPTIMIZER = "sgd"
LOSS = "sparse_categorical_crossentropy"


class NumpyLogistic:
    """Softmax regression trained by SGD on the mean cross-entropy (see `Trainer`).

    Logits are `x @ kernel + bias`, with `dense/kernel` (features, classes) and `dense/bias`
    (classes,); everything is computed in float64 and rounded once to float32.
    """

    def __init__(self, rows: Rows, classes: int, test: Rows | None = None) -> None:
        """Train on `rows`; evaluate on `test`, or on `rows` if `test` is None."""
        self._rows = rows
        self._test = rows if test is None else test
        self.tensors = tensors(rows.x.shape[1], classes)

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Train from `weights` on this party's rows; `loss` is the mean over all steps.

        Raises:
            BadTrainingConfig: a setting is unusable, or names an unsupported optimizer or loss.
            BadWeights: `weights` are not this model's.
        """
        settings = Settings.from_config(config)
        _check(settings)
        check_weights(weights, self.tensors)
        kernel, bias = (weight.astype(np.float64) for weight in weights)
        start = kernel.copy(), bias.copy()
        losses: list[float] = []
        for chosen in settings.batches(len(self._rows)):
            batch = self._rows.take(chosen)
            log_odds = _log_softmax(batch, kernel, bias)
            picked = np.arange(len(batch)), batch.y
            losses += (-log_odds[picked]).tolist()
            slope = np.exp(log_odds)
            slope[picked] -= 1.0
            rate = settings.learning_rate / len(batch)
            kernel -= rate * np.einsum("nf,nc->fc", batch.x, slope)
            bias -= rate * slope.sum(axis=0)
            settings.pull((kernel, bias), start)
        trained = [kernel.astype(np.float32), bias.astype(np.float32)]
        return trained, len(self._rows), {"loss": float(np.mean(losses))}

    def evaluate(
        self,
        weights: list[FloatArray],
        config: dict[str, Any],  # noqa: ARG002 - part of the Trainer protocol
    ) -> tuple[float, int, Metrics]:
        """Return the mean cross-entropy, the number and the accuracy of this trainer's test rows.

        Raises:
            BadWeights: `weights` are not this model's.
        """
        check_weights(weights, self.tensors)
        kernel, bias = (weight.astype(np.float64) for weight in weights)
        log_odds = _log_softmax(self._test, kernel, bias)
        loss = -log_odds[np.arange(len(self._test)), self._test.y].mean()
        accuracy = (log_odds.argmax(axis=1) == self._test.y).mean()
        return float(loss), len(self._test), {"accuracy": float(accuracy)}

    def validation_digest(self) -> str | None:
        """The digest of the rows that models are evaluated on."""
        return arrays_digest((self._test.x, self._test.y))

    def row_count(self) -> int:
        return len(self._rows)

    def row_gradients(
        self, weights: list[NDArray[np.float64]], rows: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        """The gradient of each row's cross-entropy, for DP-SGD (see `dp_sgd.PerRow`)."""
        batch = self._rows.take(rows)
        slope = np.exp(_log_softmax(batch, *weights))
        slope[np.arange(len(batch)), batch.y] -= 1.0
        return [np.einsum("nf,nc->nfc", batch.x, slope), slope]

    def initial_weights(self) -> dict[str, FloatArray]:
        """Zeros: the loss is convex, so the start carries no information."""
        return {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in self.tensors}


def tensors(features: int, classes: int) -> tuple[WeightSpec, ...]:
    """The model's tensors, in manifest order."""
    return WeightSpec("dense/kernel", (features, classes)), WeightSpec("dense/bias", (classes,))


def initial_weights(features: int, classes: int) -> list[FloatArray]:
    """Zeros: the loss is convex, so the start carries no information."""
    return [np.zeros(tensor.shape, np.float32) for tensor in tensors(features, classes)]


def _check(settings: Settings) -> None:
    if settings.optimizer not in (None, OPTIMIZER) or settings.loss not in (None, LOSS):
        raise BadTrainingConfig(
            f"This trainer does not support optimizer {settings.optimizer}, loss {settings.loss}.",
            f"Use {OPTIMIZER} and {LOSS}.",
        )


def _log_softmax(
    rows: Rows, kernel: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = np.einsum("nf,fc->nc", rows.x, kernel) + bias
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
