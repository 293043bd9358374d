"""Trainers for PyTorch (`make test-torch`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fl_orchestrator.training.export import write_model
from fl_orchestrator.training.torch import TorchTrainer, UnsupportedModule
from fl_orchestrator.training.trainer import BadWeights, WeightSpec

CONFIG = {"seed": 3, "epochs": 2, "batchSize": 32, "learningRate": 0.05, "round": 1}
SGD = partial(torch.optim.SGD, momentum=0.9)
Weights = list[NDArray[np.float32]]


def digits(part: int = 0, parts: int = 1) -> TensorDataset:
    x, y = load_digits(return_X_y=True)
    mine = np.random.default_rng(0).permutation(len(y))[part::parts]
    images = torch.from_numpy((x[mine] / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    return TensorDataset(images, torch.from_numpy(y[mine]))


def network() -> nn.Module:
    """A convolutional network with batch normalisation and dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8 * 6 * 6, 10),
    )


def trainer(rows: Any = None, **options: Any) -> TorchTrainer:
    rows = digits() if rows is None else rows
    return TorchTrainer.of_rows(network(), nn.CrossEntropyLoss(), SGD, rows, digits(), **options)


def start(of: TorchTrainer) -> Weights:
    return list(of.initial_weights().values())


def assert_same(one: Weights, two: Weights) -> None:
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)


def test_three_parties_learn_to_read_together() -> None:
    parties = [trainer(digits(part, 3)) for part in range(3)]
    weights = start(parties[0])
    for number in range(4):
        answers = [party.fit(weights, {**CONFIG, "seed": number}) for party in parties]
        assert sum(rows for _, rows, _ in answers) == 1797
        weights = [
            np.mean(tensors, axis=0, dtype=np.float32)
            for tensors in zip(*[trained for trained, _, _ in answers], strict=True)
        ]
    loss, rows, metrics = parties[0].evaluate(weights, CONFIG)
    assert rows == 1797
    assert metrics["accuracy"] > 0.95
    assert loss < 0.3


def test_one_fit_is_what_a_plain_loop_does() -> None:
    module, rows = network(), digits()
    torch.manual_seed(CONFIG["seed"])
    optimizer = SGD(module.parameters(), lr=0.05)
    loader = DataLoader(rows, batch_size=32, shuffle=True)
    torch.set_num_threads(1)
    for _ in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), targets).backward()
            optimizer.step()
    mine = trainer(rows)
    trained, count, _ = mine.fit(start(mine), CONFIG)
    assert count == len(rows)
    for name, value in zip(mine.initial_weights(), trained, strict=True):
        np.testing.assert_array_equal(value, module.state_dict()[name].numpy(), err_msg=name)


def test_equal_weights_and_seed_give_equal_bits_whatever_was_trained_before() -> None:
    generator = torch.Generator()
    loader = DataLoader(digits(), batch_size=64, shuffle=True, generator=generator)
    for one in (trainer(), trainer(loader)):
        weights = start(one)
        kept = [array.copy() for array in weights]
        first, _, _ = one.fit(weights, CONFIG)
        other, _, _ = one.fit(first, {**CONFIG, "seed": 4})
        again, _, _ = one.fit(weights, CONFIG)
        assert_same(first, again)
        assert_same(weights, kept)
        assert any((a != b).any() for a, b in zip(first, other, strict=True))
    assert_same(
        trainer().fit(start(trainer()), CONFIG)[0], trainer().fit(start(trainer()), CONFIG)[0]
    )


def test_a_call_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    mine = trainer()
    torch.manual_seed(11)
    mine.fit(start(mine), {**CONFIG, "epochs": 1})
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_integers_stay_local_and_start_every_fit_from_the_same_value() -> None:
    mine = trainer()
    assert "1.num_batches_tracked" not in mine.initial_weights()
    assert "1.running_var" in mine.initial_weights()
    for _ in range(2):
        mine.fit(start(mine), {**CONFIG, "steps": 5})
        assert int(mine.module.state_dict()["1.num_batches_tracked"]) == 5


def test_a_variance_that_rounding_made_negative_is_zero() -> None:
    mine = trainer()
    names = list(mine.initial_weights())
    weights = start(mine)
    weights[names.index("1.running_var")][:] = -1e-6
    loss, _, _ = mine.evaluate(weights, CONFIG)
    assert np.isfinite(loss)


