"""Tasks: for each data set the model, and how a federation trains it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fl_orchestrator.errors import InputError
from fl_orchestrator.training import scales
from fl_orchestrator.training.data import BadPartition, FeatureScale, PartitionSpec, Rows, partition
from fl_orchestrator.training.datasets.dataset import Dataset
from fl_orchestrator.training.trainer import training_seed

if TYPE_CHECKING:
    from fl_orchestrator.training.keras import KerasModel, KerasTrainer


class UnknownTask(InputError):
    """No task has this name."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The `training` section of a manifest."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    loss: str
    metrics: tuple[str, ...] = ("accuracy",)

    def config(self) -> dict[str, Any]:
        """The section in the form that a manifest contains and `Trainer.fit` reads."""
        return {
            "epochs": self.epochs,
            "batchSize": self.batch_size,
            "learningRate": self.learning_rate,
            "optimizer": self.optimizer,
            "loss": self.loss,
            "metrics": list(self.metrics),
        }


@dataclass(frozen=True, slots=True)
class Task:
    """A network of dense layers for one data set, and the defaults of its federation.

    `outputs` is 1 (a sigmoid, for two classes) or the number of classes (a softmax). `start` is the
    distribution of the initial kernels: Keras' default (Glorot uniform), or PyTorch's (uniform
    within 1 / sqrt(inputs)). `features` is None if each party scales by its own rows.
    """

    name: str
    purpose: str
    schema: str
    inputs: int
    outputs: int
    training: TrainingPlan
    samples_per_weight: int
    hidden: tuple[int, ...] = ()
    start: Literal["glorot", "fan-in"] = "glorot"
    features: FeatureScale | None = None
    update_fraction_bits: int = 15
    partition: str = "dirichlet:0.5"
    parties: int = 10
    rounds: int = 10

    def keras_model(self, seed: int) -> KerasModel:
        """Build and compile the model, its initial weights drawn from `seed`.

        Raises:
            TensorFlowMissing: TensorFlow is not installed.
        """
        from fl_orchestrator.training.keras import KerasModel

        return KerasModel(lambda: _dense_network(self, seed), deterministic=True)


@dataclass(frozen=True, slots=True)
class PartitionedData:
    """Each party's rows, and the common test set on which all models are compared.

    `test_groups` has the test rows of each natural group, for example each hospital, by its name.
    """

    parties: tuple[Rows, ...]
    test: Rows
    test_groups: dict[str, Rows] = field(default_factory=dict)


def partition_dataset(
    task: Task, dataset: Dataset, spec: str, parties: int, seed: int
) -> PartitionedData:
    """Partition a data set's training rows among parties, and scale features as the task says.

    If parties scale by their own rows, the test rows of a group are scaled as its party's rows.

    Raises:
        BadPartition: the spec is invalid or impossible, or does not suit the task.
    """
    how = PartitionSpec.parse(spec)
    indices = partition(how, dataset.train.y, dataset.groups, parties, seed)
    hands = [dataset.train.take(chosen) for chosen in indices]
    if task.features is not None:
        constants = [task.features] * parties
        test = Rows(task.features.apply(dataset.test.x), dataset.test.y)
    elif how.kind == "column":
        constants = [FeatureScale.of_own_rows(hand.x) for hand in hands]
        test = _scaled_by_group(dataset.test, dataset.test_groups[how.column], constants)
    else:
        raise BadPartition(
            f"In {task.name} each party scales features by its own rows, so every test row must "
            "belong to a party.",
            f"Use --partition {task.partition}.",
        )
    return PartitionedData(
        parties=tuple(
            Rows(c.apply(hand.x), hand.y) for c, hand in zip(constants, hands, strict=True)
        ),
        test=test,
        test_groups={
            name: test.take(np.flatnonzero(dataset.test_groups[column] == number))
            for column, names in dataset.group_names.items()
            for number, name in enumerate(names)
        },
    )


def _scaled_by_group(rows: Rows, groups: Any, constants: list[FeatureScale]) -> Rows:
    x = np.empty_like(rows.x)
    for number, constant in enumerate(constants):
        x[groups == number] = constant.apply(rows.x[groups == number])
    return Rows(x, rows.y)


