"""The data sets that the demonstration and the benchmarks train on."""

from collections.abc import Callable

from fl_orchestrator.errors import InputError
from fl_orchestrator.training.datasets import images, tables
from fl_orchestrator.training.datasets.dataset import (
    DataFile,
    Dataset,
    DataSetAltered,
    DataSetMissing,
    data_dir,
)

__all__ = [
    "LOADERS",
    "DataFile",
    "DataSetAltered",
    "DataSetMissing",
    "Dataset",
    "UnknownDataSet",
    "data_dir",
    "load",
]

LOADERS: dict[str, Callable[[], Dataset]] = {
    "breast-cancer": tables.load_breast_cancer,
    "digits": images.load_digits,
    "heart-disease": tables.load_heart_disease,
    "mnist": images.load_mnist,
    "credit-german": tables.load_credit_german,
    "ai4i": tables.load_ai4i,
}


class UnknownDataSet(InputError):
    """No data set has this name."""


def load(name: str) -> Dataset:
    """Load a data set by its name.

    Raises:
        UnknownDataSet: no data set has this name.
        DataSetMissing: its file is absent; the message has the expected path.
        DataSetAltered: its file is not the published one.
    """
    if name not in LOADERS:
        raise UnknownDataSet(f"There is no data set {name!r}.", f"Use one of {', '.join(LOADERS)}.")
    return LOADERS[name]()
