"""Finished models in other programs: each answers as the Keras model does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.federation import SmallFederation, small_manifest
from support.flo import flo

from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import TensorSpec
from fl_orchestrator.training.export import ExporterMissing, write_model
from fl_orchestrator.training.loading import load_trainer

TRAINER = """
import keras
import numpy as np
from fl_orchestrator.training.keras import KerasTrainer

def build():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(5, activation="relu", name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(2, activation="softmax", name="output"),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

def make_trainer():
    return KerasTrainer(build, np.zeros((4, 6), np.float32), np.zeros(4, np.int32))
"""
ROWS = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
Array = NDArray[np.float32]


def by_litert(file: Path) -> Array:
    """As the client on a small device runs it."""
    rows = file.with_name("rows.csv")
    np.savetxt(rows, ROWS, delimiter=",")
    client = Path(__file__).parents[2] / "examples" / "edge" / "client.py"
    done = subprocess.run(
        [sys.executable, client, file, rows], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "20 rows in" in done.stderr
    return np.loadtxt(done.stdout.splitlines(), np.float32, delimiter=",")


def by_onnx(file: Path) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    answer: Array = session.run(None, {session.get_inputs()[0].name: ROWS})[0]
    return answer


def by_keras(file: Path) -> Array:
    import keras

    answer: Array = keras.saving.load_model(file, safe_mode=True).predict(ROWS, verbose=0)
    return answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [("m.tflite", by_litert), ("m.onnx", by_onnx), ("m.keras", by_keras)],
    ids=["litert", "onnx", "keras"],
)
def test_a_federations_model_predicts_the_same_elsewhere(
    name: str, answer: Callable[[Path], Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, file = tmp_path / "mine.py", tmp_path / name
    trainer.write_text(TRAINER)
    model = load_trainer(str(trainer)).keras_model
    assert model is not None
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    manifest = small_manifest(
        tensors=tuple(TensorSpec(name=name, shape=shape) for name, shape in shapes.items()),
        depth=Layout.of((name, shape, 0) for name, shape in shapes.items()).depth,
    )
    random = np.random.default_rng(2)
    # A variance is above zero, and 1/256 is exact in the state's fixed point.
    weights = [
        (random.integers(1, 256, shape) / 256).astype(np.float32) for shape in shapes.values()
    ]
    federation = SmallFederation(tmp_path / "federation", manifest=manifest, weights=weights)
    monkeypatch.setattr(connect, "reach", lambda *_: Node(federation.chain.web3))
    got = flo(
        *("model", "get", "--output", file, "--trainer", trainer),
        *("--store", f"file://{federation.directory}/store"),
        *("--deployments", federation.directory / "deployments"),
    ).succeeded()
    assert name in got.out
    for variable, value in zip(model.model.weights, weights, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(answer(file), model.model.predict(ROWS, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--format", "onnx"), "your trainer defines its layers"),
        (("--format", "trees"), "no format 'trees'"),
        (("--output", "model.h5"), "no format 'h5'"),
        (("--format", "litert", "--output", "model.litert"), "does not end in .tflite"),
    ],
)
def test_formats_that_cannot_be_written_are_refused(
    options: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flo("model", "get", *options).refused(2, words)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_exporter_is_named_with_its_extra(tmp_path: Path) -> None:
    class Model:
        def export(self, *_: Any) -> None:
            raise ImportError("No module named 'tf2onnx'")

    with pytest.raises(ExporterMissing, match=r"tf2onnx.*fl-orchestrator\[export\]"):
        write_model(tmp_path / "m.onnx", "onnx", [], [], Model())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
