"""The peak memory of the processes of a private round, each in an own process.

    PYTHONPATH=tests python -m assurance.private_memory [--json] [--parameters N] [--parties 10]

A party masks its update from file to file, and names the content. An aggregator fetches all masked
updates, opens its shares, writes its release, opens the seeds, and combines the files to the next
model. A watcher fetches them again, checks the seeds by their hashes, and combines. They do so with
the code of the processes, but without a chain and a trainer; what these need is loaded all the same
(of a trainer: NumPy). The files of the round take about 12 bytes for each parameter and party.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from support.private import PrivateRound

import fl_orchestrator.cli.main  # noqa: F401 - what every process has loaded
from fl_orchestrator.chain.event_types import MaskedReveal
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, RuleSpec, TensorSpec, TrainingSpec
from fl_orchestrator.model.vector_file import BLOCK_VALUES, VectorReader
from fl_orchestrator.privacy.masks import masks_of, weighted, with_masks
from fl_orchestrator.privacy.opening import seeds_hash
from fl_orchestrator.privacy.release import ReleasedPieces, labels_for_lock, make_release
from fl_orchestrator.privacy.seal import make_seal, right_shares
from fl_orchestrator.roles.aggregator.holding import Holding, Holdings
from fl_orchestrator.roles.masked.files import LimitedSteps, MaskedFile, MaskedFiles
from fl_orchestrator.roles.masked.rounds import MaskedRound
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile

GOAL_MB: Final = 600
ROUND: Final = 3
STEP_LIMIT: Final = 32_767
ROLES: Final = ("party", "aggregator", "watcher")
ORIGIN: Final = Origin(1, "0x" + "0" * 40)
FETCH_SECONDS: Final = 3600.0


class Site:
    """One role's files of the round, in the directory that all have in common."""

    def __init__(self, directory: Path, options: argparse.Namespace, role: str) -> None:
        weights = [index % 255 + 1 for index in range(options.parties)]
        stakes = [10**18] * options.seats
        self.federation = PrivateRound.of(weights, stakes, 2, round_number=ROUND)
        self.manifest = manifest_of(options.parameters)
        self.store = LocalStore(directory / "store")
        self.vectors = VectorCache(directory / role, self.manifest)
        self.files = MaskedFiles(self.vectors, self.manifest, ORIGIN)
        self.reveals = directory / "reveals.json"
        self.opened = directory / "seeds"

    def numbers(self, kind: type[np.integer[Any]], seed: int) -> Iterator[NDArray[Any]]:
        """Random values of the whole range, in blocks."""
        draw, left = np.random.default_rng(seed), self.manifest.layout.parameters
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        while left:
            size = min(left, BLOCK_VALUES)
            yield draw.integers(low, high, size, kind, endpoint=True)
            left -= size

    def base(self) -> VectorFile:
        return self.vectors.write(ORIGIN.state(ROUND - 1), self.numbers(np.int32, 0))

    def put(self, file: VectorFile) -> Cid:
        with file.path.open("rb") as stream:
            return self.store.put(stream)

    # ------------------------------------------------------------------ what each of them does

    def party(self, index: int = 0) -> MaskedReveal:
        """Mask the update of the commit of an index."""
        context, layout = self.federation.context, self.manifest.layout
        plain = self.vectors.write(ORIGIN.update(ROUND), self.numbers(np.int16, index + 1))
        dealing, weight = self.federation.dealings[index], context.commits[index].weight
        with plain.path.open("rb") as stream:
            blocks = VectorReader(stream, layout, plain.meta).blocks()
            x = (weighted(block, weight) for block in blocks)
            masked = with_masks(x, masks_of(dealing), layout.parameters)
            file = self.files.write(context, masked, make_seal(context, dealing))
        with file.path.open("rb") as stream:
            cid = cid_of(stream)
        assert self.put(file) == cid
        for path in (plain.path, file.path):
            path.unlink()
        party = context.commits[index].party
        return MaskedReveal(ROUND, party, index, weight, file.root, cid, index)

    def publish(self) -> None:
        """All parties reveal."""
        reveals = [self.party(index) for index in range(len(self.federation.zs))]
        rows = [{"root": reveal.root.hex(), "cid": str(reveal.cid)} for reveal in reveals]
        self.reveals.write_text(json.dumps(rows))

    def revealed(self) -> MaskedRound:
        context = self.federation.context
        reveals = tuple(
            MaskedReveal(
                ROUND,
                context.commits[index].party,
                index,
                context.commits[index].weight,
                bytes.fromhex(row["root"]),
                Cid.parse(row["cid"]),
                index,
            )
            for index, row in enumerate(json.loads(self.reveals.read_text()))
        )
        return MaskedRound(ROUND, bytes(32), context, reveals)

    def fetched(self, secret: bytes | None) -> Holding:
        """All updates, fetched and checked; with the first seat's secret, its shares too."""
        holding = Holding(self.revealed(), 0, secret)
        Holdings(self.files, self.store).fetch(holding, 0, 60, FETCH_SECONDS)
        assert holding.complete
        assert not holding.malformed
        return holding

    def seeds(self, held: dict[int, MaskedFile]) -> bytes:
        """The seeds that a lock of all updates opens."""
        context, every = self.federation.context, (1 << len(held)) - 1
        seals = {masked.reveal.commit: masked.seal for masked in held.values()}
        released = ReleasedPieces(context, seals)
        for position, secret in enumerate(self.federation.seat_secrets):
            shares = {
                k: right_shares(context, k, seal, position, secret) for k, seal in seals.items()
            }
            released.add(make_release(context, labels_for_lock(context.size, every), shares))
        seeds = self.files.opening(self.revealed(), every).collect(released)
        assert seeds is not None
        return seeds

    def aggregator(self) -> None:
        """From the reveals to the next model."""
        holding = self.fetched(self.federation.seat_secrets[0])
        seeds, every = self.seeds(holding.files), (1 << len(holding.files)) - 1
        seeds_hash(seeds)
        file = self.files.combine(
            holding.seen,
            self.base(),
            every,
            holding.files,
            seeds,
            STEP_LIMIT,
            ORIGIN.state(ROUND),
        )
        self.vectors.saturated_tensors(file)
        self.put(file)
        self.opened.write_bytes(seeds)

    def watcher(self) -> None:
        """From the reveals and the opened seeds to the next model, without any secret."""
        holding, seeds = self.fetched(None), self.opened.read_bytes()
        opening = self.files.opening(holding.seen, (1 << len(holding.files)) - 1)
        hashes = {held.reveal.commit: held.seal.hashes for held in holding.files.values()}
        assert not opening.wrong_seeds(seeds, hashes)
        updates = [(held.file, held.reveal.weight) for held in holding.files.values()]
        masks, meta = opening.masks(seeds), ORIGIN.state(ROUND)
        limited = LimitedSteps(STEP_LIMIT)
        self.files.unmask(self.base(), updates, masks, STEP_LIMIT, meta, limited.watch)


