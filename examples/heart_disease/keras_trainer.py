"""The same model in Keras: its tensors have the same names and shapes, so both may take part."""

from __future__ import annotations

from typing import Any

import hospital

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasModel, KerasTrainer


def build() -> Any:
    """A compiled model. Every layer has a name: tensors are called by it, here output/kernel."""
    import keras

    model = keras.Sequential(
        [keras.Input((13,)), keras.layers.Dense(1, activation="sigmoid", name="output")],
        name="model",
    )
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def make_trainer() -> KerasTrainer:
    """What `--trainer keras_trainer.py:make_trainer` calls."""
    train, test = hospital.load()
    return KerasTrainer(KerasModel(build), Rows(*train), Rows(*test))