def _dense_network(task: Task, seed: int) -> Any:
    import keras

    def dense(number: int, units: int, activation: str, name: str) -> Any:
        own_seed = training_seed(seed, name, number) % 2**31
        start = (
            keras.initializers.GlorotUniform(own_seed)
            if task.start == "glorot"
            else keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", own_seed)
        )
        return keras.layers.Dense(units, activation, kernel_initializer=start, name=name)

    layers = [
        dense(number, units, "relu", f"hidden_{number}")
        for number, units in enumerate(task.hidden, start=1)
    ]
    last = "sigmoid" if task.outputs == 1 else "softmax"
    layers.append(dense(0, task.outputs, last, "output"))
    model = keras.Sequential([keras.Input((task.inputs,), name="features"), *layers], name="model")
    optimizer = keras.optimizers.get(
        {
            "class_name": task.training.optimizer,
            # Give a name: Keras would generate a numbered one, which differs in saved models.
            "config": {
                "name": task.training.optimizer,
                "learning_rate": task.training.learning_rate,
            },
        }
    )
    model.compile(optimizer=optimizer, loss=task.training.loss, metrics=list(task.training.metrics))
    return model


BINARY = "binary_crossentropy"
CATEGORICAL = "sparse_categorical_crossentropy"

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="breast-cancer",
            purpose="Tell malignant from benign breast tumours by the shape of their cell nuclei.",
            schema="30 measurements of cell nuclei, as in wdbc.names; label 1 is malignant.",
            inputs=30,
            hidden=(16,),
            outputs=1,
            training=TrainingPlan(5, 8, 0.1, "sgd", BINARY),
            features=scales.BREAST_CANCER,
            samples_per_weight=1,
        ),
        Task(
            name="digits",
            purpose="Read handwritten digits in pictures of 8 x 8 pixels.",
            schema="64 pixels from 0 to 16, row by row; labels 0 to 9.",
            inputs=64,
            hidden=(32,),
            outputs=10,
            training=TrainingPlan(5, 16, 0.1, "sgd", CATEGORICAL),
            features=scales.DIGITS,
            samples_per_weight=2,
        ),
        Task(
            name="heart-disease",
            purpose="Find heart disease with the records of four hospitals (FLamby's setting).",
            schema="13 features of FLamby's Fed-Heart-Disease; label 1 is disease.",
            inputs=13,
            outputs=1,
            # FLamby makes 100 steps of batch 4 at every hospital in each of 15 rounds. A manifest
            # has a number of epochs: four are 200, 172, 32 and 88 steps, 123 on average.
            training=TrainingPlan(4, 4, 0.001, "sgd", BINARY),
            start="fan-in",
            samples_per_weight=1,
            partition="column:hospital",
            parties=4,
            rounds=15,
        ),
        Task(
            name="mnist",
            purpose="Read handwritten digits (McMahan et al. 2017, the 2NN).",
            schema="784 pixels from 0 to 255, row by row; labels 0 to 9.",
            inputs=784,
            hidden=(200, 200),
            outputs=10,
            training=TrainingPlan(1, 10, 0.2, "sgd", CATEGORICAL),
            features=scales.MNIST,
            samples_per_weight=100,
            partition="iid",
        ),
        Task(
            name="credit-german",
            purpose="Tell bad loans from good ones.",
            schema="7 numbers and 13 qualities as indicators, as in german.doc; label 1 is bad.",
            inputs=63,
            outputs=1,
            training=TrainingPlan(5, 8, 0.05, "sgd", BINARY, ("accuracy", "auc")),
            features=scales.CREDIT_GERMAN,
            samples_per_weight=1,
        ),
        Task(
            name="ai4i",
            purpose="Foresee machine failures from sensor readings.",
            schema="5 readings and the product's quality L, M or H; label 1 is a failure.",
            inputs=8,
            hidden=(32,),
            outputs=1,
            training=TrainingPlan(5, 32, 0.1, "sgd", BINARY, ("accuracy", "auc")),
            features=scales.AI4I,
            update_fraction_bits=14,  # some updates exceed 1
            samples_per_weight=16,
        ),
    )
}


def task_named(name: str) -> Task:
    """The task of a data set.

    Raises:
        UnknownTask: no task has this name.
    """
    if name not in TASKS:
        raise UnknownTask(f"There is no task {name!r}.", f"Use one of {', '.join(TASKS)}.")
    return TASKS[name]


def test_set_trainer(dataset: str, partition: str, parties: int, seed: int) -> KerasTrainer:
    """What evaluates models on the test rows that a data set has in a partition.

    Raises:
        UnknownTask, BadPartition: no such task, or no such partition of it.
    """
    from fl_orchestrator.training import datasets
    from fl_orchestrator.training.keras import KerasTrainer

    task = task_named(dataset)
    rows = partition_dataset(task, datasets.load(dataset), partition, parties, seed)
    return KerasTrainer(task.keras_model(seed), rows.test)
