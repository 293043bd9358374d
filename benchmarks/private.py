"""The cost of a private round for a party, an aggregator, and whoever recomputes the sum.

    python benchmarks/private.py [--json] [--runs 5] [--parameters N] [--parties 10] [--seats 4]
                                 [--flower]

All times are CPU seconds of all threads together, the median of several runs, without compilation.
They are those of the pure functions, in memory, without files, chain and training. A party derives
its secrets, seals them, masks its update and computes its root. An aggregator computes the roots of
all masked updates, opens and checks its shares, and writes its release. Unmasking reads the release
files of all seats, checks the seeds, and goes through all values to the step of the round; it is
also measured with two parties that dropped out after their commits, whose masks are opened instead.

--flower also runs a round of Flower's SecAgg+ on the same updates, in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.privacy.context import Commit, RoundContext, Seat
from fl_orchestrator.privacy.dealing import Dealing, deal
from fl_orchestrator.privacy.keys import mask_secret, public_key, secret_of
from fl_orchestrator.privacy.masks import masks_of, weighted, with_masks
from fl_orchestrator.privacy.opening import Opening
from fl_orchestrator.privacy.release import (
    ReleasedPieces,
    labels_for_lock,
    make_release,
    max_release_bytes,
)
from fl_orchestrator.privacy.seal import Seal, make_seal, masked_root, parse_seal, right_shares
from fl_orchestrator.privacy.unmask import steps, sums

ROUND: Final = 3
STEP_LIMIT: Final = 32_767
DROPPED: Final = 2
FLOWER: Final = "1.42.0"
# key, label, goal
GOALS: Final = (
    ("party_cpu_s", "a party's masked update, CPU seconds", 0.3),
    ("aggregator_cpu_s", "an aggregator's checks and release, CPU seconds", 0.5),
    ("unmask_cpu_s", "unmasking, CPU seconds", 0.2),
)

UInt32 = NDArray[np.uint32]


@dataclass(frozen=True)
class Federation:
    """A round after its commit phase, with everybody's secrets."""

    context: RoundContext
    zs: tuple[bytes, ...]
    seat_secrets: tuple[bytes, ...]

    @classmethod
    def of(cls, parties: int, seats: int) -> Federation:
        draw = random.Random(1)
        zs = tuple(draw.randbytes(32) for _ in range(parties))
        secrets = tuple(secret_of(draw.randbytes(32)) for _ in range(seats))
        context = RoundContext.of(
            chain_id=1,
            federation="0x" + "0" * 40,
            round_number=ROUND,
            base_root=bytes(32),
            commits=[
                Commit(f"0x{i:040x}", i % 255 + 1, public_key(mask_secret(z, ROUND)))
                for i, z in enumerate(zs)
            ],
            seats=[
                Seat(f"0x{p:040x}", 10**18, public_key(secret)) for p, secret in enumerate(secrets)
            ],
            secrecy=2,
        )
        return cls(context, zs, secrets)


@dataclass(frozen=True)
class Update:
    """What a party reveals."""

    values: UInt32
    seal: bytes


def values_root(values: UInt32) -> bytes:
    """The root of masked values, which are one tensor."""
    return tree_of(Layout.of([("w", (values.size,), 0)], packed=True), values).root


def party(federation: Federation, index: int, update: NDArray[np.int16]) -> Update:
    """All that a party does for a round, but training."""
    context = federation.context
    dealing: Dealing = deal(context, index, federation.zs[index])
    seal = make_seal(context, dealing)
    masked = np.empty(update.size, np.uint32)
    weight, position = context.commits[index].weight, 0
    x = (weighted(block, weight) for block in in_blocks(update))
    for block in with_masks(x, masks_of(dealing), update.size):
        masked[position : position + block.size] = block
        position += block.size
    masked_root(values_root(masked), seal.digest())
    return Update(masked, seal.to_bytes())


def aggregator(federation: Federation, position: int, updates: dict[int, Update]) -> bytes:
    """Check all updates, and write the release file of a lock of them all."""
    context, secret = federation.context, federation.seat_secrets[position]
    shares = {}
    for k, update in updates.items():
        seal = parse_seal(context, k, update.seal)
        masked_root(values_root(update.values), seal.digest())
        shares[k] = right_shares(context, k, seal, position, secret)
    return make_release(context, labels_for_lock(context.size, locked(updates)), shares)


