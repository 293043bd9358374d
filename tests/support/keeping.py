"""Trainers whose results depend on what they keep from round to round."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from fl_orchestrator.training.trainer import FloatArray, Metrics
from support.quadratic import Linear


class Counting(Linear):
    """Its rate falls with the number of its trainings, which it keeps without telling anybody."""

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        rate = config["learningRate"] / (1 + len(self.rounds))
        return super().fit(weights, {**config, "learningRate": rate})


class Telling(Counting):
    """It says what it keeps, and cannot be pickled."""

    def __init__(self, number: int, parties: int) -> None:
        super().__init__(number, parties)
        self.lock = threading.Lock()

    def site_state(self) -> dict[str, Any]:
        return {"rounds": np.array(self.rounds, np.int64)}

    def restore_site_state(self, state: dict[str, Any]) -> None:
        self.rounds = list(state["rounds"]) if state else []


class Silent(Counting):
    """It does not say what it keeps, and cannot be pickled."""

    def __init__(self, number: int, parties: int) -> None:
        super().__init__(number, parties)
        self.lock = threading.Lock()


class Failing(Linear):
    """Party 1 fails in round 2."""

    def __init__(self, number: int, parties: int) -> None:
        super().__init__(number, parties)
        self.number = number

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        if (config["round"], self.number) == (2, 1):
            raise MemoryError("no room")
        return super().fit(weights, config)


class Dying(Linear):
    """Its process ends in round 2."""

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        if config["round"] == 2:
            os._exit(9)
        return super().fit(weights, config)
