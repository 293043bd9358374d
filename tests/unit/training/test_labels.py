"""The labels that a trainer may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fl_orchestrator.training.checked import CheckedTrainer
from fl_orchestrator.training.failures import TrainerFailed


class _Named:
    def __init__(self, labels: Any) -> None:
        self._labels = labels

    def fit(self, weights: Any, config: Any) -> Any:
        return weights, 1, {}

    def evaluate(self, weights: Any, config: Any) -> Any:
        return 0.0, 0, {}

    def classes(self) -> Any:
        return self._labels


class _Unnamed(_Named):
    classes = None  # type: ignore[assignment]


def labels(value: Any) -> list[str] | None:
    return CheckedTrainer(_Named(value), Path("mine.py")).classes()


def test_a_trainer_may_name_its_labels_or_not() -> None:
    assert CheckedTrainer(_Unnamed(None), Path("mine.py")).classes() is None
    assert labels(None) is None
    assert labels(("no", "yes")) == ["no", "yes"]


@pytest.mark.parametrize("wrong", [[0, 1], "no", {"no": 0}, 2])
def test_labels_are_a_list_of_texts(wrong: Any) -> None:
    with pytest.raises(TrainerFailed, match="a list of texts"):
        labels(wrong)
