"""Models of every kind that people compile: each is trained as Keras itself trains it, bit for bit.

A kind is a function that builds the compiled model, and the data. The reference is
`train_on_batch` of another model of the same kind, with the same first weights and batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fl_orchestrator.training.keras import KerasTrainer, federated_variables, load_tensorflow
from fl_orchestrator.training.trainer import FloatArray

tf = load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

keras.utils.set_random_seed(1)  # the first weights
L = keras.layers
CONFIG: dict[str, Any] = {"seed": 3, "epochs": 2, "batchSize": 8, "learningRate": 0.05}
ROWS = 30
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(ROWS, 6)).astype(np.float32)
CLASSES = (X[:, 0] > 0).astype(np.int64)
THREE = (CLASSES + (X[:, 1] > 0)).astype(np.int64)
NUMBERS = (X[:, 0] * 0.3 + 0.1).astype(np.float64)
MANY = (X[:, :4] > 0).astype(np.int64)
WORDS = DRAW.integers(0, 20, size=(ROWS, 7))
SERIES = DRAW.normal(size=(ROWS, 5, 3)).astype(np.float32)
PICTURES = DRAW.normal(size=(ROWS, 8, 8, 1)).astype(np.float32)
TEXTS = np.array([["red blue"], ["green"], ["blue"]] * 10)
WEIGHTS = DRAW.uniform(0.1, 3, size=ROWS)


def stack(*layers: Any, shape: tuple[int | None, ...] = (6,), loss: Any = "bce", **how: Any) -> Any:
    """A compiled stack of layers without names."""
    model = keras.Sequential([keras.Input(shape), *layers])
    model.compile(how.pop("optimizer", "sgd"), loss, **how)
    return model


def sigmoid() -> Any:
    return L.Dense(1, "sigmoid")


def two_inputs() -> Any:
    left, right = keras.Input((2,), name="left"), keras.Input((4,), name="right")
    joined = L.Concatenate()([L.Dense(3, "relu")(left), L.Dense(2, "relu")(right)])
    model = keras.Model({"left": left, "right": right}, sigmoid()(joined))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def listed_inputs() -> Any:
    left, right = keras.Input((2,)), keras.Input((4,))
    model = keras.Model([left, right], sigmoid()(L.Concatenate()([left, right])))
    model.compile("rmsprop", keras.losses.BinaryCrossentropy())
    return model


def named_outputs() -> Any:
    entry = keras.Input((6,))
    hidden = L.Dense(5, "relu")(entry)
    heads = {"price": L.Dense(1, name="price")(hidden), "sold": L.Dense(3, name="sold")(hidden)}
    model = keras.Model(entry, heads)
    kinds = {
        "price": "mse",
        "sold": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    model.compile(
        "adam",
        kinds,
        loss_weights={"price": 0.3, "sold": 1.0},
        metrics={"price": ["mae"], "sold": ["accuracy"]},
    )
    return model


def listed_outputs() -> Any:
    entry = keras.Input((6,))
    model = keras.Model(entry, [L.Dense(1)(entry), sigmoid()(entry)])
    model.compile("sgd", ["mse", "bce"])
    return model


def shared_layer() -> Any:
    left, right = keras.Input((3,)), keras.Input((3,))
    same = L.Dense(4, "tanh")
    model = keras.Model([left, right], sigmoid()(L.Subtract()([same(left), same(right)])))
    model.compile("sgd", "bce")
    return model


def nested() -> Any:
    inner = keras.Sequential([keras.Input((6,)), L.Dense(4, "relu"), L.Dense(3, "relu")])
    other = keras.Sequential([keras.Input((6,)), L.Dense(4, "relu"), L.Dense(3, "relu")])
    entry = keras.Input((6,))
    model = keras.Model(entry, sigmoid()(L.Add()([inner(entry), other(entry)])))
    model.compile("sgd", "bce")
    return model


def frozen() -> Any:
    base = L.Dense(4, "relu")
    base.trainable = False
    return stack(base, sigmoid())


class Lazy(keras.Model):  # type: ignore[misc]
    """Subclassed; its layers have no weights before the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [L.Dense(4, "relu"), L.Dense(3, "relu")]
        self.last = L.Dense(1, "sigmoid")

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        return self.last(x)


