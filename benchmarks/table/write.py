"""Writes the tables at the top of docs/performance.md from what the benchmarks have measured.

    PYTHONPATH=benchmarks python benchmarks/table/write.py [--results build/bench] [--page FILE]

``make bench`` runs every benchmark with ``--json`` into that directory first. A row whose benchmark
has no result there keeps its place and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = CHECKOUT / "docs" / "performance.md"
RESULTS: Final = CHECKOUT / "build" / "bench"
BEGIN: Final = "<!-- The tables from here on are written by `make bench`. -->\n"
END: Final = "<!-- The end of what `make bench` writes. -->\n"
NOT_RUN: Final = "not run"

Words = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, its peer and its physical limit, each from the result of one benchmark."""

    what: str
    benchmark: str
    figure: Words
    peer: Words = lambda _: ""
    limit: Words = lambda _: ""

    def line(self, results: Path) -> str:
        found = result(results, Path(self.benchmark).stem)
        cells = [NOT_RUN, "", ""]
        if found is not None:
            cells = [words(found) for words in (self.figure, self.peer, self.limit)]
        return f"| {self.what} | {' | '.join(cells)} | `{self.benchmark}` |"


def _simulated(parties: int) -> Row:
    def of(found: Any) -> Any:
        return found[f"rounds_of_{parties}"]

    return Row(
        f"a simulated round of {parties} parties beside training",
        "benchmarks/simulation.py",
        lambda f: f"{of(f)['wall_s']:.2f} s, {of(f)['cpu_s']:.2f} CPU-s",
        lambda f: (
            f"Flower's simulation, no chain: {of(f)['flower_wall_s']:.2f} s on all cores "
            f"(ratio {f[f'wall_vs_flower_{parties}']:.1f})"
        ),
    )


def _gas(what: str, key: str) -> Row:
    def limit(found: Any) -> str:
        floor = found["floors"].get(key)
        return f"least possible: {floor:,} gas" if floor else ""

    return Row(what, "benchmarks/gas.py", lambda f: f"{f[key]:,.0f} gas", limit=limit)


def _fit(model: str) -> Row:
    return Row(
        f"a fit of `KerasTrainer`, {model}",
        "benchmarks/training/keras_fit.py",
        lambda f: f"{f[model]['trainer_s']:.2f} s",
        lambda f: f"`model.fit`: {f[model]['keras_s']:.2f} s (ratio {f[model]['ratio']:.2f})",
    )


def _rule(what: str, rule: str, flower: str) -> Row:
    return Row(
        f"{what} of 10 updates of 25 M parameters, in memory",
        "benchmarks/aggregate.py",
        lambda f: f"{f[f'{rule}_gb_per_s']:.1f} GB/s",
        lambda f: f"{f[f'{rule}_vs_flower']:.0f} times as fast as Flower's {flower}",
        lambda f: f"reading the memory once: {f['read_gb_per_s']:.1f} GB/s",
    )


