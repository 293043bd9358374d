"""Record-level privacy on FLamby's heart disease, beside the results that FLamby published.

Logistic regression in four hospitals, 15 rounds of 100 steps of batch 4, SGD with rate 0.001, clip
norm 1.1; the mean accuracy of the four hospitals, over five seeds. FedAvg is in floats here, and
noise is seeded. The trainer, the noise and the accountant are those of `flo party run`.

Noise is drawn for the stated epsilon in two ways. `all steps` counts the 1,500 steps that every
hospital makes. `15 epochs` counts 15 passes over its rows, as we read FLamby's code: fewer
steps than it makes (120 of 1,500 in the smallest hospital), so less noise, and an epsilon that is
larger than stated; the column `real` has the largest of the four.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fl_orchestrator.privacy.accounting import epsilon_of, noise_for
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.datasets import load
from fl_orchestrator.training.dp_sgd import Mechanism, PrivateTrainer, Protection, seeded
from fl_orchestrator.training.tasks import partition_dataset, task_named
from fl_orchestrator.training.trainer import FloatArray, Metrics, training_seed

SEEDS: Final = range(5)
ROUNDS: Final = 15
STEPS: Final = 100
BATCH: Final = 4
CLIP: Final = 1.1
RATE: Final = 0.001
#: Epsilon, delta, and FLamby's mean accuracy with its standard deviation.
PUBLISHED: Final = (
    (None, None, 0.7125, 0.024),
    (5.0, 1e-3, 0.700, 0.041),
    (1.0, 1e-3, 0.702, 0.044),
    (1.0, 1e-4, 0.685, 0.055),
    (0.1, 1e-3, 0.629, 0.086),
    (0.1, 1e-4, 0.606, 0.121),
)


class Sigmoid:
    """Logistic regression with one output, as FLamby's (a `Trainer`, and `PerRow`)."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def row_count(self) -> int:
        return len(self._rows)

    def row_gradients(
        self, weights: list[NDArray[np.float64]], rows: NDArray[np.int64]
    ) -> list[NDArray[np.float64]]:
        kernel, bias = weights
        x = self._rows.x[rows].astype(np.float64)
        slope = 1.0 / (1.0 + np.exp(-(x @ kernel + bias))) - self._rows.y[rows][:, None]
        return [x[:, :, None] * slope[:, None, :], slope]

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        """Without privacy: batches of a permutation, for the row `none`."""
        now = [array.astype(np.float64) for array in weights]
        shuffle = np.random.Generator(np.random.PCG64(config["seed"]))
        order = np.concatenate([shuffle.permutation(len(self._rows)) for _ in range(STEPS)])
        for step in range(STEPS):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            for values, slopes in zip(now, self.row_gradients(now, chosen), strict=True):
                values -= RATE * slopes.mean(axis=0)
        return [array.astype(np.float32) for array in now], len(self._rows), {}

    def evaluate(
        self,
        weights: list[FloatArray],
        config: dict[str, Any],  # noqa: ARG002 - part of the Trainer protocol
    ) -> tuple[float, int, Metrics]:
        kernel, bias = weights
        right = ((self._rows.x @ kernel + bias)[:, 0] > 0) == (self._rows.y > 0)
        return float("nan"), len(self._rows), {"accuracy": float(right.mean())}


@dataclass(frozen=True, slots=True)
class Privacy:
    """The noise of each hospital, and the largest epsilon that it really gives."""

    noise: tuple[float, ...]
    real: float


