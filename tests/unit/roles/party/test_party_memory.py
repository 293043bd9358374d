"""A party has a large model in memory once: while it trains, and while it takes one into use."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.federation import SmallFederation, small_manifest

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.manifest import TensorSpec
from fl_orchestrator.roles.party.adoption import Adopter
from fl_orchestrator.training.checked import checked_trainer
from fl_orchestrator.training.trainer import Handed

VALUES = 2_000_000
BYTES = 4 * VALUES
TENSORS = tuple(TensorSpec(name=f"w{i}", shape=(VALUES // 4,)) for i in range(4))


class InPlace:
    """Trains in the arrays that it gets, a block at a time."""

    def fit(self, weights: Any, config: Any) -> Any:
        for array in weights:
            for start in range(0, array.size, 1 << 14):
                array[start : start + (1 << 14)] += np.float32(0.01)
        return weights, 10, {"loss": 0.5}

    def evaluate(self, weights: Any, config: Any) -> Any:
        for array in weights:
            array *= 0  # what a validation does with its arrays is its own affair
        return 0.5, 10, {}


@contextmanager
def at_most(size: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def test_a_partys_round_holds_the_weights_once(tmp_path: Path) -> None:
    manifest = small_manifest(tensors=TENSORS, depth=13)
    zeros = [np.zeros(tensor.shape, np.float32) for tensor in TENSORS]
    federation = SmallFederation(tmp_path, parties=1, manifest=manifest, weights=zeros)
    trainer = checked_trainer(InPlace())
    party, current = federation.party(0, trainer=trainer), tmp_path / "current.safetensors"
    context = federation.context(federation.parties[0], federation.home("parties", 0))
    adopter = Adopter(context, trainer, current)
    federation.open_round()
    with at_most(1.6 * BYTES):
        assert party.step().action == "commit"
    federation.run_round([party, federation.aggregator(0)])
    assert federation.observe().current.phase is Phase.ACCEPTED
    with at_most(1.6 * BYTES):
        assert adopter.step().action == "evaluate model"
    # The model in use is the one of the chain, not what the trainer made of its arrays.
    assert current.stat().st_size > BYTES
    values = np.concatenate(list(load_file(current).values()))
    assert np.allclose(values, 0.01, atol=1e-4)


@pytest.mark.parametrize("handed", [True, False])
def test_only_weights_that_are_handed_over_are_not_copied(handed: bool) -> None:
    trainer = checked_trainer(InPlace())
    mine = [np.zeros(100, np.float32), np.ones((3, 3), np.float32)]
    given = Handed(mine) if handed else mine
    trained, _, _ = trainer.fit(given, {})
    assert [np.shares_memory(a, b) for a, b in zip(trained, mine, strict=True)] == [handed] * 2
    assert bool(mine[0].any()) is handed
    trainer.evaluate(given, {})
    assert bool(mine[1].any()) is not handed
