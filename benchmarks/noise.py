"""Noise on sums: accuracy by the number of parties and the epsilon of all rounds together.

    python benchmarks/noise.py [--json] [--rounds 30] [--seeds 3] [--datasets digits,mnist]

Parties of equal size (IID) train a softmax regression. Updates are clipped, get their part of the
noise, are added modulo 2^32 and become the next state, all as in a private federation, but without
chain, masks and files. A contract takes at most 88 parties; the row of 100 is beyond that.

Epsilon is for a whole party, at delta 1e-5, over all rounds, if four fifths of the parties are
honest. The norm to which updates are clipped is the median norm of the first updates of the first
seed, which looks at the data of all parties. `flo` chooses no norm: the members agree on one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fl_orchestrator.model.fixed_point import encode_update, float_view, next_state
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import NoiseSpec
from fl_orchestrator.privacy.accounting import epsilon_of_sums
from fl_orchestrator.privacy.masks import weighted
from fl_orchestrator.privacy.noise import noise_seed, with_noise, within_norm
from fl_orchestrator.privacy.unmask import steps
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.datasets import load
from fl_orchestrator.training.tasks import partition_dataset, task_named

BITS: Final = 15
STEP_LIMIT: Final = 32_767
DELTA: Final = 1e-5
EPSILONS: Final = (math.inf, 8.0, 4.0, 1.0)
PARTIES: Final = (20, 50, 100)
EPOCHS, BATCH, RATE = 2, 10, 0.05

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Site:
    """A party's rows, standardised, and its labels."""

    rows: Rows

    def train(self, weights: list[Array], seed: int) -> list[Array]:
        """Return the weights and biases after some epochs of plain SGD."""
        w, b = (array.astype(np.float32).copy() for array in weights)
        draw = np.random.default_rng(seed)
        x, y = self.rows.x, self.rows.y.astype(np.int64)
        for _ in range(EPOCHS):
            order = draw.permutation(len(y))
            for start in range(0, len(y), BATCH):
                chosen = order[start : start + BATCH]
                errors = _softmax(x[chosen] @ w + b)
                errors[np.arange(chosen.size), y[chosen]] -= 1
                w -= RATE / chosen.size * (x[chosen].T @ errors)
                b -= RATE / chosen.size * errors.sum(axis=0)
        return [w, b]


def _softmax(scores: Array) -> Array:
    powers: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


class Crowd:
    """The parties of one data set."""

    def __init__(self, dataset: str, parties: int, seed: int) -> None:
        task = task_named(dataset)
        split = partition_dataset(task, load(dataset), "iid", parties, seed)
        self.sites = [Site(rows) for rows in split.parties]
        self.test = split.test
        self.layout = Layout.of(
            [("w", (task.inputs, task.outputs), 0), ("b", (task.outputs,), 0)], packed=True
        )

    def updates(self, state: NDArray[np.int32], seed: int) -> list[NDArray[np.int16]]:
        weights = float_view(self.layout, state)
        trained = (site.train(weights, seed + i) for i, site in enumerate(self.sites))
        return [encode_update(self.layout, BITS, new, state).vector for new in trained]

    def accuracy(self, state: NDArray[np.int32]) -> float:
        w, b = float_view(self.layout, state)
        found = (self.test.x @ w + b).argmax(axis=1)
        return float((found == self.test.y).mean())

    def first_norm(self) -> float:
        """The median norm of the updates of the first round, in units of the weights."""
        zero = np.zeros(self.layout.parameters, np.int32)
        norms = [np.linalg.norm(u.astype(float)) for u in self.updates(zero, 0)]
        return float(np.median(norms)) / 2.0**BITS

    def run(self, noise: NoiseSpec | None, rounds: int, seed: int) -> float:
        """The accuracy of the last model."""
        state = np.zeros(self.layout.parameters, np.int32)
        draw = random.Random(seed)
        for number in range(1, rounds + 1):
            total = np.zeros(state.size, np.uint32)
            for update in self.updates(state, seed * 1_000_003 + number * 1_009):
                short = update if noise is None else within_norm(update, noise.norm(BITS))
                blocks = iter([weighted(short, 1)])
                if noise is not None:
                    seed_of_party = noise_seed(draw.randbytes(32), number)
                    blocks = with_noise(blocks, seed_of_party, noise.variance(BITS), state.size)
                for block in blocks:
                    total += block
            (moved,) = steps([total.view(np.int32)], len(self.sites), STEP_LIMIT)
            state = next_state(state, moved, BITS)
        return self.accuracy(state)


def terms_for(epsilon: float, clip: float, parties: int, size: int, rounds: int) -> NoiseSpec:
    """The least noise, to 1 percent, whose epsilon over all rounds is at most ``epsilon``."""
    low, high = 0.1, 1e4
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        spec = _spec(clip, middle, parties, rounds)
        fits = epsilon_of_sums(spec, BITS, size, rounds) <= epsilon
        low, high = (low, middle) if fits else (middle, high)
    return _spec(clip, high, parties, rounds)


def _spec(clip: float, multiplier: float, parties: int, rounds: int) -> NoiseSpec:
    honest = max(1, parties * 4 // 5)
    return NoiseSpec(clip=clip, multiplier=multiplier, honest=honest, delta=DELTA, rounds=rounds)


def measure(datasets: Sequence[str], rounds: int, seeds: int) -> dict[str, float]:
    """Accuracies by data set, parties and epsilon: means over the seeds."""
    figures = {}
    for dataset in datasets:
        for parties in PARTIES:
            crowds = [Crowd(dataset, parties, seed) for seed in range(seeds)]
            clip, size = crowds[0].first_norm(), crowds[0].layout.parameters
            for epsilon in EPSILONS:
                noise = None
                if epsilon < math.inf:
                    noise = terms_for(epsilon, clip, parties, size, rounds)
                found = [crowd.run(noise, rounds, seed) for seed, crowd in enumerate(crowds)]
                figures[f"{dataset}_{parties}_{epsilon:g}"] = float(np.mean(found))
    return figures


def show(figures: dict[str, float], datasets: Sequence[str]) -> None:
    """Print a table."""
    table = Table("data set, parties", title="Accuracy by epsilon of all rounds")
    for epsilon in EPSILONS:
        table.add_column("no noise" if epsilon == math.inf else f"{epsilon:g}", justify="right")
    for dataset in datasets:
        for parties in PARTIES:
            cells = (f"{figures[f'{dataset}_{parties}_{e:g}']:.3f}" for e in EPSILONS)
            table.add_row(f"{dataset}, {parties}", *cells)
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--datasets", default="digits,mnist")
    options = parser.parse_args(arguments)
    datasets = options.datasets.split(",")
    figures = measure(datasets, options.rounds, options.seeds)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, datasets)


if __name__ == "__main__":
    main()
