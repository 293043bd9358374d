"""A model that Keras compiles by XLA is compiled by it in the trainer's graphs as well.

Keras does not use XLA in a process that is deterministic, as that of the other tests is.
"""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import numpy as np
from fl_orchestrator.training.keras import KerasTrainer, load_tensorflow
from fl_orchestrator.training.keras.source import Table
keras = load_tensorflow().keras

X = np.random.default_rng(0).normal(size=(37, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)
CONFIG = {"seed": 3, "epochs": 2, "batchSize": 8, "learningRate": 0.05}

def trainer(by_xla):
    def build():
        layers = [keras.Input((6,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("sgd", "mse", metrics=["mae"], jit_compile=by_xla)
        return model
    return KerasTrainer(build, X, Y)

plain, compiled = trainer(False), trainer(True)
start = list(plain.initial_weights().values())
left, right = plain.fit(start, CONFIG), compiled.fit(start, CONFIG)
for one, other in zip(left[0], right[0], strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
for name, value in left[2].items():
    np.testing.assert_allclose(right[2][name], value, rtol=1e-4)
tested, again = (one.evaluate(left[0], {})[0] for one in (plain, compiled))
np.testing.assert_allclose(again, tested, rtol=1e-4)
for one in (plain, compiled):
    graphs = one.keras_model._graphs._graphs_for(Table.of(X, Y))
    traced = [str(graph.get_concrete_function().graph.as_graph_def()) for graph in graphs]
    print(["_XlaMustCompile" in text for text in traced])
"""


def test_the_trainers_graphs_use_xla_where_keras_does_with_the_same_result() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[False, False]", "[True, True]"]
