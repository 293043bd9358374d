"""What `flo verify` costs: CPU seconds for each update of a recorded run.

    python benchmarks/verify.py [--json] [--parties 100] [--rounds 100] [--parameters 1000]
                                [--run DIR]

It records a run of trainers that send random numbers, or takes the one in ``--run``, and verifies
it: every recorded transaction is sent to a new chain again, and every model is computed again from
its updates. The CPU seconds are those of the whole command, from its start to its end, and are
compared with those of the recording, where there was one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fl_orchestrator import simulate
from fl_orchestrator.training.trainer import FloatArray, Metrics


class Random:
    """A party whose updates differ from all others, as equal ones count once."""

    def __init__(self, parameters: int, number: int) -> None:
        self._first = np.zeros(parameters, np.float32)
        self._number = number

    def initial_weights(self) -> dict[str, FloatArray]:
        return {"weights": self._first}

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        generator = np.random.Generator(np.random.PCG64([self._number, int(config["round"])]))
        moved = generator.normal(0, 0.01, weights[0].shape).astype(np.float32)
        return [weights[0] + moved], 20, {}

    def evaluate(
        self, _weights: list[FloatArray], _config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        return 0.0, 20, {}


def record(directory: Path, parties: int, rounds: int, parameters: int) -> float:
    """Record a run; return its CPU seconds."""
    began = time.process_time()
    simulate(
        [Random(parameters, number) for number in range(parties)],
        rounds=rounds,
        evaluate=None,
        directory=directory,
        progress=False,
    )
    return time.process_time() - began


def verify(directory: Path) -> dict[str, float]:
    """The CPU and wall seconds of `flo verify`. Raises CalledProcessError if the run is wrong."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "fl_orchestrator", "verify", str(directory), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": cpu, "wall_s": time.monotonic() - began}


def measure(directory: Path, recorded: float | None) -> dict[str, Any]:
    history = json.loads((directory / "history.json").read_text())
    updates = sum(entry["included"] for entry in history["rounds"])
    found = verify(directory)
    ratio = {} if recorded is None else {"cpu_over_recording": found["cpu_s"] / recorded}
    return {
        "parties": history["parties"],
        "rounds": len(history["rounds"]),
        "updates": updates,
        **found,
        "cpu_s_per_update": found["cpu_s"] / updates,
        "cores": os.cpu_count(),
        **ratio,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parties", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000)
    parser.add_argument("--run", type=Path, help="a run that is recorded already")
    options = parser.parse_args()
    if options.run is not None:
        found = measure(options.run, None)
    else:
        with tempfile.TemporaryDirectory(prefix="flo-verify-") as temporary:
            directory = Path(temporary) / "run"
            sizes = (options.parties, options.rounds, options.parameters)
            found = measure(directory, record(directory, *sizes))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    table = Table("figure", "value", title="flo verify")
    for name, value in found.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
