"""What is set for TensorFlow, and what is left to its user. No GPU is needed: the settings are."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fl_orchestrator.training.keras import runtime

SETTINGS = """
import os
from fl_orchestrator.training.keras import load_tensorflow
tf = load_tensorflow({options})
from tensorflow.python.framework.config import is_op_determinism_enabled
print(
    is_op_determinism_enabled(),
    tf.config.threading.get_intra_op_parallelism_threads(),
    tf.config.threading.get_inter_op_parallelism_threads(),
    os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
)
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "False 0 0 None"),
        ("threads=3", "False 3 3 None"),
        ("deterministic=True", "True 1 1 0"),
        ("deterministic=True, threads=2", "True 2 2 0"),
    ],
)
def test_threads_and_determinism_are_set_only_where_they_are_asked_for(
    options: str, expected: str
) -> None:
    script = SETTINGS.format(options=options)
    # Another test of this process may have set what holds for a whole process.
    others = {name: v for name, v in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=others
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


class Config:
    """The part of `tf.config` that GPUs are set by."""

    def __init__(self, error: Exception | None = None) -> None:
        self.experimental = self
        self.growing: list[str] = []
        self._error = error

    def list_physical_devices(self, kind: str) -> list[str]:
        return ["gpu 0", "gpu 1"] if kind == "GPU" else []

    def set_memory_growth(self, device: str, wanted: bool) -> None:
        if self._error is not None:
            raise self._error
        assert wanted
        self.growing.append(device)


def tensorflow(config: Config) -> Any:
    return SimpleNamespace(config=config)


def test_the_memory_of_every_gpu_grows() -> None:
    config = Config()
    runtime._grow_memory(tensorflow(config))
    assert config.growing == ["gpu 0", "gpu 1"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Physical devices cannot be modified after being initialized"),
        ValueError("Cannot set memory growth on device when virtual devices configured"),
    ],
)
def test_a_gpu_that_its_user_has_set_up_is_left_alone(error: Exception) -> None:
    config = Config(error)
    runtime._grow_memory(tensorflow(config))
    assert config.growing == []
