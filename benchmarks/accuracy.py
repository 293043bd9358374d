"""Accuracy through the whole system: contracts, stores, integer aggregation, real training.

Breast cancer: ten parties, Dirichlet 0.5, ten rounds, four aggregators, compared with the average
party alone and with all data pooled. Heart disease: the four hospitals in FLamby's setting, 15
rounds; the mean of the four accuracies. Five seeds each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fl_orchestrator.cli.logs import configure
from fl_orchestrator.simulation.experiment import Experiment
from fl_orchestrator.simulation.options import Options

SEEDS = range(5)


def breast_cancer(seed: int) -> dict[str, float]:
    """One run of `flo demo` with its defaults."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        experiment = Experiment(Options(seed=seed), Path(directory))
        for _ in range(experiment.options.rounds):
            experiment.run_round()
        experiment.settle()
        comparison = experiment.compare()
    return {
        "federation": comparison.accuracy,
        "alone_mean": comparison.accuracy_alone_mean,
        "pooled": comparison.accuracy_pooled,
        "seconds": time.monotonic() - started,
    }


def heart_disease(seed: int) -> dict[str, float]:
    """FLamby's Fed-Heart-Disease; the mean accuracy over the four hospitals."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        options = Options(dataset="heart-disease", parties=4, rounds=15, seed=seed)
        experiment = Experiment(options, Path(directory))
        for _ in range(options.rounds):
            experiment.run_round()
        by_hospital = experiment.accuracy_by_group(experiment.simulation.head_weights())
    return {
        "mean_of_hospitals": statistics.mean(by_hospital.values()),
        "seconds": time.monotonic() - started,
    }


def main() -> None:
    """Print both tables, or with --json one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    configure(debug=False)
    cancer = [breast_cancer(seed) for seed in SEEDS]
    heart = [heart_disease(seed) for seed in SEEDS]
    summary = {
        "breast_cancer_median": statistics.median(run["federation"] for run in cancer),
        "breast_cancer_always_above_alone": all(
            run["federation"] > run["alone_mean"] for run in cancer
        ),
        "heart_disease_mean": statistics.mean(run["mean_of_hospitals"] for run in heart),
    }
    if arguments.json:
        print(json.dumps({**summary, "breast_cancer": cancer, "heart_disease": heart}))
        return
    console = Console()
    for title, runs in (("breast-cancer", cancer), ("heart-disease", heart)):
        table = Table(title=title, title_justify="left")
        for column in ("seed", *runs[0]):
            table.add_column(column, justify="right")
        for seed, run in zip(SEEDS, runs, strict=True):
            table.add_row(str(seed), *(f"{value:.3f}" for value in run.values()))
        console.print(table)
    console.print(summary)


if __name__ == "__main__":
    main()
