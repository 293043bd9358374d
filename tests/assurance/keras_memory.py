"""The memory of a fit of a large Keras model by `KerasTrainer`, beside that of Keras's own fit.

    PYTHONPATH=tests python -m assurance.keras_memory [--json] [--parameters 100000000]

Each is a process of its own: it builds the model, and fits one batch by plain SGD. The trainer gets
the weights as a party hands them over, without another reference, and its result is held.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
from typing import Any, Final

import numpy as np

GOAL_BYTES: Final = 600_000_000
ROWS: Final = 32
CLASSES: Final = 10
_LOSS: Final = "sparse_categorical_crossentropy"


def peak_bytes(kind: str, parameters: int) -> int:
    """The most memory of a process that fits such a model."""
    command = [sys.executable, "-m", "assurance.keras_memory", "--fit", kind]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*command, "--parameters", str(parameters)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.splitlines()[-1])


def fit(kind: str, parameters: int) -> None:
    import keras

    width = math.isqrt(parameters)

    def build() -> Any:
        wide = keras.layers.Dense(width, use_bias=False, name="wide")
        out = keras.layers.Dense(CLASSES, activation="softmax", name="out")
        model = keras.Sequential([keras.Input((width,)), wide, out])
        model.compile("sgd", _LOSS)
        return model

    x = np.random.default_rng(0).normal(size=(ROWS, width)).astype(np.float32)
    y = np.arange(ROWS) % CLASSES
    if kind == "keras":
        build().fit(x, y, batch_size=ROWS, verbose=0)
    else:
        from fl_orchestrator.training.keras import KerasTrainer

        trainer = KerasTrainer(build, x, y)
        handed = [[np.full(t.shape, 0.01, np.float32) for t in trainer.keras_model.tensors]]
        config = {"epochs": 1, "batchSize": ROWS, "learningRate": 0.01, "seed": 1, "round": 1}
        result = trainer.fit(handed.pop(), {**config, "optimizer": "sgd", "loss": _LOSS})
        assert result[1] == ROWS
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parameters", type=int, default=100_000_000)
    parser.add_argument("--fit", choices=("keras", "trainer"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        fit(options.fit, options.parameters)
        return
    found = {kind: peak_bytes(kind, options.parameters) for kind in ("keras", "trainer")}
    beside = found["trainer"] - found["keras"]
    if options.json:
        print(json.dumps({**found, "beside": beside}, indent=2))
        return
    met = "met" if beside < GOAL_BYTES else "MISSED"
    alone, ours = (f"{found[kind] / 1e6:,.0f} MB" for kind in ("keras", "trainer"))
    print(
        f"{options.parameters:,} parameters: Keras alone {alone}, KerasTrainer {ours}: "
        f"{beside / 1e6:,.0f} MB beside it (goal: 600, {met})."
    )


if __name__ == "__main__":
    main()
