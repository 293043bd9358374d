"""FedProx in Keras: with the graphs, with Keras's own `fit`, and with a user's `train_step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fl_orchestrator.training.keras import KerasTrainer, load_tensorflow
from fl_orchestrator.training.trainer import FloatArray

tf = load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

CONFIG: dict[str, Any] = {"seed": 3, "epochs": 2, "batchSize": 8, "learningRate": 0.05}
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(30, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


class OwnSteps(keras.Model):  # type: ignore[misc]
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def network(kind: type[Any] = keras.Model, optimizer: str = "sgd") -> Any:
    keras.utils.set_random_seed(1)
    given = keras.Input((6,))
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(4, "tanh")(given))
    model = kind(given, keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile(optimizer, "binary_crossentropy")
    return model


TRAINERS: dict[str, Callable[[], KerasTrainer]] = {
    "graphs": lambda: KerasTrainer(network(), X, Y),
    "adam": lambda: KerasTrainer(network(optimizer="adam"), X, Y),
    "fit": lambda: KerasTrainer(network(), X, Y, callbacks=[keras.callbacks.Callback()]),
    "own steps": lambda: KerasTrainer(network(OwnSteps), X, Y),
}


def distance(one: list[FloatArray], two: list[FloatArray]) -> float:
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(one, two, strict=True))))


@pytest.mark.parametrize("kind", TRAINERS)
def test_mu_holds_the_weights_back_and_leaves_no_trace(kind: str) -> None:
    trainer = TRAINERS[kind]()
    weights = list(trainer.initial_weights().values())

    def trained(**more: float) -> list[FloatArray]:
        return trainer.fit(weights, {**CONFIG, **more})[0]

    plain = trained()
    far = [distance(trained(proximalMu=mu), weights) for mu in (0.0, 1.0, 1e2, 1e6)]
    assert far[0] == distance(plain, weights)
    assert far == sorted(far, reverse=True)
    assert far[3] < far[0] / 1_000
    # The model is the same one; without mu it trains as before, to the same bits.
    for left, right in zip(plain, trained(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("kind", ["graphs", "fit"])
def test_a_step_is_that_of_the_optimizer_and_then_the_proximal_one(kind: str) -> None:
    trainer = TRAINERS[kind]()
    # Not where the model was made: the start is that of the round.
    weights = [each + np.float32(0.25) for each in trainer.initial_weights().values()]
    config = {**CONFIG, "steps": 1, "batchSize": 30}
    plain, _, _ = trainer.fit(weights, config)
    held, _, _ = trainer.fit(weights, {**config, "proximalMu": 20.0})
    for start, free, found in zip(weights, plain, held, strict=True):
        # Rate times mu is one, so half of the way is left.
        np.testing.assert_allclose(found, start + (free - start) / 2, atol=1e-6)
