"""Two baselines for comparison: one party alone, and all data pooled.

Both are trained as in the federation: the same model and initial weights, the same rule for the
seed of each round, the same settings, a reset optimizer in each round, the same number of local
steps.

- Alone: in every round the party makes the same number of steps on its own rows as in the
  federation, but no updates are aggregated.
- Pooled: one trainer with the rows of all parties makes, in every round, as many steps as the
  average party. So it uses more different rows, but not more steps.
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
    """Train for `rounds` rounds from `weights`, with the party's seeds of these rounds."""
    for number in range(1, rounds + 1):
        settings = {**config, "seed": training_seed(run_seed, party, number), "round": number}
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
