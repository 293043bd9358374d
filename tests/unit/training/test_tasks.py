"""Tasks: their settings are consistent, and a party's features never depend on others' rows."""

import numpy as np
import pytest

from fl_orchestrator.training.data import BadPartition, PartitionSpec, Rows
from fl_orchestrator.training.datasets import LOADERS, Dataset
from fl_orchestrator.training.datasets import load as load_data
from fl_orchestrator.training.tasks import TASKS, Task, UnknownTask, partition_dataset, task_named
from fl_orchestrator.training.trainer import Settings


def hospitals(scale: float = 1.0) -> Dataset:
    """Two hospitals; `scale` multiplies the second one's features."""
    draw = np.random.default_rng(0)
    x = draw.normal(5, 2, (40, 13)).astype(np.float32)
    x[20:] *= np.float32(scale)
    y = np.tile([0, 1], 20).astype(np.int32)
    groups = {"hospital": np.repeat([0, 1], 20)}
    rows = Rows(x, y)
    return Dataset(
        *("heart-disease", rows, rows, 2, ("f",) * 13, "CC BY", "nowhere"),
        groups,
        groups,
        {"hospital": ("north", "south")},
    )


def test_every_data_set_has_a_task() -> None:
    assert list(TASKS) == list(LOADERS)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_is_consistent(task: Task) -> None:
    Settings.from_config({**task.training.config(), "seed": 0})
    PartitionSpec.parse(task.partition)
    binary = task.training.loss == "binary_crossentropy"
    assert (task.outputs == 1) == binary
    assert 1 <= task.update_fraction_bits <= 24
    if task.features is not None:
        assert len(task.features.mean) == len(task.features.scale)
        assert len(task.features.mean) in (1, task.inputs)
        assert min(task.features.scale) > 0


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_deals_its_data_set_by_default(task: Task) -> None:
    data = load_data(task.name)
    dealt = partition_dataset(task, data, task.partition, task.parties, seed=0)
    assert len(dealt.parties) == task.parties
    assert sum(map(len, dealt.parties)) == len(data.train)
    assert len(dealt.test) == len(data.test)
    for rows in (*dealt.parties, dealt.test):
        assert rows.x.shape[1] == task.inputs
        assert np.isfinite(rows.x).all()
        assert rows.x.base is None
    largest = max(len(rows) for rows in dealt.parties)
    assert largest / task.samples_per_weight < 255


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownTask, match="Use one of breast-cancer"):
        task_named("iris")
    assert task_named("digits").name == "digits"


def test_own_scales_do_not_depend_on_the_rows_of_others() -> None:
    task = task_named("heart-disease")
    one = partition_dataset(task, hospitals(), "column:hospital", 2, 0)
    other = partition_dataset(task, hospitals(scale=1000), "column:hospital", 2, 0)
    assert np.array_equal(one.parties[0].x, other.parties[0].x)
    assert np.array_equal(one.test_groups["north"].x, other.test_groups["north"].x)
    # The test rows of a hospital are scaled by its own training rows: here they are the same rows.
    for party, name in zip(other.parties, ("north", "south"), strict=True):
        assert np.array_equal(party.x, other.test_groups[name].x)
        assert party.x.std(axis=0, ddof=1) == pytest.approx(1, abs=1e-4)


def test_constant_scales_do_not_depend_on_any_rows() -> None:
    task = task_named("breast-cancer")
    assert task.features is not None
    x = np.array([task.features.mean, task.features.scale], np.float32)
    assert task.features.apply(x)[0] == pytest.approx(0, abs=1e-5)


def test_parties_that_scale_by_their_own_rows_need_their_own_test_rows() -> None:
    with pytest.raises(BadPartition, match=r"own rows.*--partition column:hospital"):
        partition_dataset(task_named("heart-disease"), hospitals(), "iid", 2, 0)
