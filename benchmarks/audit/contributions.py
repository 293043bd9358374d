"""What `flo report --contributions` costs for ten parties, and how near a sample comes.

    python benchmarks/audit/contributions.py [--json] [--parties 10] [--rounds 2]
                                             [--permutations 100] [--seeds 20]
                                             [--parameters 1000000]

Two runs are recorded and measured: breast cancer with the logistic regression in NumPy, whose
models are evaluated on the test set, once over all subsets of the parties and once by a sample of
their orders; and a large model of noise, whose evaluation costs nothing, so that what is left is
the aggregation of the subsets, in CPU seconds over those of aggregating all updates once. The
sample is taken with several seeds: *coverage* is how often a stated interval has the exact value,
which for a right error is 0.95.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from verify import Random

from fl_orchestrator import simulate
from fl_orchestrator.audit.contribution.contributions import Contributions, Evaluate, Settings
from fl_orchestrator.audit.federation import Federation
from fl_orchestrator.audit.recorded_run import open_run
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.roles.party.rehearsal import evaluation
from fl_orchestrator.training import datasets
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.tasks import partition_dataset, task_named
from fl_orchestrator.training.trainer import FloatArray, Metrics

#: So many orders that all subsets are no more work.
ALL = 1_000_000


def measured(
    auditor: Federation, evaluate: Evaluate, permutations: int, seed: int = 0
) -> tuple[dict[str, Any], float]:
    """The contributions, and the CPU seconds beside those of computing every model once."""
    contributions = Contributions(auditor, evaluate, Settings(permutations=permutations, seed=seed))
    seconds = 0.0

    def look(*arguments: Any) -> None:
        nonlocal seconds
        began = time.process_time()
        contributions.look(*arguments)
        seconds += time.process_time() - began

    for _, error in auditor.outcomes(look):
        if error is not None:
            raise error
    return contributions.to_json(), seconds


def opened(directory: Path) -> Federation:
    run = open_run(directory)
    return Federation(run.federation, run.store)


def real(parties: int, rounds: int, permutations: int, seeds: int) -> dict[str, Any]:
    task, data = task_named("breast-cancer"), datasets.load("breast-cancer")
    split = partition_dataset(task, data, task.partition, parties, 0)
    trainers = [NumpyLogistic(rows, 2) for rows in split.parties]
    with tempfile.TemporaryDirectory(prefix="flo-contributions-") as temporary:
        directory = Path(temporary) / "run"
        simulate(
            trainers,
            rounds=rounds,
            epochs=5,
            loss="sparse_categorical_crossentropy",
            directory=directory,
            progress=False,
        )
        auditor = opened(directory)
        judge = NumpyLogistic(split.test, 2)

        def evaluate(weights: list[FloatArray], number: int) -> tuple[Metrics, int]:
            return evaluation(judge, auditor.manifest, weights, number)

        exact, of_all = measured(auditor, evaluate, ALL)
        samples = [measured(auditor, evaluate, permutations, seed) for seed in range(seeds)]
    right = [one["shapley"] for one in exact["parties"]]
    off, errors, inside = [], [], []
    for sample, _ in samples:
        for one, value in zip(sample["parties"], right, strict=True):
            low, high = one["interval95"]
            inside.append(low <= value <= high)
            off.append(one["shapley"] - value)
            errors.append(one["standardError"])
    return {
        "rounds": rounds,
        "exact: models evaluated a round": exact["evaluations"] / rounds,
        "exact: CPU-s a round": of_all / rounds,
        "sample: models evaluated a round": samples[0][0]["evaluations"] / rounds,
        "sample: CPU-s a round": sum(cpu for _, cpu in samples) / seeds / rounds,
        "exact: largest value": max(right),
        "exact: least value": min(right),
        "sample: root mean square error": float(np.sqrt(np.mean(np.square(off)))),
        "sample: mean standard error": float(np.mean(errors)),
        "sample: coverage": float(np.mean(inside)),
    }


def large(parties: int, parameters: int, permutations: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="flo-contributions-") as temporary:
        directory = Path(temporary) / "run"
        trainers = [Random(parameters, number) for number in range(parties)]
        simulate(trainers, rounds=1, evaluate=None, directory=directory, progress=False)
        auditor = opened(directory)
        counter = itertools.count()
        found, seconds = measured(
            auditor, lambda *_: ({"loss": float(next(counter) % 7)}, 1), permutations
        )
        once = aggregated_once(auditor)
    return {
        "parameters": parameters,
        "large: models a round": found["evaluations"],
        "large: CPU-s a model": seconds / found["evaluations"],
        "large: over aggregating all updates once": seconds / found["evaluations"] / once,
    }


def aggregated_once(auditor: Federation) -> float:
    """The least CPU seconds of five aggregations of all updates, which write no file."""
    found: list[float] = []

    def look(_model: Any, result: Any, computed: Any) -> None:
        base, updates = computed.inputs(result)
        for _ in range(5):
            began = time.process_time()
            computed.next_weights(base, updates)
            found.append(time.process_time() - began)

    list(auditor.outcomes(look))
    return float(np.min(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parties", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    options = parser.parse_args()
    silence()
    found = {
        "parties": options.parties,
        **real(options.parties, options.rounds, options.permutations, options.seeds),
        **large(options.parties, options.parameters, options.permutations),
    }
    if options.json:
        print(json.dumps(found, indent=2))
        return
    table = Table("figure", "value", title="flo report --contributions")
    for name, value in found.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
