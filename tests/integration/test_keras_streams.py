"""Data in batches of the user's own, callbacks, and what stays the same from fit to fit."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_orchestrator.training.data import BadRows, Rows
from fl_orchestrator.training.dp_sgd import CannotProtect, PrivateTrainer, Protection
from fl_orchestrator.training.keras import (
    KerasModel,
    KerasTrainer,
    UnusableData,
    load_tensorflow,
)
from fl_orchestrator.training.trainer import FloatArray

tf = load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

CONFIG: dict[str, Any] = {"seed": 7, "epochs": 3, "batchSize": 8, "learningRate": 0.05}
ROWS = 37
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(ROWS, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
W = DRAW.uniform(0.5, 2, size=ROWS).astype(np.float32)

Data = Callable[[], Any]


def build(optimizer: Any = "adam", dropout: float = 0.0) -> Any:
    start = keras.initializers.GlorotUniform
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, "relu", kernel_initializer=start(1)),
            layers.Dropout(dropout),
            layers.Dense(1, "sigmoid", kernel_initializer=start(2)),
        ]
    )
    model.compile(optimizer, "bce", metrics=["accuracy"])
    return model


def dataset() -> Any:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)


def weighted_dataset() -> Any:
    return tf.data.Dataset.from_tensor_slices((X, Y, W)).batch(8)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    def __len__(self) -> int:
        return -(-ROWS // 8)

    def __getitem__(self, index: int) -> Any:
        rows = slice(8 * index, 8 * index + 8)
        return X[rows], Y[rows]


def generator() -> Iterator[Any]:
    for start in range(0, ROWS, 8):
        yield X[start : start + 8].astype(np.float64), Y[start : start + 8]


class Loader:
    """An iterable that starts anew, such as a loader of another framework."""

    def __len__(self) -> int:
        return -(-ROWS // 8)

    def __iter__(self) -> Iterator[Any]:
        return generator()


STREAMS: dict[str, Data] = {
    "data set": dataset,
    "weighted data set": weighted_dataset,
    "generator": lambda: generator,
    "loader": Loader,
    "function": lambda: dataset,
    "function of the config": lambda: lambda config: dataset() if config["batchSize"] else None,
}


def digest(weights: list[FloatArray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest()


@pytest.mark.parametrize("kind", STREAMS)
def test_batches_of_any_source_are_trained_as_keras_trains_them(kind: str) -> None:
    trainer = KerasTrainer(build, STREAMS[kind](), validation=dataset())
    start = list(trainer.initial_weights().values())
    trained, rows, metrics = trainer.fit(start, CONFIG)
    plain = build()
    plain.set_weights(start)
    plain.optimizer.learning_rate = CONFIG["learningRate"]
    data = weighted_dataset() if kind == "weighted data set" else dataset()
    if kind == "generator":
        # Keras's optimizer counts one step more at the end of an epoch of unknown length.
        data = data.filter(lambda x, y: True)
    history = plain.fit(data, epochs=3, verbose=0, shuffle=False).history
    assert rows == ROWS
    assert digest(trained) == digest(plain.get_weights())
    assert metrics["loss"] == pytest.approx(np.mean(history["loss"]))
    assert set(metrics) == {"loss", "accuracy"}

    loss, tested, scores = trainer.evaluate(trained, CONFIG)
    expected = plain.evaluate(dataset(), verbose=0, return_dict=True)
    assert tested == ROWS
    assert {"loss": loss, **scores} == pytest.approx(expected, rel=1e-6)
    assert digest(trainer.fit(start, CONFIG)[0]) == digest(trained)


def test_a_py_dataset_is_shuffled_by_the_seed_of_the_round() -> None:
    trainer = KerasTrainer(build, Batches())
    start = list(trainer.initial_weights().values())
    first, again = (trainer.fit(start, CONFIG) for _ in range(2))
    other = trainer.fit(start, {**CONFIG, "seed": 8})
    assert first[1] == ROWS
    assert digest(first[0]) == digest(again[0]) != digest(other[0])


def test_arrays_with_a_callback_are_trained_to_the_bits_of_those_without() -> None:
    seen: list[int] = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    shared = KerasModel(lambda: build(dropout=0.5))
    plain = KerasTrainer(shared, X, Y)
    called = KerasTrainer(shared, X, Y, callbacks=[count])
    for config in (CONFIG, {**CONFIG, "steps": 7}):
        results = [trainer.fit(shared.initial_weights, config) for trainer in (plain, called)]
        assert digest(results[0][0]) == digest(results[1][0])
        assert results[0][1] == results[1][1] == ROWS
        if "steps" not in config:  # else the last epoch is shorter, and its mean counts the same
            assert results[0][2] == pytest.approx(results[1][2], rel=1e-5)
    assert seen == [0, 1, 2, 0, 1]


def test_early_stopping_looks_at_the_validation_and_starts_anew_in_every_fit() -> None:
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=9.0)
    trainer = KerasTrainer(build, X, Y, (X, Y), callbacks=lambda config: [stop])
    start = list(trainer.initial_weights().values())
    stopped = digest(trainer.fit(start, CONFIG)[0])
    assert stopped == digest(trainer.fit(start, CONFIG)[0])
    assert stopped == digest(KerasTrainer(build, X, Y).fit(start, {**CONFIG, "epochs": 2})[0])


def test_rows_of_a_validation_are_not_counted_as_those_of_the_training() -> None:
    nothing = [keras.callbacks.Callback()]
    trainer = KerasTrainer(build, dataset(), validation=dataset().take(1), callbacks=nothing)
    assert trainer.fit(list(trainer.initial_weights().values()), CONFIG)[1] == ROWS


def test_a_learning_rate_callback_sets_the_rate_of_its_epochs_only() -> None:
    rates: list[float] = []

    def halve(epoch: int, rate: float) -> float:
        rates.append(rate)
        return rate / 2

    trainer = KerasTrainer(build, X, Y, callbacks=[keras.callbacks.LearningRateScheduler(halve)])
    start = list(trainer.initial_weights().values())
    for _ in range(2):
        trainer.fit(start, CONFIG)
    assert rates == pytest.approx([0.05, 0.025, 0.0125] * 2)


def test_a_number_of_steps_ends_a_stream() -> None:
    trainer = KerasTrainer(build, dataset())
    start = list(trainer.initial_weights().values())
    trained, _, _ = trainer.fit(start, {**CONFIG, "steps": 7})
    plain = build()
    plain.set_weights(start)
    plain.optimizer.learning_rate = CONFIG["learningRate"]
    for x, y in dataset().repeat().take(7):
        plain.train_on_batch(x, y)
    assert digest(trained) == digest(plain.get_weights())


def test_data_without_an_end_need_a_number_of_batches() -> None:
    trainer = KerasTrainer(build, dataset().repeat())
    start = list(trainer.initial_weights().values())
    with pytest.raises(UnusableData, match="has no end"):
        trainer.fit(start, CONFIG)
    limited = KerasTrainer(build, dataset().repeat(), steps_per_epoch=3)
    assert limited.fit(start, CONFIG)[1] == -(-(ROWS + 4 * 8) // 3)


def test_class_weights_of_a_stream_are_those_of_arrays() -> None:
    classes = {0: 0.2, 1: 3.0}
    trainer = KerasTrainer(build, dataset(), class_weight=classes)
    start = list(trainer.initial_weights().values())
    plain = build()
    plain.set_weights(start)
    plain.optimizer.learning_rate = CONFIG["learningRate"]
    plain.fit(dataset(), epochs=3, class_weight=classes, verbose=0)
    assert digest(trainer.fit(start, CONFIG)[0]) == digest(plain.get_weights())


def test_a_function_reads_new_rows_in_every_round() -> None:
    rows = [20, 37]

    def read() -> tuple[Any, ...]:
        count = rows.pop()
        return X[:count], Y[:count]

    trainer = KerasTrainer(build, read, validation=(X, Y))
    start = list(trainer.initial_weights().values())
    found = [trainer.fit(start, CONFIG) for _ in range(2)]
    assert [count for _, count, _ in found] == [37, 20]
    assert digest(found[0][0]) == digest(KerasTrainer(build, X, Y).fit(start, CONFIG)[0])


def test_a_fraction_of_the_rows_is_for_validation_and_has_no_class_weights() -> None:
    trainer = KerasTrainer(build, X, Y, validation=0.25, class_weight={0: 9.0})
    start = list(trainer.initial_weights().values())
    assert trainer.fit(start, CONFIG)[1] == 27
    loss, rows, _ = trainer.evaluate(start, CONFIG)
    plain = build()
    plain.set_weights(start)
    assert rows == 10
    assert loss == pytest.approx(plain.evaluate(X[27:], Y[27:], verbose=0)[0], rel=1e-5)
    with pytest.raises(UnusableData, match="leaves one side"):
        KerasTrainer(build, X, Y, validation=0.0)


def test_trainers_that_are_given_one_model_share_it() -> None:
    model = build()
    trainers = [KerasTrainer(model, X[i::3], Y[i::3]) for i in range(3)]
    assert len({id(trainer.keras_model) for trainer in trainers}) == 1
    start = list(trainers[0].initial_weights().values())
    alone = digest(KerasTrainer(build, X[1::3], Y[1::3]).fit(start, CONFIG)[0])
    found = [digest(trainer.fit(start, CONFIG)[0]) for trainer in trainers]
    assert found[1] == alone
    reread = keras.models.clone_model(model)
    assert [w.shape for w in reread.get_weights()] == [w.shape for w in start]


def test_rows_take_their_validation_as_the_next_argument() -> None:
    trainer = KerasTrainer(build, Rows(X[:30], Y[:30]), Rows(X[30:], Y[30:]))
    start = list(trainer.initial_weights().values())
    assert (trainer.fit(start, CONFIG)[1], trainer.evaluate(start, {})[1]) == (30, 7)


def test_no_validation_rows_are_no_error() -> None:
    trainer = KerasTrainer(build, X, Y, validation=(X[:0], Y[:0]))
    loss, rows, metrics = trainer.evaluate(list(trainer.initial_weights().values()), CONFIG)
    assert (np.isnan(loss), rows, metrics) == (True, 0, {})


@pytest.mark.parametrize(
    ("x", "y", "error", "said"),
    [
        (generator(), None, UnusableData, "generator gives its batches only once"),
        (dataset(), Y, UnusableData, "Labels or weights are given beside a"),
        (3, None, UnusableData, "A int is no data"),
        (X, Y[:-1], BadRows, "37 rows of features and 36 labels"),
        (X, np.array(["no"] * ROWS), BadRows, "not numbers"),
        (np.array([[{}, 1]] * ROWS), Y, BadRows, "a value that is no number"),
    ],
    ids=lambda value: None,
)
def test_data_that_cannot_be_trained_on_are_refused(
    x: Any, y: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        KerasTrainer(build, x, y)


@pytest.mark.parametrize("empty", [lambda: (X[:0], Y[:0]), lambda: iter(())])
def test_a_round_without_rows_is_refused(empty: Data) -> None:
    trainer = KerasTrainer(build, empty)
    with pytest.raises(BadRows, match="no rows"):
        trainer.fit(list(trainer.initial_weights().values()), CONFIG)


def test_record_level_privacy_needs_arrays() -> None:
    with pytest.raises(CannotProtect, match="come in batches"):
        PrivateTrainer(KerasTrainer(build, dataset()), Protection(1.0, 1.0))


PROGRAM = """
import hashlib
from integration.test_keras_streams import CONFIG, KerasTrainer, X, Y, build, keras, tf
import numpy as np
for _ in range({layers}): keras.layers.Dense(1)  # the process-wide counters differ

def shuffled(config):
    rows = tf.data.Dataset.from_tensor_slices((X, Y))
    return rows.shuffle(40).batch(config["batchSize"])

trainer = KerasTrainer(lambda: build(dropout=0.4), shuffled)
start = trainer.initial_weights()
trainer.fit(list(start.values()), {{**CONFIG, "seed": 99}}) if {layers} else None
trained, rows, _ = trainer.fit(list(start.values()), CONFIG)
print(list(start), rows, hashlib.sha256(b"".join(a.tobytes() for a in trained)).hexdigest())
print(trainer.architecture())
"""


def test_names_shuffling_and_dropout_are_the_same_in_every_process(checkout: Path) -> None:
    outputs = []
    for layers in (0, 5):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(layers=layers)],
            env={"PYTHONPATH": f"{checkout}:{checkout / 'tests'}", "PATH": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias']")
