"""Runs a finished model on a small device: ai-edge-litert and NumPy, no TensorFlow and no flo.

    python client.py model.tflite rows.csv

Each line of the CSV has the model's inputs, scaled as in training; each line of the answer, its
outputs. What it took is written to stderr.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    model, file = sys.argv[1:]
    rows = np.loadtxt(file, dtype=np.float32, delimiter=",", ndmin=2)
    interpreter = Interpreter(model)
    (asked,), (answered, *_) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(asked["index"], rows.shape)
    interpreter.allocate_tensors()
    began = time.perf_counter()
    interpreter.set_tensor(asked["index"], rows)
    interpreter.invoke()
    seconds = time.perf_counter() - began
    np.savetxt(sys.stdout, interpreter.get_tensor(answered["index"]), fmt="%.7g", delimiter=",")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{len(rows)} rows in {seconds * 1e3:.2f} ms; the whole program: "
        f"{used.ru_utime + used.ru_stime:.2f} CPU-s, {used.ru_maxrss / 1024:.0f} MB",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
