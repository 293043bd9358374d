"""The dashboard's index: CPU and memory of building it, and of every later block.

    python benchmarks/dashboard.py [--json] [--rounds 1000] [--parties 100]

A scripted node in another process has the events of that many rounds, which a keeper relayed in
batches. The index is built from it over HTTP, with the gas of every transaction, as
`flo dashboard` builds it. The cost of a later block is measured with the last round's, each read
by itself; the memory is the growth of the process between a tenth of the rounds and all.

Where Chromium is installed, it then opens the page from this index five times: the median time to
its first paint with content, and the same of a page of one line, side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from _dashboard.paint import first_paints
from rich.console import Console
from rich.table import Table

from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.dashboard.index.index import Index

_LATER_BLOCKS: Final = 140
_GAS_AT_ONCE: Final = 64


def measure(rounds: int, parties: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "_dashboard.node"]
    command += ["--rounds", str(rounds), "--parties", str(parties)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with (
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as node,
        tempfile.TemporaryDirectory(prefix="flo-benchmark-") as directory,
    ):
        assert node.stdout is not None
        url, address = node.stdout.readline().split()
        federation = open_federation(connect(url), address)
        path = Path(directory) / "index.sqlite"
        found = _build(Index(federation, path), federation.node.block_number)
        found["file_mib"] = round(path.stat().st_size / 2**20, 1)
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is not None:
            found.update(first_paints(chromium, federation, path))
        assert node.stdin is not None
        node.stdin.close()
    return {"rounds": rounds, "parties": parties, **found}


def _build(index: Index, head: int) -> dict[str, Any]:
    begun = time.process_time()
    first = head - _LATER_BLOCKS
    index.sync(first // 10)
    early = _memory()
    index.sync(first)
    events = time.process_time()
    late = _memory()
    while index.read_gas(_GAS_AT_ONCE):
        pass
    built = time.process_time()
    later = []
    for block in range(first + 1, head + 1):
        start = time.process_time()
        index.sync(block)
        index.read_gas(_GAS_AT_ONCE)
        later.append(time.process_time() - start)
    return {
        "events_cpu_s": round(events - begun, 1),
        "gas_cpu_s": round(built - events, 1),
        "build_cpu_s": round(built - begun, 1),
        "later_block_ms_median": round(1000 * statistics.median(later), 1),
        "later_block_ms_most": round(1000 * max(later), 1),
        "memory_growth_mib": round(late - early, 1),
    }


def _memory() -> float:
    """The most memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--parties", type=int, default=100)
    options = parser.parse_args()
    silence()
    found = measure(options.rounds, options.parties)
    if options.json:
        print(json.dumps(found))
        return
    table = Table(title="Index of the dashboard")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