def lazy() -> Any:
    model = Lazy()
    model.compile("adam", "bce", metrics=["auc"])
    return model


def unbuilt() -> Any:
    model = keras.Sequential([L.Dense(4, "relu"), L.BatchNormalization(), sigmoid()])
    model.compile("sgd", "bce")
    return model


class Residual(keras.layers.Layer):  # type: ignore[misc]
    """A layer of a user, with weights that have no names."""

    def build(self, shape: Any) -> None:
        self.one = self.add_weight(shape=(shape[-1], shape[-1]), initializer="glorot_uniform")
        self.two = self.add_weight(shape=(shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        return x + keras.ops.tanh(x @ self.one + self.two)


class OwnStep(keras.Model):  # type: ignore[misc]
    """A model with a training step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last = L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.last(x)

    def train_step(self, data: Any) -> Any:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(
                keras.ops.abs(self(x, training=True)[:, 0] - keras.ops.cast(y, "float32"))
            )
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def own_step() -> Any:
    model = OwnStep()
    model.compile("sgd", "mae")
    return model


def autoencoder() -> Any:
    entry = keras.Input((6,))
    model = keras.Model(entry, L.Dense(6)(L.Dense(2, "relu")(entry)))
    model.compile("adam", "mse")
    return model


def own_loss(y: Any, predicted: Any) -> Any:
    return keras.ops.mean(keras.ops.square(y - predicted[:, 0]))


def normalised() -> Any:
    layer = L.Normalization()
    layer.adapt(X * 3 + 5)
    return stack(layer, sigmoid())


def texts() -> Any:
    table = L.TextVectorization(output_sequence_length=4, vocabulary=["red", "green", "blue"])
    layers = table, L.Embedding(5, 3), L.GlobalAveragePooling1D(), sigmoid()
    model = keras.Sequential([keras.Input((1,), dtype="string"), *layers])
    model.compile("sgd", "bce")
    return model


def attention() -> Any:
    entry = keras.Input((5, 3))
    seen = L.MultiHeadAttention(2, 4)(entry, entry)
    pooled = L.GlobalAveragePooling1D()(L.LayerNormalization()(seen))
    model = keras.Model(entry, sigmoid()(pooled))
    model.compile("sgd", "bce")
    return model


def of_type(kind: str) -> Callable[[], Any]:
    return lambda: stack(L.Dense(4, "relu", dtype=kind), L.Dense(1, "sigmoid", dtype=kind))


def schedule() -> Any:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 6))


def averaging() -> Any:
    return keras.optimizers.AdamW(weight_decay=0.01, use_ema=True, ema_momentum=0.5, clipnorm=1.0)


@dataclass(frozen=True)
class Kind:
    build: Callable[[], Any]
    x: Any
    y: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    #: The features as Keras itself takes them, if it does not take `x`.
    plain: Any = None
    #: The largest difference, where another order of sums rounds otherwise.
    close: float = 0.0


DENSE = ("dense/kernel", "dense/bias")
DENSE_1 = ("dense_1/kernel", "dense_1/bias")
KINDS: dict[str, Kind] = {
    "inputs by name": Kind(two_inputs, {"left": X[:, :2], "right": X[:, 2:]}, CLASSES),
    "inputs in a list": Kind(listed_inputs, [X[:, :2], X[:, 2:]], CLASSES, names=DENSE),
    "outputs by name": Kind(
        named_outputs,
        X,
        {"price": NUMBERS, "sold": THREE},
        names=(*DENSE, "price/kernel", "price/bias", "sold/kernel", "sold/bias"),
    ),
    "weights for each output": Kind(
        named_outputs,
        X,
        {"price": NUMBERS, "sold": THREE},
        {"sample_weight": {"price": WEIGHTS, "sold": WEIGHTS[::-1]}},
    ),
    "outputs in a list": Kind(listed_outputs, X, [NUMBERS, CLASSES], names=(*DENSE, *DENSE_1)),
    "several labels": Kind(lambda: stack(L.Dense(4, "sigmoid"), metrics=["auc"]), X, MANY),
    "one-hot": Kind(
        lambda: stack(L.Dense(3, "softmax"), loss="categorical_crossentropy"), X, np.eye(3)[THREE]
    ),
    "sparse": Kind(
        lambda: stack(L.Dense(3, "softmax"), loss="sparse_categorical_crossentropy"), X, THREE
    ),
    "numbers": Kind(lambda: stack(L.Dense(1), loss="huber", metrics=["mae"]), X, NUMBERS),
    "lists": Kind(lambda: stack(sigmoid()), X.tolist(), CLASSES.tolist()),
    "sample weights": Kind(
        lambda: stack(sigmoid(), weighted_metrics=["accuracy"]),
        X,
        CLASSES,
        {"sample_weight": WEIGHTS},
    ),
    "class weights": Kind(
        lambda: stack(L.Dense(3, "softmax"), loss="sparse_categorical_crossentropy"),
        X,
        THREE,
        {"class_weight": {0: 0.5, 2: 3.0}},
    ),
    "loss function": Kind(lambda: stack(L.Dense(1), loss=own_loss), X, NUMBERS),
    "lambda": Kind(lambda: stack(L.Dense(1), loss=lambda y, p: (y - p) ** 2), X, NUMBERS),
    "schedule": Kind(lambda: stack(sigmoid(), optimizer=schedule()), X, CLASSES, close=1e-6),
    "accumulated gradients": Kind(
        lambda: stack(sigmoid(), optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2)),
        X,
        CLASSES,
    ),
    "mixed float16": Kind(of_type("mixed_float16"), X, CLASSES),
    "mixed bfloat16": Kind(of_type("mixed_bfloat16"), X, CLASSES),
    "float16": Kind(of_type("float16"), X, CLASSES),
    "bfloat16": Kind(of_type("bfloat16"), X, CLASSES),
    "float64": Kind(of_type("float64"), X, CLASSES),
    "normalization": Kind(normalised, X * 3 + 5, CLASSES),
    "embedding": Kind(
        lambda: stack(L.Embedding(20, 4), L.GlobalAveragePooling1D(), sigmoid(), shape=(7,)),
        WORDS,
        CLASSES,
        names=("embedding/embeddings", *DENSE),
        close=1e-7,
    ),
    "sequences of any length": Kind(
        lambda: stack(L.Embedding(20, 4), L.LSTM(3), sigmoid(), shape=(None,)), WORDS, CLASSES
    ),
    "batch normalization": Kind(
        lambda: stack(L.Dense(4), L.BatchNormalization(), sigmoid()),
        X,
        CLASSES,
        close=1e-7,  # the gradient of a bias before it is nothing but rounding
    ),
    "gru": Kind(
        lambda: stack(L.GRU(4, return_sequences=True), L.GRU(3), sigmoid(), shape=(5, 3)),
        SERIES,
        CLASSES,
        names=(
            *("gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel", "gru/gru_cell/bias"),
            *("gru_1/gru_cell/kernel", "gru_1/gru_cell/recurrent_kernel", "gru_1/gru_cell/bias"),
            *DENSE,
        ),
    ),
    "bidirectional lstm": Kind(
        lambda: stack(L.Bidirectional(L.LSTM(3)), sigmoid(), shape=(5, 3)), SERIES, CLASSES
    ),
    "time distributed": Kind(
        lambda: stack(L.TimeDistributed(L.Dense(2)), L.Flatten(), sigmoid(), shape=(5, 3)),
        SERIES,
        CLASSES,
    ),
    "attention": Kind(attention, SERIES, CLASSES, close=1e-5),
    "pictures": Kind(
        lambda: stack(L.Conv2D(3, 3, activation="relu"), L.Flatten(), sigmoid(), shape=(8, 8, 1)),
        PICTURES,
        CLASSES,
    ),
    "flat pictures": Kind(
        lambda: stack(L.Conv2D(3, 3, activation="relu"), L.Flatten(), sigmoid(), shape=(8, 8, 1)),
        PICTURES.reshape(ROWS, 64),
        CLASSES,
        plain=PICTURES,
    ),
    "regularised": Kind(
        lambda: stack(
            L.Dense(4, kernel_regularizer="l2"), L.ActivityRegularization(0.01), sigmoid()
        ),
        X,
        CLASSES,
    ),
    "shared layer": Kind(shared_layer, [X[:, :3], X[:, 3:]], CLASSES, names=(*DENSE, *DENSE_1)),
    "nested": Kind(nested, X, CLASSES),
    "frozen": Kind(frozen, X, CLASSES),
    "subclassed": Kind(
        lazy, X, CLASSES, names=(*DENSE, *DENSE_1, "dense_2/kernel", "dense_2/bias")
    ),
    "without an input": Kind(unbuilt, X, CLASSES),
    "own layer": Kind(
        lambda: stack(Residual(), Residual(), sigmoid()),
        X,
        CLASSES,
        names=(
            *("residual/variable", "residual/variable_1"),
            *("residual_1/variable", "residual_1/variable_1"),
            *DENSE,
        ),
    ),
    "own step": Kind(own_step, X, NUMBERS, names=DENSE),
    "eager": Kind(lambda: stack(sigmoid(), run_eagerly=True), X, CLASSES),
    "autoencoder": Kind(autoencoder, X, X),
    "text": Kind(texts, TEXTS, CLASSES, plain=tf.constant(TEXTS)),
}


def part(value: Any, rows: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: part(item, rows) for key, item in value.items()}
    if isinstance(value, list) and isinstance(value[0], np.ndarray):
        return [part(item, rows) for item in value]
    return (
        tf.gather(value, np.arange(ROWS)[rows]) if tf.is_tensor(value) else np.asarray(value)[rows]
    )


def features(kind: Kind) -> Any:
    return kind.x if kind.plain is None else kind.plain


def weights_of(model: Any) -> list[FloatArray]:
    return [np.array(v.numpy(), np.float32) for v in federated_variables(model)]


def fresh(kind: Kind, start: list[FloatArray], config: dict[str, Any]) -> Any:
    """Another model of the kind, with these weights."""
    model = kind.build()
    if not model.weights:
        model(keras.tree.map_structure(tf.convert_to_tensor, part(features(kind), slice(1))))
    for variable, value in zip(federated_variables(model), start, strict=True):
        variable.assign(value)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    rate = inner._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        inner.learning_rate = config["learningRate"]
    return model


def by_keras(kind: Kind, start: list[FloatArray], config: dict[str, Any]) -> list[FloatArray]:
    """The weights after the same batches through `train_on_batch`."""
    model = fresh(kind, start, config)
    weights = kind.options.get("sample_weight")
    shuffle = np.random.Generator(np.random.PCG64(config["seed"]))
    for _ in range(config["epochs"]):
        order = shuffle.permutation(ROWS)
        for begin in range(0, ROWS, config["batchSize"]):
            rows = order[begin : begin + config["batchSize"]]
            model.train_on_batch(
                part(features(kind), rows),
                part(kind.y, rows),
                sample_weight=part(weights, rows),
                class_weight=kind.options.get("class_weight"),
            )
    return weights_of(model)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_any_kind_is_trained_as_keras_trains_it(name: str) -> None:
    kind = KINDS[name]
    trainer = KerasTrainer(kind.build, kind.x, kind.y, **kind.options)
    initial = trainer.initial_weights()
    if kind.names:
        assert tuple(initial) == kind.names
    start = list(initial.values())
    trained, rows, metrics = trainer.fit(start, CONFIG)
    expected = by_keras(kind, start, CONFIG)
    assert rows == ROWS
    assert {array.dtype for array in trained} == {np.dtype(np.float32)}
    for mine, theirs, tensor in zip(trained, expected, initial, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=kind.close, err_msg=tensor)
    assert any((a != b).any() for a, b in zip(trained, start, strict=True))
    assert np.isfinite(metrics["loss"])

    loss, tested, scores = trainer.evaluate(trained, CONFIG)
    model = fresh(kind, trained, CONFIG)
    reference = model.evaluate(
        part(features(kind), slice(None)),
        part(kind.y, slice(None)),
        sample_weight=part(kind.options.get("sample_weight"), slice(None)),
        verbose=0,
        return_dict=True,
    )
    assert tested == ROWS
    if "class_weight" not in kind.options:
        assert loss == pytest.approx(reference.pop("loss"), rel=2e-3)
        values = sorted(reference.values())  # the names of layers without one differ
        assert sorted(scores.values()) == pytest.approx(values, rel=2e-3)
    # Another fit from the same weights gives the same bits: nothing is left of the first.
    again, _, _ = trainer.fit(start, CONFIG)
    assert all(np.array_equal(a, b) for a, b in zip(trained, again, strict=True))
