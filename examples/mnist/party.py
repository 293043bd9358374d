"""Handwritten digits as in McMahan et al. 2017 (the 2NN, in Keras), rows dealt at random."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.datasets import Dataset, load
from fl_orchestrator.training.keras import KerasModel, KerasTrainer

METRIC = "accuracy"
SETTINGS = {"epochs": 1, "batch_size": 10, "learning_rate": 0.1}
# McMahan et al. give each of 100 clients 600 rows, of which ten take part in a round.
ROWS = 600


@cache
def digits() -> Dataset:
    """60,000 pictures to train on and 10,000 to test on, from FLO_DATA_DIR."""
    return load("mnist")


@cache
def model() -> KerasModel:
    """One model for all trainers of this process: each sets its own weights."""
    return KerasModel(build)


def build() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(200, activation="relu") for _ in range(2)]
    output = keras.layers.Dense(10, activation="softmax")
    scaling = keras.layers.Rescaling(1 / 255)
    built = keras.Sequential([keras.Input((784,)), scaling, *hidden, output])
    built.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return built


def trainer(rows: Rows) -> KerasTrainer:
    return KerasTrainer(model(), rows.x, rows.y, validation=(digits().test.x, digits().test.y))


def make_party(number: int, parties: int) -> KerasTrainer:  # noqa: ARG001 - as simulate calls it
    """600 pictures that no other party has."""
    order = np.random.default_rng(0).permutation(len(digits().train))
    return trainer(digits().train.take(order[ROWS * number : ROWS * (number + 1)]))


def make_pooled() -> KerasTrainer:
    """The pictures of ten parties in one place."""
    order = np.random.default_rng(0).permutation(len(digits().train))
    return trainer(digits().train.take(order[: ROWS * 10]))
