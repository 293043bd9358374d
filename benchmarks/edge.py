"""What examples/edge takes on this machine: a finished model on a device, and a party with NumPy.

    python benchmarks/edge.py [--json]

A device runs the model of MNIST 2NN (784-200-200-10, 199,210 parameters) on 1,000 rows with
ai-edge-litert. A party rehearses a round of heart disease, 4 epochs, with NumPy alone and with
Keras (`flo party check`). Memory is the largest that a process had; each is a process of its own,
from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from fl_orchestrator.training.datasets import data_dir
from fl_orchestrator.training.export import write_model
from fl_orchestrator.training.keras import KerasModel
from fl_orchestrator.training.trainer import WeightSpec

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
FLO: Final = Path(sys.executable).with_name("flo")
ROWS: Final = 1_000
TOOK: Final = re.compile(r"([0-9.]+) s, ([0-9.]+) CPU-s, at most ([0-9]+) MB")
HOSPITAL: Final = "heart_disease/processed.cleveland.data"


def network() -> Any:
    import keras

    layers = [keras.layers.Dense(200, activation="relu", name=name) for name in ("one", "two")]
    output = keras.layers.Dense(10, activation="softmax", name="output")
    built = keras.Sequential([keras.Input((784,)), *layers, output])
    built.compile("sgd", "sparse_categorical_crossentropy")
    return built


def took(command: Sequence[str | Path], directory: Path) -> dict[str, float]:
    """Run a command below examples/edge/measure.py."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "edge" / "measure.py", *command],
        env={**os.environ, "HOSPITAL_DATA": str(data_dir() / HOSPITAL)},
        cwd=directory,
        capture_output=True,
        text=True,
    )
    found = TOOK.search(done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    seconds, cpu, memory = map(float, found.groups())
    return {"seconds": seconds, "cpu_s": cpu, "memory_mb": memory}


def device(directory: Path) -> dict[str, float]:
    model = KerasModel(network)
    tensors = [WeightSpec(t.name, t.shape) for t in model.tensors]
    file = directory / "model.tflite"
    write_model(file, "litert", model.initial_weights, tensors, model)
    rows = np.random.default_rng(0).random((ROWS, 784), np.float32)
    np.savetxt(directory / "rows.csv", rows, delimiter=",", fmt="%.4f")
    found = took([sys.executable, EXAMPLES / "edge" / "client.py", file, "rows.csv"], directory)
    return {**found, "file_mb": file.stat().st_size / 1e6}


def party(directory: Path, trainer: str) -> dict[str, float]:
    code = EXAMPLES / "heart_disease" / f"{trainer}.py"
    terms = ["--loss", "binary_crossentropy", "--epochs", "4", "--batch-size", "4"]
    files = ["--manifest", "manifest.json", "--weights", "genesis.safetensors"]
    if not (directory / "manifest.json").exists():
        numpy = EXAMPLES / "heart_disease" / "numpy_trainer.py"
        took([FLO, "manifest", "create", "--trainer", numpy, "--name", "heart", *terms], directory)
    return took([FLO, "party", "check", "--trainer", code, *files], directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flo-edge-") as name:
        directory = Path(name)
        figures = {
            "device_litert": device(directory),
            "party_numpy": party(directory, "numpy_trainer"),
            "party_keras": party(directory, "keras_trainer"),
        }
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table()
    for heading in ("what", "seconds", "CPU s", "MB"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, found in figures.items():
        values = (found["seconds"], found["cpu_s"], found["memory_mb"])
        table.add_row(name.replace("_", ", "), *(f"{value:.1f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
