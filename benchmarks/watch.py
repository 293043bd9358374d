"""The cost of watching compared with aggregating: CPU and bytes, from files, in one run.

    python benchmarks/watch.py [--json] [--runs 3] [--parameters 5000000] [--updates 10]

A federation on the development chain runs several rounds. In each, one aggregator fetches the
updates, computes the next model, stores and signs it. Then one watcher, in the same process but
with its own directory, fetches the updates, recomputes the model and compares. The figures cover
only these two steps and are the median of the rounds, without the first one, in which the rules are
compiled. They include the work of the chain in this process (both roles read it, and the aggregator
sends a transaction).
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, RuleSpec, TensorSpec, TrainingSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from fl_orchestrator.simulation.simulation import Shape, Simulation

GOAL: Final = 1.3
RULES: Final = {kind.label: RuleSpec.of(kind) for kind in RuleKind}


class NoiseTrainer:
    """Adds random noise to the weights instead of training."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def fit(
        self,
        weights: list[NDArray[np.float32]],
        config: dict[str, Any],  # noqa: ARG002
    ) -> tuple[list[NDArray[np.float32]], int, dict[str, float]]:
        noise = self._generator.standard_normal
        moved = [w + noise(w.shape, np.float32) * np.float32(0.1) for w in weights]
        return moved, 10, {}

    def evaluate(
        self, weights: list[NDArray[np.float32]], config: dict[str, Any]
    ) -> tuple[float, int, dict[str, float]]:
        raise NotImplementedError


class CountingStore(LocalStore):
    """Counts the bytes that are read from it and written to it, by several threads at once."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.fetched = self.stored = 0
        self._lock = threading.Lock()

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        place = self.locate(cid)
        with self._lock:
            self.fetched += 0 if place is None else place.stat().st_size
        return super().get(cid, max_bytes)

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        return self._counted(super().put(stream, pin=pin))

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        return self._counted(super().put_file(path, pin=pin))

    def _counted(self, cid: Cid) -> Cid:
        place = self.locate(cid)
        with self._lock:
            self.stored += 0 if place is None else place.stat().st_size
        return cid


class Measured:
    """Times those steps of a role in which it acts."""

    def __init__(self, role: Worker, store: CountingStore, counts: str) -> None:
        self._role = role
        self._store = store
        self._counts = counts
        self.samples: list[dict[str, float]] = []

    def step(self) -> Any:
        before = (time.process_time(), self._store.fetched, self._store.stored)
        step = self._role.step()
        cpu = time.process_time() - before[0]
        if step.action == self._counts:
            fetched, stored = self._store.fetched - before[1], self._store.stored - before[2]
            self.samples.append({"cpu_s": cpu, "fetched": fetched, "stored": stored})
        return step


def manifest(parameters: int, rule: str) -> Manifest:
    layout = Layout.of([("w", (parameters,), 0)])
    return Manifest(
        name="benchmark",
        tensors=(TensorSpec(name="w", shape=(parameters,)),),
        depth=layout.depth,
        rule=RULES[rule],
        samples_per_weight=10,
        training=TrainingSpec(
            epochs=1,
            batch_size=1,
            learning_rate=0.1,
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
        ),
    )


def measure(
    directory: Path, rule: str, parameters: int, updates: int, runs: int
) -> dict[str, dict[str, float]]:
    """Return the median figures of both roles."""
    simulation = Simulation(
        directory,
        manifest(parameters, rule),
        [np.zeros(parameters, np.float32)],
        [NoiseTrainer(seed) for seed in range(updates)],
        Shape(1, runs + 1, 0, Terms(updates, updates), relay=False),
    )
    store = CountingStore(directory / "store")
    accounts = simulation.accounts
    aggregating = simulation.context(accounts.aggregators[0], "measured-aggregator")
    watching = simulation.context(accounts.owner, "measured-watcher")
    aggregator = Aggregator(dataclasses.replace(aggregating, store=store))
    watcher = Watcher(dataclasses.replace(watching, store=store), WatcherSettings(secret=bytes(32)))
    measured = {
        "aggregating": Measured(aggregator, store, "attest"),
        "watching": Measured(watcher, store, "check"),
    }
    simulation.replace(accounts.aggregators[0].address, measured["aggregating"])
    simulation.replace(accounts.owner.address, measured["watching"])
    for number in range(1, runs + 2):
        simulation.run_round()

        def checked(_: Observation, number: int = number) -> bool:
            return len(measured["watching"].samples) == number

        simulation.run_until(checked)
    if simulation.observe().current.phase is not Phase.ACCEPTED or watcher.alerts:
        raise RuntimeError("the rounds of the benchmark are wrong")
    return {name: middle(role.samples[1:]) for name, role in measured.items()}


def middle(samples: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """The ratios of watching to aggregating; bytes are the fetched and the stored ones together."""
    watching, aggregating = found["watching"], found["aggregating"]
    moved = [side["fetched"] + side["stored"] for side in (watching, aggregating)]
    return {
        "cpu": watching["cpu_s"] / aggregating["cpu_s"],
        "fetched": watching["fetched"] / aggregating["fetched"],
        "moved": moved[0] / moved[1],
    }


def show(figures: dict[str, Any], parameters: int, updates: int) -> None:
    console = Console()
    table = Table(title=f"Watching over aggregating: {updates} updates of {parameters:,} values")
    headings = ("rule", "aggregating CPU s", "watching CPU s", "CPU", "fetched", "moved", "goal")
    for heading in (*headings, "met"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    for rule, found in figures.items():
        ratio = found["ratio"]
        table.add_row(
            rule,
            f"{found['aggregating']['cpu_s']:.2f}",
            f"{found['watching']['cpu_s']:.2f}",
            *(f"{ratio[key]:.2f}" for key in ("cpu", "fetched", "moved")),
            f"≤ {GOAL}",
            "yes" if max(ratio.values()) <= GOAL else "NO",
        )
    console.print(table)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parameters", type=int, default=5_000_000)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    options = parser.parse_args(arguments)
    silence()
    figures = {}
    for rule in options.rules:
        with tempfile.TemporaryDirectory() as name:
            found = measure(Path(name), rule, options.parameters, options.updates, options.runs)
        figures[rule] = {**found, "ratio": ratios(found)}
    if options.json:
        # The first rule's, for comparisons between versions.
        first = figures[options.rules[0]]["aggregating"]["cpu_s"]
        print(json.dumps({**figures, "aggregator_cpu_s": first}, indent=2))
    else:
        show(figures, options.parameters, options.updates)


if __name__ == "__main__":
    main(sys.argv[1:])
