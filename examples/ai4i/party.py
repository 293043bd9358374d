"""Factories foresee failures of machines: a small Keras network on each factory's own readings."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.csv_table import CsvTable
from fl_orchestrator.training.keras import KerasModel, KerasTrainer

METRIC = "auc"
SETTINGS = {"epochs": 3, "batch_size": 32, "learning_rate": 0.1}

# From the description of the machines: a middle and a scale for each reading.
READINGS = {
    "Air temperature [K]": (300, 2),
    "Process temperature [K]": (310, 2),
    "Rotational speed [rpm]": (1_500, 200),
    "Torque [Nm]": (40, 10),
    "Tool wear [min]": (120, 60),
}

Rows = tuple[NDArray[np.float32], NDArray[np.int32]]


def load(file: Path) -> Rows:
    """The readings and the product's quality, and the label, 1 for a failure."""
    table = CsvTable(file)
    middle, scale = np.array(list(READINGS.values()), np.float32).T
    quality = table.indicators("Type", ["L", "M", "H"])
    x = np.concatenate([(table.numbers(READINGS) - middle) / scale, quality], axis=1)
    return x, table.codes("Machine failure", ["0", "1"])


@cache
def model() -> KerasModel:
    """One model for all trainers of this process: each sets its own weights."""
    return KerasModel(build)


def build() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    built = keras.Sequential(layers)
    built.compile("sgd", "binary_crossentropy", metrics=["accuracy", "auc"])
    return built


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Three quarters to train on, and a quarter to test on."""
    x, y = rows
    order = np.random.default_rng(0).permutation(len(y))
    test, train = np.split(order, [len(y) // 4])
    return (x[train], y[train]), (x[test], y[test])


def trainer(train: Rows, test: Rows) -> KerasTrainer:
    return KerasTrainer(model(), *train, validation=test)


def make_trainer() -> KerasTrainer:
    """For `flo party run --trainer party.py`: the factory's own file is FACTORY_DATA."""
    return trainer(*split(load(Path(os.environ["FACTORY_DATA"]))))


def make_party(number: int, parties: int) -> KerasTrainer:
    """For `flo demo --trainer` and simulate: a part of the whole data set's training rows."""
    (x, y), test = split(load(data()))
    return trainer((x[number::parties], y[number::parties]), test)


def make_pooled() -> KerasTrainer:
    """All training rows in one place."""
    return trainer(*split(load(data())))


def data() -> Path:
    return Path(os.environ.get("FLO_DATA_DIR", "../shared/data")) / "ai4i2020" / "ai4i2020.csv"
