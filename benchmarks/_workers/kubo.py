"""Fetches updates from a store and aggregates them, as an aggregator does; prints time and memory.

    python benchmarks/_workers/kubo.py < task.json

It is a separate process, so that its peak memory is that of this work alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.updates import UpdateFetches, plain_updates
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile


def peak_bytes(pid: int | str = "self") -> int:
    """The peak memory of a process in bytes, with program and libraries; 0 if it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def work(task: dict[str, Any], directory: Path) -> dict[str, float]:
    manifest = Manifest.from_bytes(task["manifest"].encode())
    origin = Origin(task["chain_id"], task["federation"])
    store = open_store(task["store"])
    vectors = VectorCache(directory, manifest)
    reveals = [
        RevealedUpdate(1, "0x" + f"{i:040x}", i, weight, bytes.fromhex(root), Cid.parse(cid))
        for i, (cid, root, weight) in enumerate(task["updates"])
    ]
    idle = peak_bytes()
    start = time.perf_counter()
    base = vectors.fetch(
        store, Cid.parse(task["base"][0]), bytes.fromhex(task["base"][1]), origin.state(0)
    )
    files = UpdateFetches(plain_updates(vectors, store, origin)).fetch(reveals)
    fetched = time.perf_counter()
    held = [file for file in files if isinstance(file, VectorFile)]
    if len(held) != len(reveals):
        raise RuntimeError(f"not all updates could be fetched: {files}")
    weighted = [(file, reveal.weight) for file, reveal in zip(held, reveals, strict=True)]
    state = vectors.aggregate(base, weighted, origin.state(1))
    with state.path.open("rb") as stream:
        cid = cid_of(stream)
    aggregated = time.perf_counter()
    with state.path.open("rb") as stream:
        if store.put(stream) != cid:
            raise RuntimeError("the store returned a wrong CID")
    return {
        "bytes": sum(file.path.stat().st_size for file in (base, *held)),
        "fetch_s": fetched - start,
        "aggregate_s": aggregated - fetched,
        "put_s": time.perf_counter() - aggregated,
        "idle_bytes": idle,
        "peak_bytes": peak_bytes(),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(work(json.load(sys.stdin), Path(name))))


if __name__ == "__main__":
    main()
