"""Compares a federation with each party alone, and with all rows in one place.

    python examples/compare.py credit_german --parties 10 --rounds 20

The folder beside this file has a `party.py` with `make_party`, `make_pooled`, `METRIC` and
`SETTINGS`. Everybody starts from the same weights and trains for as many rounds with the same
settings. All are measured on the same test rows, which nobody trains on.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from fl_orchestrator import simulate
from fl_orchestrator.training.comparison import train_alone
from fl_orchestrator.training.trainer import Trainer


def trained_alone(trainer: Trainer, party: Any, name: str, rounds: int) -> float:
    """The metric of one trainer without the others."""
    settings = party.SETTINGS
    config = {
        "epochs": settings["epochs"],
        "batchSize": settings["batch_size"],
        "learningRate": settings["learning_rate"],
    }
    pooled = party.make_pooled()
    first = list(pooled.initial_weights().values())
    weights = train_alone(trainer, first, config, run_seed=0, party=name, rounds=rounds)
    _, _, metrics = pooled.evaluate(weights, {**config, "seed": 0, "round": rounds})
    return float(metrics[party.METRIC])


def main() -> None:
    parser = argparse.ArgumentParser(description="A federation, its parties alone, and all pooled.")
    parser.add_argument("example", help="a folder beside this file")
    parser.add_argument("--parties", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent / chosen.example))
    party = importlib.import_module("party")
    result = simulate(
        party.make_party,
        parties=chosen.parties,
        rounds=chosen.rounds,
        evaluate=party.make_pooled(),
        **party.SETTINGS,
    )
    last = result.rounds[-1]
    federated = last.metrics.get(party.METRIC, math.nan)
    if party.METRIC == "accuracy":
        federated = last.accuracy
    alone = [
        trained_alone(party.make_party(number, chosen.parties), party, str(number), chosen.rounds)
        for number in range(chosen.parties)
    ]
    pooled = trained_alone(party.make_pooled(), party, "pooled", chosen.rounds)
    print(f"{party.METRIC} of {chosen.parties} parties after {chosen.rounds} rounds")
    print(f"federated          {federated:.3f}")
    print(f"alone, mean        {statistics.mean(alone):.3f}")
    print(f"alone, best        {max(alone):.3f}")
    print(f"pooled             {pooled:.3f}")


if __name__ == "__main__":
    main()