def test_only_adapters_are_federated() -> None:
    class Adapted(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.base = nn.Linear(64, 10)
            self.lora_a = nn.Parameter(torch.randn(64, 2) / 8)
            self.lora_b = nn.Parameter(torch.zeros(2, 10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            flat = x.flatten(1)
            return self.base(flat) + flat @ self.lora_a @ self.lora_b

    mine = TorchTrainer.of_rows(Adapted(), nn.CrossEntropyLoss(), SGD, digits(), only=["lora_*"])
    assert list(mine.initial_weights()) == ["lora_a", "lora_b"]
    before = mine.module.base.weight.clone()
    trained, _, _ = mine.fit(start(mine), CONFIG)
    assert [array.shape for array in trained] == [(64, 2), (2, 10)]
    assert torch.equal(mine.module.base.weight, before)
    assert mine.evaluate(trained, CONFIG)[0] < mine.evaluate(start(mine), CONFIG)[0]
    with pytest.raises(UnsupportedModule, match=r"like adapter\*"):
        TorchTrainer.of_rows(Adapted(), nn.CrossEntropyLoss(), SGD, digits(), only=["adapter*"])


def test_functions_of_the_user_train_and_test() -> None:
    seen: list[Any] = []

    def train(module: nn.Module, config: dict[str, Any]) -> tuple[int, dict[str, float]]:
        seen.append(config["round"])
        with torch.no_grad():
            module.weight.add_(torch.rand(1))
        return 5, {"loss": 1.0}

    def test(module: nn.Module, config: dict[str, Any]) -> tuple[float, int, dict[str, float]]:
        assert not module.training
        return float(module.weight.sum()), 2, {}

    mine = TorchTrainer(nn.Linear(1, 1, bias=False), train, test)
    first = mine.fit([np.zeros((1, 1), np.float32)], CONFIG)
    assert_same(first[0], mine.fit([np.zeros((1, 1), np.float32)], CONFIG)[0])
    assert first[1:] == (5, {"loss": 1.0})
    assert seen == [1, 1]
    assert mine.evaluate([np.full((1, 1), 3, np.float32)], CONFIG) == (3.0, 2, {})


def test_steps_end_a_fit_and_go_through_the_rows_again() -> None:
    mine = trainer(TensorDataset(*digits()[:64]))
    assert mine.fit(start(mine), {**CONFIG, "steps": 5})[1] == 64
    assert mine.fit(start(mine), {**CONFIG, "steps": 1})[1] == 64


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_federated_in_float32(kind: torch.dtype) -> None:
    module = nn.Linear(4, 1).to(kind)
    rows = TensorDataset(torch.ones(8, 4, dtype=kind), torch.ones(8, 1, dtype=kind))
    mine = TorchTrainer.of_rows(module, nn.MSELoss(), torch.optim.SGD, rows)
    trained, _, metrics = mine.fit(start(mine), CONFIG)
    assert {array.dtype for array in trained} == {np.dtype(np.float32)}
    assert module.weight.dtype == kind
    assert np.isfinite(metrics["loss"])


def test_architectures_differ_with_the_layers() -> None:
    def digest(*layers: nn.Module) -> str:
        whole = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), *layers)
        return TorchTrainer.of_rows(whole, nn.MSELoss(), SGD, digits()).architecture()

    assert digest(nn.ReLU()) != digest(nn.Tanh())
    assert digest(nn.ReLU()) == digest(nn.ReLU())


def test_bad_input_is_refused_in_a_sentence() -> None:
    mine = trainer()
    with pytest.raises(BadWeights):
        mine.fit(start(mine)[1:], CONFIG)
    with pytest.raises(UnsupportedModule, match="Nothing of this module"):
        TorchTrainer.of_rows(nn.ReLU(), nn.MSELoss(), SGD, digits())
    wrong = trainer(DataLoader(digits().tensors[0], batch_size=8))
    with pytest.raises(UnsupportedModule, match="a Tensor, not a tuple"):
        wrong.fit(start(wrong), CONFIG)
    empty = trainer(TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64)))
    with pytest.raises((UnsupportedModule, ValueError)):
        empty.fit(start(empty), CONFIG)


def test_a_models_weights_are_written_as_a_state_dict(tmp_path: Path) -> None:
    mine = trainer()
    weights = mine.fit(start(mine), CONFIG)[0]
    specs = [
        WeightSpec(name, a.shape) for name, a in zip(mine.initial_weights(), weights, strict=True)
    ]
    write_model(tmp_path / "m.pt", "torch", weights, specs, None)
    fresh = network()
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert fresh.load_state_dict(state, strict=False).unexpected_keys == []
    for spec, array in zip(specs, weights, strict=True):
        np.testing.assert_array_equal(fresh.state_dict()[spec.name].numpy(), array)


def test_fedprox_holds_the_weights_back_and_without_mu_changes_nothing() -> None:
    federated = trainer()
    weights = start(federated)

    def moved(**more: float) -> float:
        trained = federated.fit(weights, {**CONFIG, **more})[0]
        # Those of batch normalisation that follow the rows are no parameters: they move freely.
        learnt = [name for name, _ in federated.module.named_parameters()]
        kept = zip(federated.initial_weights(), trained, weights, strict=True)
        return sum(float(((a - b) ** 2).sum()) for name, a, b in kept if name in learnt)

    plain = federated.fit(weights, CONFIG)[0]
    assert_same(plain, federated.fit(weights, {**CONFIG, "proximalMu": 0})[0])
    far = [moved(proximalMu=mu) for mu in (0.0, 1.0, 1e3, 1e6)]
    assert far == sorted(far, reverse=True)
    assert far[3] < far[0] / 1e6
    assert_same(plain, federated.fit(weights, CONFIG)[0])