def privacy_for(epsilon: float, delta: float, sizes: list[int], all_steps: bool) -> Privacy:
    """Noise for an epsilon over all rounds, counting all steps, or 15 passes over the rows."""
    noise, real = [], []
    for rows in sizes:
        counted = ROUNDS * STEPS if all_steps else ROUNDS * -(-rows // BATCH)
        noise.append(noise_for(BATCH / rows, counted, epsilon, delta))
        made = Mechanism(noise[-1], BATCH / rows, STEPS)
        real.append(epsilon_of({made: ROUNDS}, delta))
    return Privacy(tuple(noise), max(real))


def accuracy(seed: int, noise: tuple[float, ...] | None) -> float:
    """The mean of the hospitals' accuracies after all rounds of one run."""
    task, dataset = task_named("heart-disease"), load("heart-disease")
    data = partition_dataset(task, dataset, task.partition, task.parties, seed)
    hospitals = [Sigmoid(rows) for rows in data.parties]
    trainers = [
        hospital if noise is None else PrivateTrainer(hospital, Protection(n, CLIP), seeded)
        for hospital, n in zip(hospitals, noise or [0.0] * len(hospitals), strict=True)
    ]
    draw, bound = np.random.default_rng(seed), 1 / np.sqrt(task.inputs)
    weights = [
        draw.uniform(-bound, bound, shape).astype(np.float32) for shape in ((task.inputs, 1), (1,))
    ]
    config = {"steps": STEPS, "epochs": 1, "batchSize": BATCH, "learningRate": RATE}
    for number in range(1, ROUNDS + 1):
        fits = [
            trainer.fit(weights, {**config, "seed": training_seed(seed, str(site), number)})
            for site, trainer in enumerate(trainers)
        ]
        total = sum(rows for _, rows, _ in fits)
        weights = [
            np.sum([array * (rows / total) for array, rows in parts], axis=0, dtype=np.float32)
            for parts in zip(
                *([(array, rows) for array in trained] for trained, rows, _ in fits), strict=True
            )
        ]
    return statistics.mean(
        Sigmoid(rows).evaluate(weights, {})[2]["accuracy"] for rows in data.test_groups.values()
    )


def measured(noise: tuple[float, ...] | None) -> tuple[float, float]:
    """Mean and standard deviation over the seeds."""
    found = [accuracy(seed, noise) for seed in SEEDS]
    return statistics.mean(found), statistics.stdev(found)


def main() -> None:
    """Print a table, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    task, dataset = task_named("heart-disease"), load("heart-disease")
    parties = partition_dataset(task, dataset, task.partition, task.parties, 0).parties
    sizes = [len(rows) for rows in parties]
    runs: list[dict[str, Any]] = []
    for epsilon, delta, theirs, their_deviation in PUBLISHED:
        run: dict[str, Any] = {"epsilon": epsilon, "delta": delta}
        run["flamby"], run["flamby_deviation"] = theirs, their_deviation
        if epsilon is None or delta is None:
            run["ours"], run["deviation"] = measured(None)
        else:
            for prefix, all_steps in (("", True), ("epochs_", False)):
                privacy = privacy_for(epsilon, delta, sizes, all_steps)
                run[f"{prefix}ours"], run[f"{prefix}deviation"] = measured(privacy.noise)
                run[f"{prefix}noise"] = privacy.noise
                run[f"{prefix}real_epsilon"] = privacy.real
        runs.append(run)
    if arguments.json:
        print(json.dumps({"rows": sizes, "heart_disease": runs}))
        return
    table = Table(title="heart-disease, mean accuracy of 4 hospitals", title_justify="left")
    for column in ("epsilon", "delta", "FLamby", "all steps", "15 epochs", "real"):
        table.add_column(column, justify="right")
    for run in runs:
        private = run["epsilon"] is not None
        table.add_row(
            f"{run['epsilon']:g}" if private else "none",
            f"{run['delta']:g}" if private else "",
            f"{run['flamby']:.3f} ± {run['flamby_deviation']:.3f}",
            f"{run['ours']:.3f} ± {run['deviation']:.3f}",
            f"{run['epochs_ours']:.3f} ± {run['epochs_deviation']:.3f}" if private else "",
            f"{run['epochs_real_epsilon']:.3g}" if private else "",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
