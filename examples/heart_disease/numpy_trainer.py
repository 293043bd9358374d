"""A trainer in NumPy: logistic regression. It needs no machine-learning framework."""

from __future__ import annotations

from typing import Any

import hospital
import numpy as np
from numpy.typing import NDArray

Weights = list[NDArray[np.float32]]


class LogisticRegression:
    """Trains a kernel of 13 weights and a bias on this hospital's patients."""

    def __init__(self, train: hospital.Table, test: hospital.Table) -> None:
        self.train = train
        self.test = test

    def initial_weights(self) -> dict[str, NDArray[np.float32]]:
        """The names of the model's tensors, in order, and a new federation's initial values."""
        features = self.train[0].shape[1]
        return {
            "output/kernel": np.zeros((features, 1), np.float32),
            "output/bias": np.zeros(1, np.float32),
        }

    def fit(
        self, weights: Weights, config: dict[str, Any]
    ) -> tuple[Weights, int, dict[str, float]]:
        """Train from the global weights; return the new ones, the number of rows, and metrics."""
        kernel, bias = (array.astype(np.float64) for array in weights)
        x, y = self.train
        draw = np.random.default_rng(config["seed"])
        for _ in range(config["epochs"]):
            order = draw.permutation(len(y))
            for start in range(0, len(y), config["batchSize"]):
                batch = order[start : start + config["batchSize"]]
                error = probability(x[batch], kernel, bias) - y[batch]
                kernel -= config["learningRate"] * x[batch].T @ error[:, None] / len(batch)
                bias -= config["learningRate"] * error.mean()
        new = [kernel.astype(np.float32), bias.astype(np.float32)]
        return new, len(y), {"loss": loss(x, y, new)}

    def evaluate(
        self,
        weights: Weights,
        config: dict[str, Any],  # noqa: ARG002 - as the protocol calls it
    ) -> tuple[float, int, dict[str, float]]:
        """Return the loss on the validation rows, their number, and metrics."""
        x, y = self.test
        right = (probability(x, *weights) > 0.5) == y
        return loss(x, y, weights), len(y), {"accuracy": float(right.mean())}


def probability(x: NDArray[Any], kernel: NDArray[Any], bias: NDArray[Any]) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = (x @ kernel.astype(np.float64) + bias)[:, 0]
    return 1 / (1 + np.exp(-logits))


def loss(x: NDArray[Any], y: NDArray[Any], weights: Weights) -> float:
    p = np.clip(probability(x, *weights), 1e-7, 1 - 1e-7)
    return float(-np.where(y == 1, np.log(p), np.log(1 - p)).mean())


def make_trainer() -> LogisticRegression:
    """Called for `--trainer numpy_trainer.py:make_trainer`."""
    return LogisticRegression(*hospital.load())
