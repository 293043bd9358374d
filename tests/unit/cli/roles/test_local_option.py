"""`flo manifest create --local`, and what is cast to float32, with a trainer in NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.flo import Finished, flo

TRAINER = """
import numpy as np

class Model:
    def __init__(self):
        self.counted = 0

    def initial_weights(self):
        return {{
            "body/kernel": np.zeros((2, 2), np.{body}),
            "head/kernel": np.ones(3, np.float32),
            "body/steps": np.array(0, np.int64),
        }}

    def fit(self, weights, config):
        body, head, steps = weights
        return [(body + 0.25).astype(np.{body}), head * 2, steps + 1], 12, {{"loss": 0.5}}

    def evaluate(self, weights, config):
        return float(abs(weights[0] - 1).mean()), 12, {{"steps": int(weights[2])}}

def make_trainer():
    return Model()
"""


def created(directory: Path, body: str, *options: str) -> Finished:
    (directory / "model.py").write_text(TRAINER.format(body=body))
    return flo(
        *("manifest", "create", "--trainer", directory / "model.py", "--name", "x"),
        *("--loss", "own", "--output", directory / "manifest.json", "--json"),
        *("--weights", directory / "genesis.safetensors", *options),
    )


def checked(directory: Path, *options: str) -> Any:
    manifest = ("--manifest", directory / "manifest.json", "--trainer", directory / "model.py")
    return flo("party", "check", *manifest, *options, "--json").succeeded().json


def test_an_integer_tensor_is_refused_unless_it_is_local(tmp_path: Path) -> None:
    refused = created(tmp_path, "float32")
    refused.refused(5, "'body/steps' is int64", "--local 'body/steps'")
    assert not (tmp_path / "manifest.json").exists()


def test_local_tensors_are_in_the_manifest_and_nowhere_else(tmp_path: Path) -> None:
    done = created(tmp_path, "float32", "--local", "*/steps", "--local", "head/*").succeeded()
    assert done.json["local"] == ["head/kernel", "body/steps"]
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert [tensor["name"] for tensor in manifest["tensors"]] == ["body/kernel"]
    assert [(one["name"], one["position"]) for one in manifest["local"]] == [
        ("head/kernel", 1),
        ("body/steps", 2),
    ]
    assert list(load_file(tmp_path / "genesis.safetensors")) == ["body/kernel"]
    update = tmp_path / "update.safetensors"
    assert checked(tmp_path, "--output", str(update))["samples"] == 12
    assert list(load_file(update)) == ["body/kernel"]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    created(tmp_path, "float32", "--local", "norm/*").refused(2, "norm/*")
    created(tmp_path, "float32", "--local", "*").refused(2, "every tensor of the model stays")


@pytest.mark.parametrize("body", ["float16", "float64"])
def test_other_floats_are_cast_with_a_line(tmp_path: Path, body: str) -> None:
    done = created(tmp_path, body, "--local", "*/steps").succeeded()
    assert f"initial_weights returned {body}: it is cast to float32" in done.err
    assert f"fit returned {body}: it is cast to float32" in done.err
    assert done.err.count("fit returned") == 1
    assert load_file(tmp_path / "genesis.safetensors")["body/kernel"].dtype == np.float32
    assert checked(tmp_path)["clipped"] == 0
