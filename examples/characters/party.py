"""The next character of a text: a recurrent Keras network, one document at each party.

The texts are this project's own documents: replace `documents` with yours. Every author has a
vocabulary of their own, so the parties' data differ as they do in practice.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.keras import KerasModel, KerasTrainer

METRIC = "accuracy"
SETTINGS = {"epochs": 1, "batch_size": 32, "learning_rate": 0.005}
# All parties agree on the characters; others become the first one.
CHARACTERS = " abcdefghijklmnopqrstuvwxyz0123456789.,:;()`/-"
LENGTH = 24

Rows = tuple[NDArray[np.int32], NDArray[np.int32]]


def documents() -> list[str]:
    """The longest documents of this project, the longest first."""
    pages = (Path(__file__).resolve().parents[2] / "docs").glob("*.md")
    return sorted((page.read_text().lower() for page in pages), key=len, reverse=True)


def examples(text: str) -> Rows:
    """Windows of 24 characters, each with the character that follows."""
    codes = np.array([max(CHARACTERS.find(letter), 0) for letter in text], np.int32)
    windows = np.lib.stride_tricks.sliding_window_view(codes, LENGTH + 1)[::7]
    return windows[:, :-1].copy(), windows[:, -1].copy()


@cache
def model() -> KerasModel:
    """One model for all trainers of this process: each sets its own weights."""
    return KerasModel(build)


def build() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((LENGTH,)),
        keras.layers.Embedding(len(CHARACTERS), 16),
        keras.layers.GRU(64),
        keras.layers.Dense(len(CHARACTERS), activation="softmax"),
    ]
    built = keras.Sequential(layers)
    built.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return built


def divided(text: str) -> tuple[Rows, Rows]:
    """The first nine tenths of a text to train on, and the rest to test on."""
    cut = len(text) * 9 // 10
    return examples(text[:cut]), examples(text[cut:])


def make_party(number: int, parties: int) -> KerasTrainer:  # noqa: ARG001 - as simulate calls it
    """The author of one document."""
    train, test = divided(documents()[number])
    return KerasTrainer(model(), *train, validation=test)


def make_pooled() -> KerasTrainer:
    """The four longest documents in one place."""
    trains, tests = zip(*map(divided, documents()[:4]), strict=True)
    x, y = (np.concatenate(part) for part in zip(*trains, strict=True))
    test = tuple(np.concatenate(part) for part in zip(*tests, strict=True))
    return KerasTrainer(model(), x, y, validation=test)
