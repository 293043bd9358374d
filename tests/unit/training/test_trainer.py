"""Settings, seeds and the order of rows: what every trainer shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.training.trainer import (
    BadTrainingConfig,
    BadWeights,
    Settings,
    WeightSpec,
    check_weights,
    training_seed,
)

CONFIG = {"seed": 7, "epochs": 2, "batchSize": 4, "learningRate": 0.1}


def test_a_training_seed_depends_on_run_party_and_round() -> None:
    seeds = {
        training_seed(run, party, number)
        for run in (0, 1)
        for party in ("hospital-1", "hospital-11")
        for number in (1, 11, 111)
    }
    assert len(seeds) == 12
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_a_training_seed_is_the_same_in_every_version() -> None:
    assert training_seed(0, "party-1", 1) == 0xB1CB_4429_6839_529B


@given(
    rows=st.integers(1, 60),
    batch=st.integers(1, 20),
    epochs=st.integers(1, 4),
    steps=st.none() | st.integers(1, 40),
    seed=st.integers(0, 2**64 - 1),
)
def test_every_epoch_has_each_row_once_and_the_steps_are_those_asked_for(
    rows: int, batch: int, epochs: int, steps: int | None, seed: int
) -> None:
    settings = Settings(seed, epochs, batch, 0.1, steps)
    batches = list(settings.batches(rows))
    per_epoch = -(-rows // batch)
    assert len(batches) == settings.steps_for(rows) == (steps or epochs * per_epoch)
    for start in range(0, len(batches), per_epoch):
        epoch = np.concatenate(batches[start : start + per_epoch]).tolist()
        assert len(set(epoch)) == len(epoch)
        if start + per_epoch <= len(batches):
            assert sorted(epoch) == list(range(rows))
    for number, chosen in enumerate(batches, start=1):
        last = number % per_epoch == 0
        assert len(chosen) == (rows - (per_epoch - 1) * batch if last else batch)


def test_the_order_of_rows_depends_on_the_seed_alone() -> None:
    def batches(seed: int) -> list[list[int]]:
        return [chosen.tolist() for chosen in Settings(seed, 2, 50, 0.1).batches(50)]

    assert batches(5) == batches(5)
    assert batches(5) != batches(6)
    assert batches(5)[0] != batches(5)[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", None),
        ("seed", -1),
        ("epochs", 0),
        ("epochs", True),
        ("epochs", 1.5),
        ("batchSize", 0),
        ("batchSize", "8"),
        ("steps", 0),
        ("learningRate", 0),
        ("learningRate", float("nan")),
        ("learningRate", float("inf")),
        ("learningRate", "fast"),
        ("learningRate", True),
    ],
)
def test_an_unusable_setting_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(BadTrainingConfig, match=r"learning rate|`" + key):
        Settings.from_config({**CONFIG, key: value})


def test_a_missing_setting_is_refused() -> None:
    for key in CONFIG:
        with pytest.raises(BadTrainingConfig):
            Settings.from_config({k: v for k, v in CONFIG.items() if k != key})


def test_weights_of_another_number_shape_or_dtype_are_refused() -> None:
    tensors = [WeightSpec("a", (2, 3)), WeightSpec("b", (3,))]
    good = [np.zeros((2, 3), np.float32), np.zeros(3, np.float32)]
    check_weights(good, tensors)
    with pytest.raises(BadWeights, match="2 tensors, but 1"):
        check_weights(good[:1], tensors)
    with pytest.raises(BadWeights, match="Tensor b"):
        check_weights([good[0], np.zeros(4, np.float32)], tensors)
    with pytest.raises(BadWeights, match="Tensor a is float64"):
        check_weights([good[0].astype(np.float64), good[1]], tensors)
