"""What goes wrong with a model or its data costs a round, and is said in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_orchestrator.training.architecture import architecture_of
from fl_orchestrator.training.checked import CheckedTrainer
from fl_orchestrator.training.dp_sgd import PrivateTrainer, Protection, seeded
from fl_orchestrator.training.failures import BadTrainerFile, TrainerFailed
from fl_orchestrator.training.keras import (
    DataMismatch,
    KerasModel,
    KerasTrainer,
    ModelChanged,
    OutOfMemory,
    UnsupportedModel,
    load_tensorflow,
)
from fl_orchestrator.training.trainer import BadTrainingConfig, BadWeights, WeightSpec

tf = load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

L = keras.layers
CONFIG: dict[str, Any] = {"seed": 3, "epochs": 1, "batchSize": 8, "learningRate": 0.05}
X = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)


def dense(*layers: Any, loss: Any = "bce", optimizer: Any = "sgd") -> Any:
    model = keras.Sequential([keras.Input((4,)), *layers, L.Dense(1, "sigmoid")])
    model.compile(optimizer, loss)
    return model


class Huge(keras.layers.Layer):  # type: ignore[misc]
    """Needs a terabyte in training."""

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            side = tf.shape(x)[0] * 0 + (1 << 19)
            x = x + tf.reduce_sum(tf.fill((side, side), x[0, 0]))
        return x


def test_too_little_memory_costs_the_round_and_the_next_one_is_trained() -> None:
    trainer = CheckedTrainer(KerasTrainer(lambda: dense(Huge()), X, Y), Path("mine.py"))
    start = list((trainer.initial_weights() or {}).values())
    with pytest.raises(TrainerFailed, match="not enough memory for a step"):
        trainer.fit(start, CONFIG)
    assert trainer.evaluate(start, CONFIG)[1] == 24


def test_memory_that_python_lacks_is_said_alike() -> None:
    def read() -> Any:
        raise MemoryError

    trainer = KerasTrainer(dense, read)
    with pytest.raises(OutOfMemory, match="smaller batches"):
        trainer.fit(list(trainer.initial_weights().values()), CONFIG)


def test_rows_that_change_their_width_are_refused_without_their_values_in_a_log() -> None:
    widths = [3, 4]

    def read() -> Any:
        yield X[:, : widths.pop()], Y

    trainer = KerasTrainer(dense, read)
    start = list(trainer.initial_weights().values())
    assert trainer.fit(start, CONFIG)[1] == 24
    with pytest.raises(DataMismatch, match="do not go with the model") as caught:
        trainer.fit(start, CONFIG)
    assert caught.value.for_log == "The rows do not go with the model."


def test_a_word_outside_the_vocabulary_is_a_mismatch() -> None:
    def build() -> Any:
        layers = keras.Input((3,)), L.Embedding(5, 2), L.Flatten(), L.Dense(1, "sigmoid")
        model = keras.Sequential(layers)
        model.compile("sgd", "bce")
        return model

    words = np.full((8, 3), 9)
    trainer = KerasTrainer(build, words, Y[:8])
    with pytest.raises(DataMismatch, match="do not go with the model"):
        trainer.fit(list(trainer.initial_weights().values()), CONFIG)


def test_a_model_that_grows_between_rounds_is_refused() -> None:
    model = dense()
    trainer = KerasTrainer(model, X, Y)
    start = list(trainer.initial_weights().values())
    trainer.fit(start, CONFIG)
    model.pop()
    model.add(L.Dense(2))
    with pytest.raises(ModelChanged, match=r"had 2 tensors .* and has now 2 .*\(4, 2\)"):
        trainer.fit(start, CONFIG)


def test_parties_of_different_models_are_told_apart() -> None:
    mine = CheckedTrainer(KerasTrainer(lambda: dense(L.Dense(3)), X, Y), Path("mine.py"))
    theirs = (WeightSpec("dense/kernel", (4, 5)), WeightSpec("dense/bias", (5,)))
    with pytest.raises(BadTrainerFile, match=r"dense/kernel \(4, 3\) is"):
        mine.require_model(theirs)
    with pytest.raises(BadWeights, match="has 4 tensors, but 2 were given"):
        KerasTrainer(lambda: dense(L.Dense(3)), X, Y).fit([X, X], CONFIG)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(1)]), "not compiled"),
        (lambda: 3, "A int is no Keras model"),
    ],
)
def test_what_is_no_compiled_model_is_refused(build: Any, said: str) -> None:
    with pytest.raises(UnsupportedModel, match=said):
        KerasTrainer(build, X, Y)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ("binary_crossentropy, mse", False),
        ("bce,mean_squared_error", False),
        ("mse, bce", True),
        ("mse", True),
    ],
)
def test_a_manifest_names_the_losses_of_several_outputs(asked: str, refused: bool) -> None:
    entry = keras.Input((4,))
    model = keras.Model(entry, {"b": L.Dense(1, name="b")(entry), "a": L.Dense(1, name="a")(entry)})
    model.compile("sgd", {"a": "bce", "b": "mse"})
    config = {**CONFIG, "loss": asked}  # in the order of model.output_names, here a and b
    trainer = KerasTrainer(model, X, {"a": Y, "b": X[:, 1]})
    start = list(trainer.initial_weights().values())
    if refused:
        with pytest.raises(BadTrainingConfig, match="but the model has"):
            trainer.fit(start, config)
    else:
        trainer.fit(start, config)


def test_a_loss_without_a_name_is_custom_in_a_manifest() -> None:
    trainer = KerasTrainer(lambda: dense(loss=lambda y, p: (y - p) ** 2), X, Y)
    trainer.fit(list(trainer.initial_weights().values()), {**CONFIG, "loss": "custom"})


def test_a_party_computes_with_the_federations_statistics_and_not_with_its_own() -> None:
    layer = L.Normalization()
    layer.adapt(X * 7 + 3)
    trainer = KerasTrainer(lambda: dense(layer), X, Y)
    start = trainer.initial_weights()
    own, _, _ = trainer.evaluate(list(start.values()), {})
    start["normalization/mean"] = np.zeros(4, np.float32)
    start["normalization/variance"] = np.ones(4, np.float32)
    theirs, _, _ = trainer.evaluate(list(start.values()), {})
    kernel, bias = start["dense/kernel"], start["dense/bias"]
    p = 1 / (1 + np.exp(-(X @ kernel + bias)[:, 0].astype(np.float64)))
    assert theirs == pytest.approx(float(-np.where(Y, np.log(p), np.log(1 - p)).mean()), rel=1e-4)
    assert own != pytest.approx(theirs, rel=1e-3)


def test_record_level_privacy_takes_weights_and_mixed_precision() -> None:
    shared = KerasModel(lambda: dense(L.Dense(3, dtype="mixed_float16")))
    start = shared.initial_weights
    moved = []
    for classes in (None, {0: 0.0, 1: 0.0}):
        trainer = KerasTrainer(shared, X, Y, class_weight=classes)
        private = PrivateTrainer(trainer, Protection(1e-6, 1.0), seeded)
        trained, _, _ = private.fit(start, CONFIG)
        moved.append(max(float(np.abs(a - b).max()) for a, b in zip(trained, start, strict=True)))
    assert moved[0] > 1e-3 > 1e-5 > moved[1]


class Body(keras.Model):  # type: ignore[misc]
    """A subclassed model whose argument Keras cannot describe."""

    def __init__(self, layers: list[Any], act: Any = None) -> None:
        super().__init__()
        self.parts, self.act = layers, act

    def call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x


def body(*layers: Any) -> str:
    model = Body([*layers], act=object())
    model.compile("sgd", "mse")
    return KerasTrainer(model, X, Y).architecture()


def test_a_subclassed_model_has_an_architecture_of_its_layers() -> None:
    one, same = (body(L.Dense(3, "relu"), L.Dense(1)) for _ in range(2))
    others = {body(L.Dense(3, "tanh"), L.Dense(1)), body(L.Dense(4, "relu"), L.Dense(1))}
    assert one == same
    assert len(others | {one}) == 3
    assert one != architecture_of(dense())