ROWS: Final = (
    _rule("weighted mean", "mean", "FedAvg"),
    _rule("median", "median", "FedMedian"),
    _rule("trimmed mean", "trimmed", "FedTrimmedAvg"),
    Row(
        "chunk tree of an update of 25 M parameters",
        "benchmarks/aggregate.py",
        lambda f: f"{f['tree_cpu_s']:.3f} CPU-s",
    ),
    Row(
        "aggregating 10 updates of 25 M parameters, from fetch to signature",
        "benchmarks/watch.py",
        lambda f: (
            f"{f['aggregator_cpu_s']:.2f} CPU-s in "
            f"{f['aggregator_wall_over_cpu'] * f['aggregator_cpu_s']:.2f} s"
        ),
        limit=lambda f: (
            "a hash of each kind of the same bytes and a write: "
            f"{f['aggregator_cpu_s'] / f['aggregator_over_floor']:.2f} CPU-s"
        ),
    ),
    Row(
        "watching over it",
        "benchmarks/watch.py",
        lambda f: f"{next(iter(f.values()))['watching']['cpu_s']:.2f} CPU-s",
        lambda f: f"the aggregator: {next(iter(f.values()))['ratio']['cpu']:.2f} of its CPU time",
    ),
    Row(
        "the same with the updates in its cache",
        "benchmarks/watch.py",
        lambda f: f"{next(iter(f.values()))['watching_cached']['cpu_s']:.2f} CPU-s",
        lambda f: f"the aggregator: {f['watch_over_aggregate']:.2f} of its CPU time",
    ),
    Row(
        "blocks of 2 s from the last of five reveals to the acceptance, 25 M parameters",
        "benchmarks/latency/acceptance.py",
        lambda f: f"{f['blocks_to_acceptance']:.0f}",
    ),
    _gas("a round of ten parties and four aggregators, relayed", "round_10_relayed"),
    _gas("the same, carried to a mirror with four seats, three of which sign", "mirror_submit_10"),
    _gas("rewards by shares for ten parties, signed by three of four aggregators", "shares_10"),
    _gas("a commit", "commit"),
    _gas("a reveal", "reveal"),
    _gas("a challenge of 10 updates in a tree of depth 17", "challenge_10"),
    _gas("a challenge of 100 updates in a tree of depth 17", "challenge_100"),
    *(_simulated(parties) for parties in (10, 50, 100)),
    Row(
        "a simulated round that draws 50 of 1,000 registered parties",
        "benchmarks/simulation.py",
        lambda f: f"{f['rounds_1000_50_cpu_s']:.2f} CPU-s",
        lambda f: f"50 registered: {f['rounds_of_50']['cpu_s']:.2f} CPU-s",
    ),
    Row(
        "`flo verify`, an update of 1,000 parameters",
        "benchmarks/verify.py",
        lambda f: f"{f['cpu_s_per_update']:.4f} CPU-s",
    ),
    Row(
        "`flo federation show`, to its first output",
        "benchmarks/start.py",
        lambda f: f"{f['federation show']['cpu_s']:.2f} CPU-s",
        lambda f: f"`python -c pass`: 1 / {f['federation show']['times_python']:.0f} of it",
    ),
    *(_fit(model) for model in ("MLP", "CNN", "GRU")),
    Row(
        "bytes on the way, updates and models of MNIST",
        "benchmarks/transfers/packing.py",
        lambda f: f"{f['data']['mnist']['sent']:.2f} of the files",
    ),
)


def result(results: Path, name: str) -> Any:
    """What a benchmark has measured; None if there is nothing."""
    try:
        return json.loads((results / f"{name}.json").read_bytes())
    except FileNotFoundError:
        return None


def tables(results: Path) -> Iterator[str]:
    """The lines of both tables."""
    yield "## At a glance\n"
    yield (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, with {os.cpu_count()} cores "
        f"({platform.machine()}) and Python {platform.python_version()}.\n"
    )
    yield "| what | figure | peer | limit | command |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        yield row.line(results)
    yield "\n### How cost grows\n"
    yield (
        "The power of the size with which a figure grew over the last step: 0 is constant, 1 is "
        "linear. `benchmarks/growth/growth.py` measures all of it in one run.\n"
    )
    yield "| what | by | figures | power |"
    yield "|---|---|---|---|"
    for curve in (result(results, "growth") or {}).values():
        figures = "; ".join(f"{int(s):,}: {_number(v)}" for s, v in curve["figures"].items())
        cells = (
            curve["what"],
            curve["axis"],
            f"{figures} {curve['unit']}",
            f"{curve['power']:.2f}",
        )
        yield f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    before, _, rest = options.page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(
            f"{options.page} has no place for the tables: {BEGIN.strip()} ... {END.strip()}"
        )
    written = "".join(f"{line}\n" for line in tables(options.results))
    options.page.write_text(f"{before}{BEGIN}\n{written}\n{END}{after}")


if __name__ == "__main__":
    main()
