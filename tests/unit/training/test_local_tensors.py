"""Tensors that stay at the site: the trainer has all of them, the federation only the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.federation import rows_of, small_manifest
from support.stateful import Counting

from fl_orchestrator.model.manifest import LocalTensor, Manifest, ManifestError, TensorSpec
from fl_orchestrator.training.site.local_tensors import (
    BadLocalTensors,
    LocalDiverged,
    federated,
    model_specs,
    names_matching,
)
from fl_orchestrator.training.site.state import (
    BadSiteState,
    restore,
    state_in,
    state_of,
    to_bytes,
)
from fl_orchestrator.training.trainer import WeightSpec

NAMES = ["head/kernel", "bn/moving_mean", "bn/moving_variance", "seen"]


class Recorder:
    """A trainer of four tensors, one of which is an integer; adds one to each."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def initial_weights(self) -> dict[str, Any]:
        arrays = [np.full((2, 2), 1.0), np.full(2, 2.0), np.full(2, 3.0)]
        floats = [array.astype(np.float32) for array in arrays]
        return dict(zip(NAMES, [*floats, np.array(4)], strict=True))

    def fit(self, weights: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, Any]:
        self.got = [array.copy() for array in weights]
        return [array + 1 for array in weights], 5, {}

    def evaluate(self, weights: list[Any], config: dict[str, Any]) -> tuple[float, int, Any]:
        self.got = weights
        return 0.5, 5, {}


def manifest(*local: str) -> Manifest:
    arrays = Recorder().initial_weights()
    specs = [(p, name, array.shape) for p, (name, array) in enumerate(arrays.items())]
    return small_manifest(
        depth=2,
        tensors=tuple(TensorSpec(name=n, shape=s) for _, n, s in specs if n not in local),
        local=tuple(LocalTensor(name=n, position=p, shape=s) for p, n, s in specs if n in local)
        or None,
    )


LOCAL = manifest("bn/moving_mean", "seen")


def test_the_trainer_gets_and_returns_all_tensors_and_the_federation_sees_the_others() -> None:
    inner = Recorder()
    trainer: Any = federated(inner, LOCAL)
    shared = [np.full((2, 2), 10, np.float32), np.full(2, 30, np.float32)]
    trained, rows, _ = trainer.fit(shared, {})
    assert [float(array.max()) for array in inner.got] == [10, 2, 30, 4]
    assert [float(array.max()) for array in trained] == [11, 31]
    assert rows == 5
    trainer.fit(shared, {})
    assert [float(array.max()) for array in inner.got] == [10, 3, 30, 5]
    assert inner.got[3].dtype == np.int64


def test_a_model_is_evaluated_with_the_sites_own_tensors() -> None:
    inner = Recorder()
    trainer = federated(inner, LOCAL)
    shared = [np.full((2, 2), 10, np.float32), np.full(2, 30, np.float32)]
    trainer.fit(shared, {})
    trainer.evaluate(shared, {})
    assert [float(array.max()) for array in inner.got] == [10, 3, 30, 5]


def test_without_local_tensors_the_trainer_is_used_as_it_is() -> None:
    inner = Recorder()
    assert federated(inner, manifest()) is inner


def test_a_restored_state_is_the_one_that_was_given_out(tmp_path: Any) -> None:
    shared = [np.zeros((2, 2), np.float32), np.zeros(2, np.float32)]
    trainer = federated(Recorder(), LOCAL)
    trainer.fit(shared, {})
    path = tmp_path / "state.safetensors"
    path.write_bytes(to_bytes(state_of(trainer), {}))
    other = Recorder()
    again = federated(other, LOCAL)
    restore(again, state_in(path))
    again.fit(shared, {})
    assert [float(array.max()) for array in other.got] == [0, 3, 0, 5]
    restore(again, {})
    again.fit(shared, {})
    assert [float(array.max()) for array in other.got] == [0, 2, 0, 4]


