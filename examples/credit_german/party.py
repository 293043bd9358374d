"""Banks tell bad loans from good ones: logistic regression by scikit-learn on their own files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier

from fl_orchestrator.training.csv_table import CsvTable
from fl_orchestrator.training.sklearn import SklearnTrainer

METRIC = "auc"
SETTINGS = {"epochs": 3, "batch_size": 1, "learning_rate": 0.01}

# As in german.doc. For numbers: a middle and a scale, round figures that all banks agreed on. For
# categories: their codes, all of them, because a bank may have rows of some only.
NUMBERS = {
    "months": (24, 12),
    "amount": (3_000, 3_000),
    "rate": (2.5, 1),
    "residence": (2.5, 1),
    "age": (35, 12),
    "credits": (1.5, 0.5),
    "dependants": (1.5, 0.5),
}
CATEGORIES = {
    "account": [f"A1{code}" for code in range(1, 5)],
    "history": [f"A3{code}" for code in range(5)],
    "purpose": [f"A4{code}" for code in range(11)],
    "savings": [f"A6{code}" for code in range(1, 6)],
    "employment": [f"A7{code}" for code in range(1, 6)],
    "status": [f"A9{code}" for code in range(1, 6)],
    "guarantors": [f"A10{code}" for code in range(1, 4)],
    "property": [f"A12{code}" for code in range(1, 5)],
    "plans": [f"A14{code}" for code in range(1, 4)],
    "housing": [f"A15{code}" for code in range(1, 4)],
    "job": [f"A17{code}" for code in range(1, 5)],
    "telephone": [f"A19{code}" for code in range(1, 3)],
    "foreign": [f"A20{code}" for code in range(1, 3)],
}
COLUMNS = (
    *("account", "months", "history", "purpose", "amount", "savings", "employment", "rate"),
    *("status", "guarantors", "residence", "property", "age", "plans", "housing", "credits"),
    *("job", "dependants", "telephone", "foreign", "loan"),
)

Rows = tuple[NDArray[np.float32], NDArray[np.int32]]


def load(file: Path) -> Rows:
    """The features and labels of a bank's file; label 1 is a bad loan."""
    table = CsvTable(file, COLUMNS)
    middle, scale = np.array(list(NUMBERS.values()), np.float32).T
    numbers = (table.numbers(NUMBERS) - middle) / scale
    indicators = [table.indicators(name, codes) for name, codes in CATEGORIES.items()]
    return np.concatenate([numbers, *indicators], axis=1), table.codes("loan", ["1", "2"])


def trainer(train: Rows, test: Rows) -> SklearnTrainer:
    model = SGDClassifier(loss="log_loss", learning_rate="constant", alpha=0.001)
    return SklearnTrainer(model, *train, validation=test, classes=[0, 1])


def split(rows: Rows) -> tuple[Rows, Rows]:
    """Three quarters to train on, and a quarter to test on."""
    x, y = rows
    order = np.random.default_rng(0).permutation(len(y))
    test, train = np.split(order, [len(y) // 4])
    return (x[train], y[train]), (x[test], y[test])


def make_trainer() -> SklearnTrainer:
    """For `flo party run --trainer party.py`: the bank's own file is BANK_DATA."""
    return trainer(*split(load(Path(os.environ["BANK_DATA"]))))


def make_party(number: int, parties: int) -> SklearnTrainer:
    """For `flo demo --trainer` and simulate: a part of the whole data set's training rows."""
    (x, y), test = split(load(data()))
    return trainer((x[number::parties], y[number::parties]), test)


def make_pooled() -> SklearnTrainer:
    """All training rows in one place."""
    return trainer(*split(load(data())))


def data() -> Path:
    return Path(os.environ.get("FLO_DATA_DIR", "../shared/data")) / "credit_german" / "german.data"
