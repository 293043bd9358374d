"""What the tasks reach, federated, over several seeds: the claims of the documentation."""

from statistics import mean, median

import numpy as np
import pytest
from integration.fedavg import Federation

from fl_orchestrator.training import datasets
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasTrainer
from fl_orchestrator.training.tasks import (
    CATEGORICAL,
    Task,
    TrainingPlan,
    partition_dataset,
    task_named,
)
from fl_orchestrator.training.trainer import FloatArray


def federation(
    task: Task, seed: int, parties: int | None = None, **overrides: object
) -> Federation:
    dealt = partition_dataset(
        task, datasets.load(task.name), task.partition, parties or task.parties, seed
    )
    return Federation(task, task.keras_model(seed), dealt.parties, seed, dict(overrides))


def accuracy(fed: Federation, rows: Rows, weights: list[FloatArray]) -> float:
    return KerasTrainer(fed.model, rows).evaluate(weights, {})[2]["accuracy"]


def test_ten_parties_learn_breast_cancer_together_and_none_could_alone() -> None:
    task = task_named("breast-cancer")
    data = datasets.load(task.name)
    assert task.features is not None
    test = Rows(task.features.apply(data.test.x), data.test.y)
    together = []
    for seed in range(5):
        fed = federation(task, seed)
        together.append(accuracy(fed, test, fed.train(task.rounds)))
        alone = [accuracy(fed, test, fed.alone(party, task.rounds)) for party in range(10)]
        assert together[-1] > mean(alone)
        assert fed.clipped == 0
    assert median(together) >= 0.95


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("overrides", [{}, {"steps": 100}], ids=["4 epochs", "100 updates"])
def test_four_hospitals_reach_flamby_s_accuracy(overrides: dict[str, int]) -> None:
    """FLamby's setting: 15 rounds of 100 updates of batch 4, SGD 1e-3; and its epochs for it."""
    task = task_named("heart-disease")
    data = datasets.load(task.name)
    scores = []
    for seed in range(5):
        dealt = partition_dataset(task, data, task.partition, 4, seed)
        fed = Federation(task, task.keras_model(seed), dealt.parties, seed, overrides)
        weights = fed.train(task.rounds)
        scores.append(mean(accuracy(fed, rows, weights) for rows in dealt.test_groups.values()))
        assert fed.clipped == 0
    assert 0.68 <= mean(scores) <= 0.75, scores


@pytest.mark.usefixtures("data_dir")
def test_a_tenth_of_a_hundred_parties_learns_mnist_in_few_rounds() -> None:
    """McMahan et al. 2017, the 2NN, E = 1, B = 10: its first rounds."""
    task = task_named("mnist")
    data = datasets.load(task.name)
    dealt = partition_dataset(task, data, "iid", 100, 0)
    fed = Federation(task, task.keras_model(0), dealt.parties, 0)
    assert accuracy(fed, dealt.test, fed.train(8, participants=10)) > 0.92
    assert fed.clipped == 0


def test_the_seed_paper_s_network_learns_with_adam() -> None:
    """Inputs 100, Dense 64 relu, softmax 10, Adam 1e-3, ten parties, batch 64, ten local epochs."""
    task = Task(
        name="seed-paper",
        purpose="The network of the paper this project started from.",
        schema="100 numbers; labels 0 to 9.",
        inputs=100,
        hidden=(64,),
        outputs=10,
        training=TrainingPlan(10, 64, 1e-3, "adam", CATEGORICAL),
        samples_per_weight=1,
    )
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(10, 100))

    def rows(count: int) -> Rows:
        y = draw.integers(0, 10, count).astype(np.int32)
        return Rows((centres[y] + draw.normal(0, 2.5, (count, 100))).astype(np.float32), y)

    parties, test = [rows(200) for _ in range(10)], rows(1_000)
    model = task.keras_model(0)
    assert [tensor.shape for tensor in model.tensors] == [(100, 64), (64,), (64, 10), (10,)]
    fed = Federation(task, model, parties, 0)
    weights = fed.train(5)
    assert fed.clipped == 0
    assert accuracy(fed, test, weights) > 0.85
    assert accuracy(fed, test, weights) > max(
        accuracy(fed, test, fed.alone(party, 5)) for party in range(10)
    )
    assert all(np.array_equal(a, b) for a, b in zip(weights, fed.train(5), strict=True))