def manifest_of(parameters: int) -> Manifest:
    """A model of one tensor with a full chunk tree beside it."""
    return Manifest(
        name="memory",
        layout_kind="packed",
        tensors=(TensorSpec(name="w", shape=(parameters,)),),
        depth=Layout.of([("w", (parameters,), 0)], packed=True).depth,
        rule=RuleSpec(),
        samples_per_weight=1,
        training=TrainingSpec(
            epochs=1,
            batch_size=1,
            learning_rate=0.1,
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
        ),
    )


def peak_bytes() -> int:
    """The peak memory of this process, with program and libraries."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return peak * 1024


def peak_of(directory: Path, options: argparse.Namespace, role: str) -> float:
    """Let a new process do the part of a role; return its peak memory in MB."""
    shape = ("--parameters", options.parameters, "--parties", options.parties)
    command = [sys.executable, "-m", "assurance.private_memory", *shape, "--seats", options.seats]
    command += ["--role", role, "--directory", directory]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout))


def measure(options: argparse.Namespace) -> dict[str, float]:
    """The peak memory of each role in MB."""
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        peak_of(directory, options, "publish")
        return {f"{role}_peak_mb": peak_of(directory, options, role) for role in ROLES}


def show(figures: dict[str, float], options: argparse.Namespace) -> None:
    """Print the figures and the goal."""
    shape = f"{options.parties} parties, {options.seats} seats, {options.parameters:,} parameters"
    table = Table(title=shape)
    for heading in ("process", "peak memory, MB", "goal", "met"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    for role in ROLES:
        peak = figures[f"{role}_peak_mb"]
        met = "yes" if peak <= GOAL_MB else "NO"
        table.add_row(f"{role}", f"{peak:.0f}", f"≤ {GOAL_MB}", met)
    Console().print(table)


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark, or the part of one process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parameters", type=int, default=25_000_000)
    parser.add_argument("--parties", type=int, default=10)
    parser.add_argument("--seats", type=int, default=4)
    parser.add_argument("--directory", type=Path, help="where the files of the round may be")
    parser.add_argument("--role", choices=(*ROLES, "publish"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role:
        site = Site(options.directory, options, options.role)
        parts: dict[str, Callable[[], object]] = {
            "publish": site.publish,
            "party": site.party,
            "aggregator": site.aggregator,
            "watcher": site.watcher,
        }
        parts[options.role]()
        print(json.dumps(peak_bytes() / 1e6))
        return
    figures = measure(options)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, options)


if __name__ == "__main__":
    main(sys.argv[1:])
