"""The NumPy trainer: it learns, exactly the same way in every process, without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights, tensors
from fl_orchestrator.training.trainer import BadTrainingConfig, BadWeights

CONFIG = {"seed": 3, "epochs": 5, "batchSize": 16, "learningRate": 0.1}


def blobs(rows: int = 120, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, rows).astype(np.int32)
    centres = np.array([[2, 0, 0, 1], [0, 2, 0, 1], [0, 0, 2, 1]])
    return Rows((centres[y] + draw.normal(0, 0.5, (rows, 4))).astype(np.float32), y)


def test_it_learns_what_can_be_told_apart() -> None:
    trainer = NumpyLogistic(blobs(), 3, test=blobs(seed=1))
    start = initial_weights(4, 3)
    before = trainer.evaluate(start, {})
    trained, rows, metrics = trainer.fit(start, CONFIG)
    after = trainer.evaluate(trained, {})
    assert rows == 120
    assert before[0] == pytest.approx(np.log(3))
    assert after[0] < 0.3
    assert after[2]["accuracy"] > 0.95
    assert after[0] < metrics["loss"] < before[0]


def test_one_step_is_the_gradient_of_the_mean_cross_entropy() -> None:
    rows = blobs(8)
    trainer = NumpyLogistic(rows, 3)
    draw = np.random.default_rng(5)
    weights = [draw.normal(size=t.shape).astype(np.float32) for t in tensors(4, 3)]
    trained, _, _ = trainer.fit(weights, {**CONFIG, "steps": 1, "batchSize": 8})

    def loss(kernel: np.ndarray, bias: np.ndarray) -> float:
        logits = rows.x.astype(np.float64) @ kernel + bias
        return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), rows.y]))

    kernel, bias = (w.astype(np.float64) for w in weights)
    for index in np.ndindex(kernel.shape):
        shift = np.zeros_like(kernel)
        shift[index] = 1e-6
        slope = (loss(kernel + shift, bias) - loss(kernel - shift, bias)) / 2e-6
        assert trained[0][index] == pytest.approx(kernel[index] - 0.1 * slope, abs=1e-6)
    for label in range(3):
        shift = np.zeros(3)
        shift[label] = 1e-6
        slope = (loss(kernel, bias + shift) - loss(kernel, bias - shift)) / 2e-6
        assert trained[1][label] == pytest.approx(bias[label] - 0.1 * slope, abs=1e-6)


def test_the_given_weights_are_not_changed() -> None:
    start = initial_weights(4, 3)
    NumpyLogistic(blobs(), 3).fit(start, CONFIG)
    assert not any(array.any() for array in start)


PROGRAM = """
import hashlib, sys
sys.path[:0] = {path!r}
from test_numpy_logistic import *
trained, _, _ = NumpyLogistic(blobs(), 3).fit(initial_weights(4, 3), CONFIG)
assert not {{"tensorflow", "keras", "sklearn", "pandas"}} & set(sys.modules)
print(hashlib.sha256(b"".join(array.tobytes() for array in trained)).hexdigest())
"""


def test_two_processes_train_to_the_same_bits_without_tensorflow() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(path=sys.path)],
            check=True,
            capture_output=True,
            text=True,
            env={"OMP_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("wrong", [{"optimizer": "adam"}, {"loss": "hinge"}, {"epochs": 0}])
def test_settings_that_it_does_not_have_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadTrainingConfig):
        NumpyLogistic(blobs(), 3).fit(initial_weights(4, 3), {**CONFIG, **wrong})


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(BadWeights):
        NumpyLogistic(blobs(), 3).fit(initial_weights(5, 3), CONFIG)
    with pytest.raises(BadWeights):
        NumpyLogistic(blobs(), 3).evaluate(initial_weights(4, 2), {})
