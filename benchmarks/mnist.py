"""MNIST through the whole system: the number of rounds until 97 % accuracy on the test set.

    python benchmarks/mnist.py [--json] [--seed 0] [--rounds 40] [--target 0.97]

A hundred parties have 600 images each (IID); every round draws 10 parties by stake, on the
development chain. The model is the 2NN of McMahan et al. 2017 (784-200-200-10), trained with E = 1,
B = 10 and SGD with a learning rate of 0.2. The paper needs 87 rounds at its best rate. Float FedAvg
with ten parties in every round needs 30 here (35 without centred pixels). The run stops at the
target, or after ``--rounds`` accepted rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from fl_orchestrator.cli.logs import configure
from fl_orchestrator.simulation.experiment import Experiment
from fl_orchestrator.simulation.options import Options

PROGRESS = Console(stderr=True)
PARTIES, PARTICIPANTS = 100, 10
# A draw may have fewer parties than ``minUpdates``, so allow for a few rounds that are void.
SPARE = 5


@dataclass(frozen=True, slots=True)
class Result:
    """Accuracy after every accepted round; ``rounds_to_target`` is None if it was missed."""

    rounds_to_target: int | None
    accuracy: float
    curve: tuple[float, ...]
    drawn_mean: float
    gas_total: int
    seconds: float


def measure(seed: int, rounds: int, target: float) -> Result:
    """Run the federation in a temporary directory."""
    start = time.perf_counter()
    curve: list[float] = []
    drawn: list[int] = []
    options = Options(
        dataset="mnist",
        parties=PARTIES,
        participants=PARTICIPANTS,
        rounds=rounds + SPARE,
        partition="iid",
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as directory:
        experiment = Experiment(options, Path(directory))
        for _ in range(rounds + SPARE):
            entry = experiment.run_round()
            drawn.append(entry.drawn)
            if entry.accepted:
                curve.append(entry.accuracy)
            PROGRESS.print(
                f"round {entry.round}: {entry.drawn} drawn, {entry.included} included, "
                f"{entry.accuracy:.2%}"
            )
            if len(curve) == rounds or (curve and curve[-1] >= target):
                break
        gas = experiment.simulation.gas_total
    reached = curve[-1] >= target
    return Result(
        rounds_to_target=len(curve) if reached else None,
        accuracy=curve[-1],
        curve=tuple(curve),
        drawn_mean=sum(drawn) / len(drawn),
        gas_total=gas,
        seconds=time.perf_counter() - start,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=40, help="accepted rounds at most")
    parser.add_argument("--target", type=float, default=0.97, help="accuracy to reach")
    options = parser.parse_args(arguments)
    configure(debug=False)
    result = measure(options.seed, options.rounds, options.target)
    if options.json:
        print(json.dumps(asdict(result)))
    elif result.rounds_to_target is None:
        print(f"{result.accuracy:.2%} after {len(result.curve)} rounds: the target was not reached")
    else:
        print(
            f"{result.accuracy:.2%} after {result.rounds_to_target} accepted rounds "
            f"(goal: 97 % within 40), {result.seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
