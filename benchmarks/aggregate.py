"""The speed of the exact rules, compared with reading memory and with Flower's float rules.

    python benchmarks/aggregate.py [--json] [--runs 5] [--parameters 25000000] [--updates 10]

All times are CPU seconds of one thread, the median of several runs, without compilation. The two
sides alternate within one run, so that load on the machine slows both. Our side reads int16 updates
from memory that was touched before, in blocks as an aggregator reads them from files, and stores
the int16 result. The mean's part of the memory bandwidth is the bytes that it reads in a second,
over those of a pure read of the same updates (``mean_vs_bandwidth``); ``mean_moves_vs_bandwidth``
also counts what it writes. Flower 1.41 aggregates the same values as float32 arrays, without
its network or its deserialization (for FedAvg, the faster of its two functions counts). Figures
from files are separate, with the peak memory of a new process: it reads ten updates and the base
model, and writes the next model and its root.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fl_orchestrator.aggregation.rules import (
    Median,
    Rule,
    TrimmedMean,
    WeightedMean,
    next_global,
)
from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import (
    COMBINED_VALUES,
    VectorKind,
    VectorMeta,
    VectorReader,
    in_blocks,
    write_vector,
)

FLOWER: Final = "1.41.0"
TENSORS: Final = 25
# The rules that Flower also has, by their names in _flower/aggregation.py.
RULES: Final[dict[str, Rule]] = {
    "mean": WeightedMean(),
    "median": Median(),
    "trimmed": TrimmedMean(1000),
}
# key, label, goal, whether more is better
GOALS: Final = (
    ("mean_vs_bandwidth", "WeightedMean, of a memory read", 0.6, True),
    ("mean_vs_flower", "WeightedMean, times Flower's FedAvg", 4.0, True),
    ("median_vs_flower", "Median, times Flower's FedMedian", 15.0, True),
    ("trimmed_vs_flower", "TrimmedMean, times Flower's FedTrimmedAvg", 15.0, True),
    ("tree_cpu_s", "chunk tree of one update, CPU seconds", 0.06, False),
    ("peak_mb", "peak memory from files, MB", 300.0, False),
)

Updates = list[NDArray[np.int16]]


def update(number: int, parameters: int) -> NDArray[np.int16]:
    """Return an update of random values; the Flower worker generates the same values."""
    return np.random.default_rng(number).integers(-32_768, 32_768, parameters, np.int16)


def layout_of(parameters: int) -> Layout:
    """Return a model of equal tensors."""
    return Layout.of((str(i), [parameters // TENSORS], 0) for i in range(TENSORS))


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def run_rule(rule: Rule, updates: Updates, out: NDArray[np.int16]) -> None:
    """Aggregate from memory into ``out``, with the same weights as Flower."""
    position = 0
    weights = list(range(1, len(updates) + 1))
    streams = [in_blocks(vector, COMBINED_VALUES) for vector in updates]
    for block in rule.aggregate(streams, weights):
        out[position : position + block.size] = block
        position += block.size


def read_all(updates: Updates) -> int:
    """Read every byte once, by the fastest reduction that NumPy has."""
    return sum(int(np.max(vector.view(np.int64))) for vector in updates)


class Flower:
    """Flower's aggregation functions, in a separate process and environment."""

    def __init__(self, updates: int, parameters: int) -> None:
        script = Path(__file__).parent / "_flower" / "aggregation.py"
        sizes = [str(updates), str(TENSORS), str(parameters // TENSORS)]
        self._process = subprocess.Popen(
            [flower_python(), script, *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def cpu_seconds(self, name: str) -> float:
        """Return the CPU time of one call of the named function."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"Flower's worker ended with {self._process.wait()}")
        return line


def flower_python(version: str = FLOWER) -> Path:
    """Return the interpreter of Flower's environment, created once, outside the checkout."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "fl-orchestrator" / f"flower-{version.rpartition('.')[0]}"
    python = home / "bin" / "python"
    probe = f"import flwr; assert flwr.__version__ == {version!r}"
    if not python.exists() or subprocess.run([python, "-c", probe]).returncode:
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"flwr=={version}"], check=True)
    return python


def from_memory(count: int, parameters: int, runs: int) -> dict[str, list[float]]:
    """Time both sides and the memory read in turns, after one warm-up that is not counted."""
    updates = [update(i, parameters) for i in range(count)]
    out = np.empty(parameters, np.int16)
    layout = layout_of(parameters)
    flower = Flower(count, parameters)
    seconds: dict[str, list[float]] = {}
    for run in range(runs + 1):
        found = {"read": cpu_seconds(partial(read_all, updates))}
        for name, rule in RULES.items():
            found[name] = cpu_seconds(partial(run_rule, rule, updates, out))
            found[f"flower_{name}"] = flower.cpu_seconds(name)
        found["flower_mean_of_records"] = flower.cpu_seconds("mean_of_records")
        found["tree"] = cpu_seconds(partial(tree_of, layout, updates[0]))
        if run:
            for name, value in found.items():
                seconds.setdefault(name, []).append(value)
    flower.close()
    return seconds


def write_files(directory: Path, count: int, parameters: int) -> None:
    """Write a base model and updates as canonical files."""
    layout = layout_of(parameters)
    zero = "0x" + "0" * 40
    with (directory / "base").open("wb") as stream:
        blocks = in_blocks(np.zeros(parameters, np.int32))
        write_vector(stream, layout, VectorMeta.genesis(), blocks)
    for number in range(count):
        with (directory / str(number)).open("wb") as stream:
            meta = VectorMeta(VectorKind.UPDATE, 1, zero, 1)
            write_vector(stream, layout, meta, in_blocks(update(number, parameters)))


def from_files(directory: Path, rule: str, count: int, parameters: int) -> dict[str, float]:
    """Aggregate files into a file, with its root, in this process; report time and memory."""
    layout = layout_of(parameters)
    names = [str(i % len(list(directory.glob("[0-9]*")))) for i in range(count)]

    def work() -> None:
        with ExitStack() as stack:
            base, *readers = (
                VectorReader(stack.enter_context((directory / name).open("rb")), layout)
                for name in ("base", *names)
            )
            out = stack.enter_context((directory / "out").open("wb"))
            updates = [reader.blocks(COMBINED_VALUES) for reader in readers]
            weights = list(range(1, count + 1))
            state = base.blocks(COMBINED_VALUES)
            blocks = next_global(RULES[rule], state, updates, weights, 15)
            meta = VectorMeta(VectorKind.GLOBAL, 1, "0x" + "0" * 40, 1)
            write_vector(out, layout, meta, blocks)

    seconds = cpu_seconds(work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_s": seconds, "peak_mb": peak / (2**20 if sys.platform == "darwin" else 2**10)}


def in_fresh_process(directory: Path, rule: str, count: int, parameters: int) -> dict[str, float]:
    """Run from_files in a new process, so that its peak memory is that of this work alone."""
    found = subprocess.run(
        [sys.executable, __file__, "--files", directory, rule, str(count), str(parameters)],
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, float] = json.loads(found.stdout)
    return answer


def measure(count: int, parameters: int, runs: int) -> dict[str, Any]:
    """Return all figures.

    Files come first, because a child's peak memory includes its parent's memory at the fork.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        subprocess.run(
            [sys.executable, __file__, "--write", directory, str(count), str(parameters)],
            check=True,
        )
        files = {
            f"{rule}_of_{updates}": in_fresh_process(directory, rule, updates, parameters)
            for rule, updates in (*((rule, count) for rule in RULES), ("median", 2 * count))
        }
    seconds = from_memory(count, parameters, runs)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    flower_mean = min(middle["flower_mean"], middle["flower_mean_of_records"])
    gigabytes = count * parameters * 2 / 1e9
    return {
        "mean_vs_bandwidth": middle["read"] / middle["mean"],
        # It reads ``count`` vectors and writes one, of the same size.
        "mean_moves_vs_bandwidth": (count + 1) / count * middle["read"] / middle["mean"],
        "mean_vs_flower": flower_mean / middle["mean"],
        "median_vs_flower": middle["flower_median"] / middle["median"],
        "trimmed_vs_flower": middle["flower_trimmed"] / middle["trimmed"],
        "tree_cpu_s": middle["tree"],
        "peak_mb": max(figures["peak_mb"] for figures in files.values()),
        "read_gb_per_s": gigabytes / middle["read"],
        **{f"{rule}_gb_per_s": gigabytes / middle[rule] for rule in RULES},
        "cpu_s": middle,
        "files": files,
    }


def show(figures: dict[str, Any], count: int, parameters: int) -> None:
    """Print the ratios and goals, and the figures behind them."""
    console = Console()
    table = Table(title=f"{count} updates of {parameters:,} int16 parameters, one thread")
    for heading in ("measure", "value", "goal", "met"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for key, words, goal, more in GOALS:
        met = figures[key] >= goal if more else figures[key] <= goal
        sign = "≥" if more else "≤"
        table.add_row(words, f"{figures[key]:.2f}", f"{sign} {goal:g}", "yes" if met else "NO")
    console.print(table)
    rates = ", ".join(f"{name} {figures[f'{name}_gb_per_s']:.1f}" for name in ("read", *RULES))
    console.print(f"GB/s of update bytes from warm memory: {rates}")
    cpu = ", ".join(f"{name} {value:.3f}" for name, value in figures["cpu_s"].items())
    console.print(f"CPU seconds: {cpu}")
    for name, found in figures["files"].items():
        cpu_s, peak = found["cpu_s"], found["peak_mb"]
        console.print(f"from files, {name}: {cpu_s:.2f} CPU s, peak {peak:.0f} MB")


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark, or the part of it that needs a process of its own."""
    if arguments[:1] == ["--files"]:
        directory, rule, count, parameters = arguments[1:]
        print(json.dumps(from_files(Path(directory), rule, int(count), int(parameters))))
        return
    if arguments[:1] == ["--write"]:
        write_files(Path(arguments[1]), int(arguments[2]), int(arguments[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--parameters", type=int, default=25_000_000)
    parser.add_argument("--updates", type=int, default=10)
    options = parser.parse_args(arguments)
    parameters = options.parameters // TENSORS // 4 * TENSORS * 4
    figures = measure(options.updates, parameters, options.runs)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, options.updates, parameters)


if __name__ == "__main__":
    main(sys.argv[1:])
