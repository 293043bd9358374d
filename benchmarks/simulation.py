"""What a simulated round costs beside training, and how long Flower's own simulation takes for it.

    make .tools/flower/.installed
    python benchmarks/simulation.py [--json] [--parties 10 50 100] [--rounds 4] [--parameters 1000]
                                    [--crowd 1000 50]

Both sides train the same tiny fit (each weight is halved, and 0.25 added, and a thousandth for each
party before this one, so that no two updates are equal) with all parties drawn, FedAvg, and no
evaluation, one after the other on the same machine. A round lasts from the end of the round before
to its own end; the first round and the set-up do not count, and the median of the others does.
Ours runs the real contracts and roles in one process, with four aggregators, records everything,
and its CPU seconds are those of the process without the trainers' own. Flower's backend is Ray,
with an actor for each core.

``--crowd`` are the parties that are registered, and how many of them a round draws on average, for
rounds of ours alone; what comes before the first round is shown too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from fl_orchestrator import RoundEntry, simulate
from fl_orchestrator.training.trainer import FloatArray, Metrics

HERE: Final = Path(__file__).resolve().parent
LONGEST: Final = 400
FLOWER: Final = HERE.parent / ".tools/flower/bin/python"


class Tiny:
    """A party whose fit takes microseconds; ``spent`` are the CPU seconds in it."""

    spent = 0.0

    def __init__(self, parameters: int, number: int) -> None:
        self.shift = np.float32(0.25 + number / 1000)
        self.first = np.zeros(parameters, np.float32)

    def initial_weights(self) -> dict[str, FloatArray]:
        return {"weights": self.first}

    def fit(
        self, weights: list[FloatArray], _config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        began = time.process_time()
        trained = weights[0] * np.float32(0.5) + self.shift
        Tiny.spent += time.process_time() - began
        return [trained], 20, {}

    def evaluate(
        self, _weights: list[FloatArray], _config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        return 0.0, 20, {}


def ours(
    parties: int, rounds: int, parameters: int, participants: int | None = None
) -> dict[str, float]:
    """The median seconds of a round, wall and CPU, without training; and those of the set-up."""
    ends: list[tuple[float, float]] = []
    began = (time.monotonic(), time.process_time() - Tiny.spent)

    def ended(_entry: RoundEntry) -> None:
        ends.append((time.monotonic(), time.process_time() - Tiny.spent))

    simulate(
        [Tiny(parameters, number) for number in range(parties)],
        rounds=rounds,
        evaluate=None,
        participants=participants,
        on_round=ended,
        progress=False,
    )
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(ends)]
    wall, cpu = (statistics.median(values) for values in zip(*spans, strict=True))
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "setup_wall_s": ends[0][0] - began[0] - wall,
        "setup_cpu_s": ends[0][1] - began[1] - cpu,
    }


def flowers(python: Path, parties: int, rounds: int, parameters: int) -> float:
    """The median seconds of a round of Flower's simulation."""
    sizes = [str(parties), str(rounds), str(parameters)]
    command = [str(python), str(HERE / "_flower" / "simulation.py"), *sizes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        # Ray's own processes give up where a busy machine starts them too slowly.
        raise SystemExit(f"Flower's simulation did not end within {LONGEST} s.") from None
    if done.returncode:
        raise SystemExit(f"Flower's simulation failed:\n{done.stderr}")
    spans: list[float] = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(spans)


def measure(
    python: Path, counts: Sequence[int], rounds: int, parameters: int
) -> dict[str, float | dict[str, Any]]:
    """All figures, by their names."""
    figures: dict[str, Any] = {}
    for parties in counts:
        mine, theirs = (
            ours(parties, rounds, parameters),
            flowers(python, parties, rounds, parameters),
        )
        figures[f"wall_vs_flower_{parties}"] = mine["wall_s"] / theirs
        figures[f"cpu_ms_per_party_{parties}"] = 1000 * mine["cpu_s"] / parties
        figures[f"rounds_of_{parties}"] = {**mine, "flower_wall_s": theirs}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parties", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--rounds", type=int, default=4, help="at least 2")
    parser.add_argument("--parameters", type=int, default=1_000)
    parser.add_argument("--flower", type=Path, default=FLOWER, help="the python of its environment")
    parser.add_argument("--crowd", type=int, nargs=2, default=[1_000, 50])
    options = parser.parse_args()
    if not options.flower.exists():
        raise SystemExit(f"{options.flower} is missing: run `make .tools/flower/.installed` first.")
    figures = measure(options.flower, options.parties, options.rounds, options.parameters)
    registered, drawn = options.crowd
    crowd = ours(registered, options.rounds, options.parameters, drawn)
    figures[f"rounds_{registered}_{drawn}_cpu_s"] = crowd["cpu_s"]
    figures[f"rounds_of_{drawn}_in_{registered}"] = crowd
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table(title=f"A simulated round of {options.parameters:,} parameters, but for training")
    for heading in ("parties", "CPU s", "CPU ms a party", "wall s", "Flower, wall s", "ratio"):
        table.add_column(heading, justify="right")
    for parties in options.parties:
        found: Any = figures[f"rounds_of_{parties}"]
        values = (found["cpu_s"], figures[f"cpu_ms_per_party_{parties}"], found["wall_s"])
        ratio = figures[f"wall_vs_flower_{parties}"]
        table.add_row(str(parties), *(f"{v:.2f}" for v in (*values, found["flower_wall_s"], ratio)))
    Console().print(table)
    print(
        f"{registered:,} registered, {drawn} drawn: {crowd['cpu_s']:.2f} CPU-s a round, "
        f"{crowd['wall_s']:.2f} s; set-up {crowd['setup_cpu_s']:.0f} CPU-s"
    )


if __name__ == "__main__":
    main()
