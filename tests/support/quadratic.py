"""Trainers in NumPy that take microseconds: linear regression on a party's own rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fl_orchestrator.training.trainer import FloatArray, Metrics

SLOPES = np.array([2.0, -1.0, 0.5])


class Linear:
    """A party with its own rows of one linear relation; ``rounds`` are the rounds that it saw."""

    def __init__(self, number: int, parties: int, features: int = 3) -> None:
        draw = np.random.default_rng(number)
        self.x = draw.normal(size=(20 + number, features))
        self.y = self.x @ SLOPES[:features] + 0.25
        self.rounds: list[int] = []

    def initial_weights(self) -> dict[str, FloatArray]:
        return {
            "slopes": np.zeros(self.x.shape[1], np.float32),
            "bias": np.zeros((), np.float32),
        }

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        self.rounds.append(config["round"])
        slopes, bias = weights[0].astype(np.float64), float(weights[1])
        for _ in range(config["epochs"]):
            error = self.x @ slopes + bias - self.y
            slopes -= config["learningRate"] * self.x.T @ error / len(error)
            bias -= config["learningRate"] * error.mean()
        return [slopes.astype(np.float32), np.asarray(bias, np.float32)], len(self.y), {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        error = self.x @ weights[0] + weights[1] - self.y
        return float((error**2).mean()), len(self.y), {"mae": float(np.abs(error).mean())}
