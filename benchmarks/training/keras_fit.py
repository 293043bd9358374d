"""What `KerasTrainer.fit` takes over Keras's own `model.fit`, on the same data.

    python benchmarks/training/keras_fit.py [--json] [--rows 4096] [--epochs 2] [--runs 5]

An MLP, a CNN and a GRU are trained from the same weights on arrays in memory, in turns on the same
machine, after a first training of each that traces its graphs. `model.fit` gets the same batch size
and epochs, and shuffles as it does by default; the trainer's time has writing and reading the
weights too. The ratio is that of the medians. Threads and devices are TensorFlow's choice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fl_orchestrator.training.keras import KerasTrainer, load_tensorflow

tf = load_tensorflow()
keras = tf.keras
L = keras.layers
_BATCH = 32
_CLASSES = 10


def _compiled(*layers: Any) -> Any:
    model = keras.Sequential([*layers, L.Dense(_CLASSES, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def mlp() -> Any:
    return _compiled(
        keras.Input((784,)), L.Dense(200, activation="relu"), L.Dense(200, activation="relu")
    )


def cnn() -> Any:
    return _compiled(
        *(keras.Input((28, 28, 1)), L.Conv2D(16, 3, activation="relu"), L.MaxPooling2D()),
        *(L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(), L.Flatten()),
    )


def gru() -> Any:
    return _compiled(keras.Input((28, 28)), L.GRU(64))


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "MLP": (mlp, (784,)),
    "CNN": (cnn, (28, 28, 1)),
    "GRU": (gru, (28, 28)),
}


def measure(name: str, rows: int, epochs: int, runs: int) -> dict[str, float]:
    """The median seconds of a fit of each side, and their ratio."""
    build, shape = MODELS[name]
    generator = np.random.Generator(np.random.PCG64(0))
    x = generator.normal(size=(rows, *shape)).astype(np.float32)
    y = generator.integers(0, _CLASSES, rows).astype(np.int32)
    trainer, plain = KerasTrainer(build, x, y), build()
    start = list(trainer.initial_weights().values())
    config: dict[str, Any] = {
        "seed": 1,
        "epochs": epochs,
        "batchSize": _BATCH,
        "learningRate": 0.01,
    }

    def ours() -> None:
        trainer.fit(start, config)

    def keras_own() -> None:
        plain.set_weights(start)
        plain.fit(x, y, batch_size=_BATCH, epochs=epochs, verbose=0)

    times: dict[str, list[float]] = {"trainer_s": [], "keras_s": []}
    sides = (("trainer_s", ours), ("keras_s", keras_own))
    for run in range(-1, runs):
        for side, fit in sides if run % 2 else sides[::-1]:
            began = time.perf_counter()
            fit()
            if run >= 0:
                times[side].append(time.perf_counter() - began)
    found = {side: statistics.median(values) for side, values in times.items()}
    return {**found, "ratio": found["trainer_s"] / found["keras_s"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    found = {n: measure(n, options.rows, options.epochs, options.runs) for n in MODELS}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    table = Table(title="A fit, seconds")
    for heading in ("model", "KerasTrainer.fit", "model.fit", "ratio"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, one in found.items():
        values = (f"{one[key]:.3f}" for key in ("trainer_s", "keras_s", "ratio"))
        table.add_row(name, *values)
    Console().print(table)


if __name__ == "__main__":
    main()
