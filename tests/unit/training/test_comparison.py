"""Alone and pooled make as many steps, with the same seeds, as parties of the federation do."""

from typing import Any

import numpy as np

from fl_orchestrator.training.comparison import train_alone, train_pooled
from fl_orchestrator.training.trainer import FloatArray, Metrics, Settings, training_seed

CONFIG = {"epochs": 2, "batchSize": 10, "learningRate": 0.1}


class Recorder:
    """A trainer that adds one to every weight and notes the settings it was given."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        self.settings.append(Settings.from_config(config))
        return [array + 1 for array in weights], 1, {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        raise AssertionError("training needs no evaluation")


def test_a_party_alone_has_the_seeds_and_settings_of_its_rounds() -> None:
    trainer, start = Recorder(), [np.zeros(2, np.float32)]
    trained = train_alone(trainer, start, CONFIG, run_seed=4, party="party-1", rounds=3)
    assert trained[0].tolist() == [3, 3]
    assert start[0].tolist() == [0, 0]
    assert [s.seed for s in trainer.settings] == [training_seed(4, "party-1", n) for n in (1, 2, 3)]
    assert {(s.epochs, s.steps) for s in trainer.settings} == {(2, None)}


def test_the_pooled_trainer_makes_the_steps_of_the_average_party() -> None:
    trainer = Recorder()
    train_pooled(
        trainer, [np.zeros(1, np.float32)], CONFIG, run_seed=0, party_rows=[8, 30, 100], rounds=2
    )
    # Steps of the parties in a round: 2, 6 and 20.
    assert [s.steps for s in trainer.settings] == [9, 9]
