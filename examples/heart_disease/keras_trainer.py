"""The same model in Keras. Its tensors have the same names and shapes as in numpy_trainer.py, so
hospitals may use either trainer."""

from __future__ import annotations

from typing import Any

import hospital

from fl_orchestrator.training.keras import KerasTrainer


def build() -> Any:
    """Build the compiled model. The layer's name is in those of its tensors (output/kernel)."""
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
    return KerasTrainer(build, *train, validation=test)
