"""DP-SGD of PyTorch modules: gradients of single rows, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fl_orchestrator.training.checked import checked_trainer
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.dp_sgd import (
    CannotProtect,
    Mechanism,
    PrivateTrainer,
    Protection,
    seeded,
)
from fl_orchestrator.training.failures import TrainerFailed
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.torch import TorchTrainer

CONFIG: dict[str, Any] = {"seed": 3, "epochs": 4, "batchSize": 16, "learningRate": 0.05}
Weights = list[NDArray[np.float32]]


def table(count: int = 60, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 6)).astype(np.float32)
    return x, np.argmax(x[:, :3], axis=1).astype(np.int32)


def rows(count: int = 60, seed: int = 0) -> TensorDataset:
    x, y = table(count, seed)
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y).to(torch.int64))


def network(*more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Tanh(), *more, nn.Linear(8, 3))


def trainer(module: nn.Module, data: Any = None, optimizer: Any = torch.optim.SGD) -> TorchTrainer:
    data = rows() if data is None else data
    return TorchTrainer.of_rows(module, nn.CrossEntropyLoss(), optimizer, data, rows(seed=1))


def start(of: TorchTrainer) -> Weights:
    return list(of.initial_weights().values())


def norm(gradient: list[Any]) -> float:
    return math.sqrt(sum(float((part**2).sum()) for part in gradient))


def refused(of: TorchTrainer, match: str) -> None:
    with pytest.raises(CannotProtect, match=match):
        PrivateTrainer(of, Protection(1.0, 1.0))


def test_gradients_of_rows_equal_training_on_each_row_alone() -> None:
    module, data = network(), rows(7)
    mine = trainer(module, data)
    weights, alone = start(mine), []
    for number in range(7):
        one = trainer(module, TensorDataset(*(part[number : number + 1] for part in data.tensors)))
        moved, _, _ = one.fit(weights, {**CONFIG, "steps": 1})
        alone.append(
            [(a.astype(np.float64) - b) / 0.05 for a, b in zip(weights, moved, strict=True)]
        )
    lengths = [norm(gradient) for gradient in alone]
    with mine.descent(weights, CONFIG) as descent:
        for bound in (float(np.median(lengths)), 1e6):  # the first clips some rows
            found = descent.clipped_sum(np.arange(7), bound)
            for part, theirs in zip(found, zip(*alone, strict=True), strict=True):
                shares = [min(1.0, bound / size) for size in lengths]
                wanted = sum(share * one for share, one in zip(shares, theirs, strict=True))
                np.testing.assert_allclose(part, wanted, atol=2e-5)
        for number in range(7):
            assert norm(descent.clipped_sum(np.array([number]), 0.01)) <= 0.01 * (1 + 1e-6)


def test_the_clipped_sum_is_that_of_the_same_model_in_keras_and_in_numpy() -> None:
    from fl_orchestrator.training.keras import KerasTrainer, load_tensorflow

    load_tensorflow(deterministic=True)
    import keras

    linear = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="dense")])
    linear.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data, draw, chosen = Rows(*table()), np.random.default_rng(5), np.arange(0, 60, 2)
    kernel = draw.normal(size=(6, 3)).astype(np.float32)
    bias = draw.normal(size=3).astype(np.float32)
    mine = trainer(nn.Linear(6, 3))
    with mine.descent([np.ascontiguousarray(kernel.T), bias], CONFIG) as descent:
        found = descent.clipped_sum(chosen, 0.7)
    with KerasTrainer(linear, data).descent([kernel, bias], CONFIG) as descent:
        of_keras = descent.clipped_sum(chosen, 0.7)
    private = PrivateTrainer(NumpyLogistic(data, 3), Protection(1.0, 0.7))
    with private._descent([kernel, bias], CONFIG) as descent:
        of_numpy = descent.clipped_sum(chosen, 0.7)
    for theirs in (of_keras, of_numpy):
        np.testing.assert_allclose(found[0].T, theirs[0], atol=1e-5)
        np.testing.assert_allclose(found[1], theirs[1], atol=1e-5)


def test_it_learns_with_noise_and_repeats_under_a_seed() -> None:
    mine = trainer(network(nn.Dropout(0.1)), rows(300), torch.optim.Adam)
    private = PrivateTrainer(mine, Protection(0.4, 1.0), seeded)
    weights = start(mine)
    trained, count, metrics = private.fit(weights, CONFIG)
    again, _, _ = private.fit(weights, CONFIG)
    assert (count, metrics) == (300, {})
    assert all(np.array_equal(a, b) for a, b in zip(trained, again, strict=True))
    before, after = (private.evaluate(each, CONFIG) for each in (weights, trained))
    assert after[0] < before[0]
    assert after[2]["accuracy"] > 0.8
    assert private.mechanism(CONFIG) == Mechanism(0.4, 16 / 300, 4 * 19)


def test_the_noise_of_an_update_is_multiplier_times_clip_norm_over_the_expected_rows() -> None:
    """The loss depends on nothing here, so that noise is all that an update has."""

    def flat(outputs: Any, targets: Any) -> Any:
        return (0 * outputs).sum() + 0 * targets.sum()

    mine = TorchTrainer.of_rows(nn.Linear(6, 50, bias=False), flat, torch.optim.SGD, rows(64))
    private = PrivateTrainer(mine, Protection(2.0, 0.5), seeded)
    zeros = [np.zeros((50, 6), np.float32)]
    config = {**CONFIG, "steps": 9}
    fits = [private.fit(zeros, {**config, "seed": seed})[0][0] for seed in range(10)]
    moved = np.ravel(fits)
    expected = CONFIG["learningRate"] * (2.0 * 0.5) / 16 * 3
    assert moved.size == 3_000
    assert moved.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * moved.size))
    assert abs(moved.mean()) < 5 * expected / math.sqrt(moved.size)


def test_by_default_the_seed_does_not_decide_the_noise() -> None:
    mine = trainer(network())
    private = PrivateTrainer(mine, Protection(1.0, 1.0))
    first, second = (private.fit(start(mine), CONFIG)[0] for _ in range(2))
    assert not np.array_equal(first[0], second[0])


def test_a_row_that_is_not_finite_counts_as_zero() -> None:
    data = rows(3)
    data.tensors[0][1, 0] = math.nan
    mine = trainer(network(), data)
    with mine.descent(start(mine), CONFIG) as descent:
        both = descent.clipped_sum(np.array([0, 1, 2]), 1.0)
        without = descent.clipped_sum(np.array([0, 2]), 1.0)
    for one, other in zip(both, without, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_is_not_trained_keeps_the_values_of_the_federation() -> None:
    module = network()
    module[0].requires_grad_(False)
    module.register_buffer("scale", torch.ones(4))
    mine = trainer(module)
    weights = start(mine)
    trained, _, _ = PrivateTrainer(mine, Protection(1.0, 1.0), seeded).fit(weights, CONFIG)
    moved = {
        name: not np.array_equal(a, b)
        for name, a, b in zip(mine.initial_weights(), weights, trained, strict=True)
    }
    fixed = {"0.weight", "0.bias", "scale"}
    assert moved == {name: name not in fixed for name in moved}


def test_a_tensor_with_two_names_is_trained_under_both() -> None:
    class Tied(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(2)
            self.one = nn.Linear(6, 6)
            self.two = nn.Linear(6, 6)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(torch.tanh(self.one(x)))

    mine = trainer(Tied())
    weights, names = start(mine), list(mine.initial_weights())
    trained, _, _ = PrivateTrainer(mine, Protection(1.0, 1.0), seeded).fit(weights, CONFIG)
    one, two = names.index("one.weight"), names.index("two.weight")
    np.testing.assert_array_equal(trained[one], trained[two])
    assert not np.array_equal(trained[one], weights[one])


def test_layers_that_mix_rows_or_change_their_state_are_refused_in_a_sentence() -> None:
    refused(trainer(network(nn.BatchNorm1d(8))), "layer 3 normalises each row by the others of its")

    class Running(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
            return x - self.mean

    refused(trainer(network(Running())), "PyTorch cannot compute the gradients of single rows")


def test_data_in_batches_functions_of_the_user_and_weighted_means_are_refused() -> None:
    refused(trainer(network(), DataLoader(rows(), batch_size=8)), "The data come in batches")
    own = TorchTrainer(network(), lambda *_: (1, {}), lambda *_: (0.0, 1, {}))
    refused(own, "training function of your own")
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    of_classes = TorchTrainer.of_rows(network(), weighted, torch.optim.SGD, rows())
    refused(of_classes, "CrossEntropyLoss divides by the weights")


def test_rows_that_cannot_be_read_are_the_trainers_failure() -> None:
    class Broken(Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            raise OSError("disk gone")

    with pytest.raises(TrainerFailed, match="row gradients failed: OSError: disk gone"):
        checked_trainer(trainer(network(), Broken())).private(Protection(1.0, 1.0))