def unmask(federation: Federation, updates: dict[int, Update], files: Sequence[bytes]) -> None:
    """Open the seeds, check them, and go through all values."""
    context = federation.context
    seals: dict[int, Seal] = {k: parse_seal(context, k, u.seal) for k, u in updates.items()}
    released = ReleasedPieces(context, seals)
    for data in files:
        released.add(data)
    opening = Opening(context.size, tuple(updates))
    seeds = opening.collect(released)
    hashes = {k: seal.hashes for k, seal in seals.items()}
    if seeds is None or opening.wrong_seeds(seeds, hashes):
        raise RuntimeError("the seeds of the benchmark's own round do not open")
    size = next(iter(updates.values())).values.size
    vectors = [in_blocks(update.values) for update in updates.values()]
    weight = sum(context.commits[k].weight for k in updates)
    for _ in steps(sums(vectors, opening.masks(seeds), size), weight, STEP_LIMIT):
        pass


def locked(updates: dict[int, Update]) -> int:
    """The bit set of the updates' indices."""
    return sum(1 << k for k in updates)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(parties: int, seats: int, parameters: int, runs: int) -> dict[str, Any]:
    """Return all figures, the medians of some runs after one that compiles."""
    federation = Federation.of(parties, seats)
    numbers = np.random.default_rng(0)
    plain = [numbers.integers(-32_768, 32_768, parameters, np.int16) for _ in range(parties)]
    updates = {k: party(federation, k, q) for k, q in enumerate(plain)}
    fewer = {k: u for k, u in updates.items() if k < parties - DROPPED}
    files = [aggregator(federation, p, updates) for p in range(seats)]
    files_of_fewer = [aggregator(federation, p, fewer) for p in range(seats)]
    work: dict[str, Callable[[], object]] = {
        "party_cpu_s": partial(party, federation, 0, plain[0]),
        "aggregator_cpu_s": partial(aggregator, federation, 0, updates),
        "unmask_cpu_s": partial(unmask, federation, updates, files),
        "unmask_two_dropped_cpu_s": partial(unmask, federation, fewer, files_of_fewer),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for run in range(runs + 1):
        for name, call in work.items():
            found = cpu_seconds(call)
            if run:
                seconds[name].append(found)
    return {
        **{name: statistics.median(values) for name, values in seconds.items()},
        "seal_bytes": len(updates[0].seal),
        "release_bytes": len(files[0]),
        "max_release_bytes": max_release_bytes(federation.context, locked(updates), 0),
        "sets": len(federation.context.sets),
    }


def flower_round(parties: int, parameters: int) -> dict[str, float]:
    """What a round of Flower's SecAgg+ costs."""
    from aggregate import flower_python

    script = Path(__file__).parent / "_workers" / "secagg.py"
    command = [str(flower_python(FLOWER)), str(script), str(parties), str(parameters)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output)
    return {f"flower_{name}": value for name, value in found.items()}


def show(figures: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the figures and goals."""
    console = Console()
    shape = f"{options.parties} parties, {options.seats} seats, {options.parameters:,} parameters"
    table = Table(title=shape)
    for heading in ("measure", "value", "goal", "met"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for key, words, goal in GOALS:
        met = "yes" if figures[key] <= goal else "NO"
        table.add_row(words, f"{figures[key]:.2f}", f"≤ {goal:g}", met)
    console.print(table)
    console.print(f"unmasking with two dropped: {figures['unmask_two_dropped_cpu_s']:.2f} CPU s")
    seal, release, sets = figures["seal_bytes"], figures["release_bytes"], figures["sets"]
    console.print(f"{sets} sets; a seal has {seal:,} bytes, a seat's release {release:,}")
    for name in sorted(figure for figure in figures if figure.startswith("flower_")):
        console.print(f"{name}: {figures[name]:.2f}")


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--parties", type=int, default=10)
    parser.add_argument("--seats", type=int, default=4)
    parser.add_argument("--flower", action="store_true", help="also a round of Flower's SecAgg+")
    options = parser.parse_args(arguments)
    if options.parties < DROPPED + 1:
        parser.error(f"--parties has to be at least {DROPPED + 1}")
    figures = measure(options.parties, options.seats, options.parameters, options.runs)
    if options.flower:
        figures |= flower_round(options.parties, options.parameters)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, options)


if __name__ == "__main__":
    main(sys.argv[1:])
