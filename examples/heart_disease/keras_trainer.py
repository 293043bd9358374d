"""The same model in Keras. Its tensors have the same names and shapes as in numpy_trainer.py, so
hospitals may use either trainer."""

from __future__ import annotations

from typing import Any

import hospital

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasModel, KerasTrainer


def build() -> Any:
    """Build the compiled model. Every layer needs a name: it names the tensors (output/kernel)."""
    import keras

    model = keras.Sequential(
        [keras.Input((13,)), keras.layers.Dense(1, activation="sigmoid", name="output")],
        name="model",
    )
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def make_trainer() -> KerasTrainer:
    """Called for `--trainer keras_trainer.py:make_trainer`."""
    train, test = hospital.load()
    return KerasTrainer(KerasModel(build), Rows(*train), Rows(*test))
