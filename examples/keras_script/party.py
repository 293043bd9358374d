"""Foresee failures of a machine from its sensors. FACTORY_DATA is the path of ai4i2020.csv."""

import os

import keras
import numpy as np

from fl_orchestrator.training.keras import KerasTrainer, load_tensorflow

load_tensorflow(deterministic=True)
keras.utils.set_random_seed(0)
path = os.environ["FACTORY_DATA"]
table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(3, 9), encoding="utf-8-sig")
x = (table[:, :5] - [300, 310, 1540, 40, 108]) / [2, 1.5, 180, 10, 64]
y = table[:, 5]

model = keras.Sequential(
    [
        keras.Input((5,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile("adam", "binary_crossentropy", metrics=["auc"])
rare = {0: 1, 1: 10}


def make_trainer() -> KerasTrainer:
    return KerasTrainer(model, x, y, validation=0.2, class_weight=rare)
