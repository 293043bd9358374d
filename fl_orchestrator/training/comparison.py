"""What a party reaches alone, and what all data pooled would reach, for comparison.

Both are trained as in the federation: the same model and initial weights, the same rule for the
seed of each round, the same settings, a fresh optimizer in each round, the same number of local
steps.

- Alone: a federation of one. In every round the party makes the steps that it makes when it takes
  part, on its own rows; nobody's update is mixed in.
- Pooled: one trainer with the rows of all parties makes, in every round, as many steps as the
  average party does. It sees more different rows, not more steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fl_orchestrator.training.trainer import FloatArray, Settings, Trainer, training_seed


def train_alone(
    trainer: Trainer,
    weights: list[FloatArray],
    config: dict[str, Any],
    *,
    run_seed: int,
    party: str,
    rounds: int,
) -> list[FloatArray]:
    """Train `rounds` times in a row from `weights`, with the party's seeds of those rounds."""
    for number in range(1, rounds + 1):
        settings = {**config, "seed": training_seed(run_seed, party, number)}
        weights, _, _ = trainer.fit(weights, settings)
    return weights


def train_pooled(
    trainer: Trainer,
    weights: list[FloatArray],
    config: dict[str, Any],
    *,
    run_seed: int,
    party_rows: Sequence[int],
    rounds: int,
) -> list[FloatArray]:
    """Train on all rows for as many steps as the average party with `party_rows` rows makes."""
    settings = Settings.from_config({**config, "seed": 0})
    steps = [settings.steps_for(rows) for rows in party_rows]
    return train_alone(
        trainer,
        weights,
        {**config, "steps": round(sum(steps) / len(steps))},
        run_seed=run_seed,
        party="pooled",
        rounds=rounds,
    )
