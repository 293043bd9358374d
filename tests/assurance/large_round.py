"""The memory and the disk of a round of processes with a large model, beside what they must have.

    PYTHONPATH=tests python -m assurance.large_round [--json] [--parameters 100000000] [--parties 5]
        [--store file|kubo]

A federation of real processes on Anvil (`flo party run` and so on) on one machine: parties that add
noise to the model instead of training, an aggregator, a watcher and a keeper, with one cache and a
store in a directory, or an IPFS node of their own. *Memory*: the most that each process had, less
that of the same process with a model of some thousand parameters, its program and libraries.
*Disk*: all homes with their cache, at most while the round ran and at its end, over the round's
files: the base, the updates and the next model. A directory's files count once by whatever names;
what an IPFS node has is counted by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from support.disk import bytes_on_disk
from support.kubo_daemon import find_kubo

from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import VectorKind
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.service.local.federation import LocalFederation, Model, Plan
from fl_orchestrator.service.local.programs import anvil, find_program, kubo
from fl_orchestrator.training.data import Rows

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from kubo import PERIOD, TENSORS, TRAINER, manifest, measure, zeros  # noqa: E402

GOAL_BYTES: Final = 600_000_000
GOAL_DISK: Final = 2.0
SMALL: Final = TENSORS * 256
_LOOK_SECONDS: Final = 0.5


class DiskWatch:
    """Looks again and again at how much is in some directories."""

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._ends = threading.Event()
        self.most = 0

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ends.set()
            thread.join()

    def _look(self) -> None:
        while not self._ends.wait(_LOOK_SECONDS):
            self.most = max(self.most, bytes_on_disk(*self._directories))


def files_of_round(model: Manifest, parties: int) -> int:
    """The bytes of the base, the updates and the next model, without their short headers."""
    update = model.layout.parameters * VectorKind.UPDATE.dtype.itemsize
    return parties * update + 2 * model.layout.parameters * VectorKind.GLOBAL.dtype.itemsize


def program(name: str) -> Path:
    found = find_program(name) or find_program(name, ROOT / f"node_modules/.bin/{name}")
    if found is None:
        raise SystemExit(f"There is no {name}.")
    return found


def node() -> Path:
    found = find_kubo()
    if found is None:
        raise SystemExit("There is no IPFS node program: run scripts/build_kubo.sh.")
    return found


def one_round(parameters: int, parties: int, store: str) -> dict[str, Any]:
    """Run one round; the peak memory of each process, and the disk of all of them."""
    model = manifest(parameters)
    nobody = Rows(np.zeros((1, 1), np.float32), np.zeros(1, np.int32))
    terms = Terms(
        parties, parties, commit_period=PERIOD, reveal_period=PERIOD, attest_period=PERIOD
    )
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = (directory / "store").as_uri()
        if store == "kubo":
            url = stack.enter_context(kubo(node(), directory / "ipfs"))
        rpc = stack.enter_context(anvil(program("anvil"), directory / "chain"))
        local = LocalFederation(directory / "federation", Plan(parties, 1))
        trained = Model(model, zeros(model), [nobody] * parties, 2, TRAINER)
        chain = local.deploy(connect(rpc), url, trained, terms)
        local.write_sites(chain, rpc, [url], trained)
        homes = [local.directory, directory / "store"]
        watch = DiskWatch(*homes)
        start = time.perf_counter()
        with watch.looking():
            found = measure(local, chain)
        files = files_of_round(model, parties)
        kept = bytes_on_disk(*homes)
        return {
            "peak_bytes": found["peak_bytes"],
            "seconds": time.perf_counter() - start,
            "files_bytes": files,
            "disk_bytes": kept,
            "disk_over_files": kept / files,
            "most_disk_over_files": max(watch.most, kept) / files,
            "node_bytes": bytes_on_disk(directory / "ipfs"),
        }


def run(parameters: int, parties: int, store: str) -> dict[str, Any]:
    small, found = one_round(SMALL, parties, store), one_round(parameters, parties, store)
    libraries = small["peak_bytes"]
    beside = {name: size - libraries[name] for name, size in found["peak_bytes"].items()}
    return {**found, "libraries_bytes": libraries, "beside_bytes": beside}


def show(found: dict[str, Any], parameters: int) -> None:
    table = Table(title=f"A round with {parameters:,} parameters, in {found['seconds']:.0f} s")
    table.add_column("process")
    for heading in ("most memory, MB", "libraries, MB", "beside them, MB"):
        table.add_column(heading, justify="right")
    table.add_column(f"< {GOAL_BYTES / 1e6:.0f} MB")
    for name, size in sorted(found["peak_bytes"].items()):
        more = found["beside_bytes"][name]
        row = (f"{n / 1e6:.0f}" for n in (size, found["libraries_bytes"][name], more))
        table.add_row(name, *row, "yes" if more < GOAL_BYTES else "NO")
    console = Console()
    console.print(table)
    most = found["most_disk_over_files"]
    met = "met" if found["disk_over_files"] <= GOAL_DISK else "MISSED"
    console.print(
        f"The round's files: {found['files_bytes'] / 1e9:.2f} GB. Disk of all homes over them: "
        f"{found['disk_over_files']:.2f} at its end, at most {most:.2f} while it ran "
        f"(goal: {GOAL_DISK:.0f} at its end: {met})."
    )
    if found["node_bytes"]:
        console.print(f"The IPFS node has {found['node_bytes'] / 1e9:.2f} GB beside it.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parameters", type=int, default=100_000_000)
    parser.add_argument("--parties", type=int, default=5)
    parser.add_argument("--store", choices=["file", "kubo"], default="file")
    options = parser.parse_args(arguments)
    silence()
    found = run(options.parameters, options.parties, options.store)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        show(found, options.parameters)


if __name__ == "__main__":
    main()
