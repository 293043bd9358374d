"""examples/torch_images: BatchNorm's statistics are federated or stay, and its counters stay."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.flo import flo

from fl_orchestrator import simulate

FOLDER = Path(__file__).parents[2] / "examples" / "torch_images"
STATISTICS = {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}


@pytest.fixture(scope="module")
def party() -> Iterator[Any]:
    sys.path.insert(0, str(FOLDER))
    try:
        sys.modules.pop("party", None)
        yield importlib.import_module("party")
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("party", None)


def test_parties_learn_to_read_pictures_together(party: Any) -> None:
    pooled = party.make_pooled()
    result = simulate(party.make_party, parties=3, rounds=3, evaluate=pooled, **party.SETTINGS)
    assert set(result.weights) > STATISTICS
    assert "norm.num_batches_tracked" not in result.weights
    assert result.weights["norm.running_var"].min() > 0
    accuracy = [entry.accuracy for entry in result.rounds]
    assert accuracy[-1] > 0.9
    assert result.verify()["head_root"] == result.head_root


def test_batch_norm_stays_at_each_site_if_the_federation_says_so(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    created = flo(
        *("manifest", "create", "--trainer", FOLDER / "party.py", "--name", "digits"),
        *("--loss", "CrossEntropyLoss", "--local", "norm.*", "--epochs", 2, "--json"),
        *("--output", manifest, "--weights", tmp_path / "genesis.safetensors"),
    ).succeeded()
    assert set(created.json["local"]) >= STATISTICS
    tensors = [tensor["name"] for tensor in json.loads(manifest.read_bytes())["tensors"]]
    assert tensors == ["conv.weight", "conv.bias", "output.weight", "output.bias"]
