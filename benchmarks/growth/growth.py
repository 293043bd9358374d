"""How cost grows with the parties, the parameters and the rounds.

    PYTHONPATH=benchmarks python benchmarks/growth/growth.py [--json] [--parties 10 30 100]
        [--registered 50 200 1000] [--parameters 1000 ... 100000000] [--rounds 100]

Each figure is measured at several sizes in one run, and has the power of the size with which it
grew over the last step: 0 is constant, 1 linear. Times are CPU seconds of one process: of a
simulated round beside training (`simulation.py` has the setting), and of what a role computes from
a vector in memory. Gas and calldata do not depend on the machine. The rounds are those of one run
of ten parties; each size is the mean of the last tenth of the rounds up to it, of two at least.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from aggregate import RULES, cpu_seconds, run_rule, update
from rich.console import Console
from rich.table import Table
from simulation import Tiny

from fl_orchestrator import RoundEntry, simulate
from fl_orchestrator.audit.history import STORE
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.training.trainer import FloatArray, Metrics

UPDATES: Final = 10
SMALL: Final = 1_000
DRAWN: Final = 50
_TURNS: Final = 5
# Shorter spans than this are repeated.
_LONG_ENOUGH_SECONDS: Final = 0.2


class Random(Tiny):
    """A party whose updates are never equal, however many rounds there are: equal ones count once.

    The fit of `Tiny` comes to rest.
    """

    def __init__(self, parameters: int, number: int) -> None:
        super().__init__(parameters, number)
        self.number = number

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        began = time.process_time()
        draw = np.random.default_rng((self.number, config["round"]))
        moved = weights[0] + draw.uniform(-0.1, 0.1, weights[0].size).astype(np.float32)
        Tiny.spent += time.process_time() - began
        return [moved], 20, {}


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure by the size that it depends on, smallest first."""

    name: str
    words: str
    axis: str
    unit: str
    figures: Mapping[int, float]

    @property
    def power(self) -> float:
        """The power of the size with which the figure grew over the last step."""
        (a, b), (x, y) = list(self.figures.items())[-2:]
        return math.log(y / b) / math.log(x / a)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a round has cost: CPU seconds beside training, gas, and bytes of the store after it."""

    cpu_s: float
    gas: int
    stored: int


def run(parties: int, rounds: int, participants: int | None = None) -> list[Spent]:
    """What each round of a run has cost; the first one has the set-up."""
    found: list[Spent] = []
    with tempfile.TemporaryDirectory(prefix="flo-growth-") as directory:
        place = Path(directory) / "run"
        marks = [time.process_time() - Tiny.spent]

        def ended(entry: RoundEntry) -> None:
            now = time.process_time() - Tiny.spent
            files = (path.stat() for path in (place / STORE).rglob("*") if path.is_file())
            found.append(Spent(now - marks[-1], entry.gas, sum(file.st_size for file in files)))
            marks.append(time.process_time() - Tiny.spent)

        simulate(
            [Random(SMALL, number) for number in range(parties)],
            rounds=rounds,
            evaluate=None,
            participants=participants,
            directory=place,
            on_round=ended,
            progress=False,
        )
    return found


def of_rounds(run_of: list[Spent]) -> dict[str, float]:
    """The cost of a round in the steady state."""
    steady = run_of[1:]
    return {
        "cpu_s": statistics.median(one.cpu_s for one in steady),
        "gas": statistics.median(one.gas for one in steady),
    }


def by_parties(counts: Sequence[int]) -> list[Curve]:
    found = {count: of_rounds(run(count, 4)) for count in counts}
    return [
        Curve("round_cpu_s", "a round of all parties: CPU", "parties", "s", _each(found, "cpu_s")),
        Curve(
            "round_gas", "the same: gas of all transactions", "parties", "gas", _each(found, "gas")
        ),
    ]


def by_registered(counts: Sequence[int]) -> list[Curve]:
    found = {count: of_rounds(run(count, 4, DRAWN)) for count in counts}
    words = f"a round that draws {DRAWN} of the registered parties"
    return [
        Curve("drawn_cpu_s", f"{words}: CPU", "registered", "s", _each(found, "cpu_s")),
        Curve(
            "drawn_gas",
            "the same: gas of all transactions",
            "registered",
            "gas",
            _each(found, "gas"),
        ),
    ]


def by_rounds(count: int) -> list[Curve]:
    spent = run(10, count)
    sizes = [size for size in (10, 30, 100, 300, 1000) if size <= count]

    def mean(value: Callable[[Spent], float], size: int) -> float:
        return statistics.fmean(value(one) for one in spent[size - max(2, size // 10) : size])

    bytes_of = [later.stored - earlier.stored for earlier, later in itertools.pairwise(spent)]
    stored = {
        size: statistics.fmean(bytes_of[size - max(2, size // 10) - 1 : size - 1]) for size in sizes
    }
    return [
        Curve(
            *("nth_cpu_s", "the n-th round of ten parties: CPU", "rounds", "s"),
            {size: mean(lambda one: one.cpu_s, size) for size in sizes},
        ),
        Curve(
            *("nth_gas", "the same: gas of all transactions", "rounds", "gas"),
            {size: mean(lambda one: one.gas, size) for size in sizes},
        ),
        Curve("nth_bytes", "the same: bytes that it adds to the store", "rounds", "B", stored),
    ]


def by_parameters(sizes: Sequence[int]) -> list[Curve]:
    tree: dict[int, float] = {}
    mean: dict[int, float] = {}
    proof: dict[int, float] = {}
    for size in sizes:
        layout = Layout.of([("weights", [size], 0)])
        updates = [update(number, size) for number in range(UPDATES)]
        out = updates[0].copy()
        tree[size] = _fastest(partial(tree_of, layout, updates[0]))
        mean[size] = _fastest(partial(run_rule, RULES["mean"], updates, out))
        proof[size] = 32 * layout.depth
    return [
        Curve("tree_cpu_s", "the chunk tree of an update: CPU", "parameters", "s", tree),
        Curve(
            "mean_cpu_s", f"the weighted mean of {UPDATES} updates: CPU", "parameters", "s", mean
        ),
        Curve("proof_bytes", "the path of one chunk in a proof", "parameters", "B", proof),
    ]


def _fastest(work: Callable[[], object]) -> float:
    """CPU seconds of a call, the smallest of several turns: other work makes each longer."""
    work()
    times = max(1, math.ceil(_LONG_ENOUGH_SECONDS / max(cpu_seconds(work), 1e-6) / _TURNS))
    return min(cpu_seconds(lambda: [work() for _ in range(times)]) / times for _ in range(_TURNS))


def _each(found: Mapping[int, Mapping[str, float]], name: str) -> dict[int, float]:
    return {size: figures[name] for size, figures in found.items()}


def as_json(curves: Sequence[Curve]) -> dict[str, Any]:
    return {
        curve.name: {
            "what": curve.words,
            "axis": curve.axis,
            "unit": curve.unit,
            "figures": {str(size): figure for size, figure in curve.figures.items()},
            "power": round(curve.power, 2),
        }
        for curve in curves
    }


def show(curves: Sequence[Curve]) -> None:
    table = Table("what", "by", "figures", "power of the last step")
    for curve in curves:
        figures = ", ".join(f"{size:,}: {figure:,.4g}" for size, figure in curve.figures.items())
        table.add_row(curve.words, curve.axis, f"{figures} {curve.unit}", f"{curve.power:.2f}")
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--parties", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--registered", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--parameters", type=int, nargs="+", default=[10**n for n in range(3, 9)])
    parser.add_argument("--rounds", type=int, default=100)
    asked = parser.parse_args()
    if asked.rounds < 30 or min(map(len, (asked.parties, asked.registered, asked.parameters))) < 2:
        parser.error("at least 30 rounds, and two sizes of everything else")
    silence()
    curves = [
        *by_parameters(asked.parameters),
        *by_parties(asked.parties),
        *by_registered(asked.registered),
        *by_rounds(asked.rounds),
    ]
    if asked.json:
        print(json.dumps(as_json(curves), indent=2))
    else:
        show(curves)


if __name__ == "__main__":
    main()
