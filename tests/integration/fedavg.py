"""Federated averaging without chain or files: NumPy floats, rounded as updates are.

A reference for the accuracy of tasks. The federation itself is tested through the whole system.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fl_orchestrator.training.comparison import train_alone
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasModel, KerasTrainer
from fl_orchestrator.training.tasks import Task
from fl_orchestrator.training.trainer import FloatArray, training_seed


@dataclass
class Federation:
    """Parties that train one shared model; `clipped` counts update values beyond the range."""

    task: Task
    model: KerasModel
    parties: Sequence[Rows]
    seed: int
    overrides: dict[str, Any] = field(default_factory=dict)
    clipped: int = 0

    def __post_init__(self) -> None:
        self.config = {**self.task.training.config(), **self.overrides}
        self.trainers = [KerasTrainer(self.model, rows) for rows in self.parties]

    def train(self, rounds: int, participants: int | None = None) -> list[FloatArray]:
        """Average the parties' updates for `rounds`; draw `participants` of them in each."""
        weights = self.model.initial_weights
        draw = np.random.default_rng(self.seed)
        for number in range(1, rounds + 1):
            chosen = draw.permutation(len(self.parties))[:participants]
            updates = [self._update(int(party), number, weights) for party in chosen]
            shares = np.array(
                [-(-len(self.parties[p]) // self.task.samples_per_weight) for p in chosen]
            )
            mean = [
                np.tensordot(shares / shares.sum(), tensors, 1)
                for tensors in zip(*updates, strict=True)
            ]
            weights = [(w + m).astype(np.float32) for w, m in zip(weights, mean, strict=True)]
        return weights

    def alone(self, party: int, rounds: int) -> list[FloatArray]:
        """The weights that one party reaches alone with as many training steps."""
        return train_alone(
            self.trainers[party],
            self.model.initial_weights,
            self.config,
            run_seed=self.seed,
            party=f"party-{party}",
            rounds=rounds,
        )

    def _update(self, party: int, number: int, weights: list[FloatArray]) -> list[np.ndarray]:
        seed = training_seed(self.seed, f"party-{party}", number)
        trained, _, _ = self.trainers[party].fit(weights, {**self.config, "seed": seed})
        unit = 2.0**self.task.update_fraction_bits
        steps = [
            np.rint((t.astype(np.float64) - w) * unit)
            for t, w in zip(trained, weights, strict=True)
        ]
        self.clipped += sum(int((np.abs(step) > 32767).sum()) for step in steps)
        return [np.clip(step, -32767, 32767) / unit for step in steps]
