"""Parties learn to read digits: a convolutional network with BatchNorm, in PyTorch."""

from __future__ import annotations

import functools

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from fl_orchestrator.training.torch import TorchTrainer

METRIC = "accuracy"
SETTINGS = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05}


class Reader(nn.Module):
    """Tensors are federated by their names: call layers what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.output = nn.Linear(8 * 4 * 4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.norm(self.conv(images)))
        return self.output(nn.functional.max_pool2d(found, 2).flatten(1))  # type: ignore[no-any-return]


def rows() -> tuple[TensorDataset, TensorDataset]:
    """Rows to train on, and rows to test on, which nobody trains on: 8 x 8 pictures."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    images = torch.from_numpy((x[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(y[order])
    cut = len(y) // 4
    return TensorDataset(images[cut:], labels[cut:]), TensorDataset(images[:cut], labels[:cut])


def trainer(own: TensorDataset, test: TensorDataset) -> TorchTrainer:
    torch.manual_seed(0)
    sgd = functools.partial(torch.optim.SGD, momentum=0.9)
    return TorchTrainer.of_rows(Reader(), nn.CrossEntropyLoss(), sgd, own, validation=test)


def make_party(number: int, parties: int) -> TorchTrainer:
    """For `flo demo --trainer` and simulate: a part of the training rows."""
    (images, labels), test = rows()[0].tensors, rows()[1]
    return trainer(TensorDataset(images[number::parties], labels[number::parties]), test)


def make_pooled() -> TorchTrainer:
    """All training rows in one place."""
    return trainer(*rows())


def make_trainer() -> TorchTrainer:
    """For `flo party run` and `flo manifest create`: one of four parties."""
    return make_party(0, 4)