def test_what_the_trainer_itself_keeps_is_in_the_state_too() -> None:
    names = list(Counting(rows_of(0), 2).initial_weights())
    local = (LocalTensor(name=names[1], position=1, shape=(2,)),)
    wrapped = small_manifest(tensors=(TensorSpec(name=names[0], shape=(4, 2)),), local=local)
    trainer = federated(Counting(rows_of(0), 2), wrapped)
    assert set(state_of(trainer)) == {f"tensor/{names[1]}", "trainer/fits"}


def test_a_local_tensor_that_is_not_finite_is_refused() -> None:
    inner = Recorder()
    trainer = federated(inner, LOCAL)
    restore(trainer, {"tensor/bn/moving_mean": np.full(2, np.nan, np.float32)})
    shared = [np.zeros((2, 2), np.float32), np.zeros(2, np.float32)]
    with pytest.raises(LocalDiverged, match="moving_mean"):
        trainer.fit(shared, {})


def test_a_trainer_must_say_with_which_values_its_local_tensors_begin() -> None:
    class Silent(Recorder):
        initial_weights = None  # type: ignore[assignment]

    class Other(Recorder):
        def initial_weights(self) -> dict[str, Any]:
            return {**super().initial_weights(), "seen": np.zeros(3)}

    with pytest.raises(BadLocalTensors, match="does not say with which values"):
        federated(Silent(), LOCAL)
    with pytest.raises(BadLocalTensors, match=r"shape \(3,\), not \(\)"):
        federated(Other(), LOCAL)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ((), set()),
        (("bn/*",), {"bn/moving_mean", "bn/moving_variance"}),
        (("*mean", "seen"), {"bn/moving_mean", "seen"}),
        (("b?/*",), {"bn/moving_mean", "bn/moving_variance"}),
    ],
)
def test_patterns_select_names(patterns: tuple[str, ...], found: set[str]) -> None:
    assert names_matching(patterns, NAMES) == found


@pytest.mark.parametrize("pattern", ["BN/*", "mean", ""])
def test_a_pattern_that_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(BadLocalTensors, match="No tensor of the model matches"):
        names_matching(["*mean", pattern], NAMES)


def test_patterns_that_keep_every_tensor_at_the_site_are_refused() -> None:
    with pytest.raises(BadLocalTensors, match="nothing to train together"):
        names_matching(["*/*", "seen"], NAMES)


def test_a_state_of_something_else_than_numbers_is_refused() -> None:
    with pytest.raises(BadSiteState, match="object"):
        to_bytes({"a": np.array([object()])}, {})


@given(st.sets(st.sampled_from(NAMES), max_size=3))
def test_a_manifest_lists_the_model_in_the_trainers_order(local: set[str]) -> None:
    described = manifest(*local)
    arrays = Recorder().initial_weights()
    assert model_specs(described) == [WeightSpec(n, a.shape) for n, a in arrays.items()]
    assert Manifest.from_bytes(described.to_bytes()) == described
    assert {tensor.name for tensor in described.layout.tensors} == set(NAMES) - local


@pytest.mark.parametrize(
    "local",
    [
        (),
        ({"name": "a", "position": 9, "shape": ()},),
        ({"name": "a", "position": 1, "shape": ()}, {"name": "b", "position": 1, "shape": ()}),
        ({"name": "b", "position": 1, "shape": ()}, {"name": "a", "position": 0, "shape": ()}),
        ({"name": "dense/kernel", "position": 0, "shape": ()},),
        ({"name": "a\n", "position": 0, "shape": ()},),
        ({"name": "a", "position": -1, "shape": ()},),
        ({"name": "a", "position": 0, "shape": (1 << 40,)},),
        ({"name": "a", "position": 0},),
    ],
)
def test_a_manifest_with_impossible_local_tensors_is_refused(local: tuple[Any, ...]) -> None:
    tensors = (TensorSpec(name="dense/kernel", shape=(2, 2)),)
    with pytest.raises(ManifestError):
        small_manifest(tensors=tensors, local=local)


def test_a_manifest_without_local_tensors_has_no_such_key() -> None:
    assert b"local" not in small_manifest().to_bytes()
