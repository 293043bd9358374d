"""The cost of a model of 25 million parameters with IPFS nodes: seconds, bytes and memory.

    python benchmarks/kubo.py [--json] [--parameters 25000000] [--updates 5] [--only transfer|round]

It uses two nodes (Kubo) of a private swarm on this machine. *transfer*: the updates and the base
model are put into one node; then a separate process fetches them through the other node, aggregates
them and stores the next model. The same is measured with a directory, in turns. *round*: a
federation of real processes on Anvil (`flo party run` and so on); the parties use one node, the
aggregator and the watcher the other. The parties add noise to the model instead of training.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from _workers.kubo import peak_bytes
from rich.console import Console
from rich.table import Table

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, RuleSpec, TensorSpec, TrainingSpec
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.roles.setup import Terms, publish
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.service.local.federation import LocalFederation, Member, Model, Plan
from fl_orchestrator.service.local.programs import anvil, find_program
from fl_orchestrator.service.local.supervisor import Supervisor
from fl_orchestrator.training.data import Rows

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support.kubo_daemon import KuboNode, find_kubo, kubo_daemon  # noqa: E402

GOAL_BYTES: Final = 600 << 20
TENSORS: Final = 25
PERIOD: Final = 600
TIMEOUT_SECONDS: Final = 1800.0

TRAINER: Final = '''\
"""Trains nothing: it adds noise of its own to the weights, in place."""

import numpy as np


class Noise:
    def fit(self, weights, config):
        generator = np.random.default_rng(config["seed"])
        for values in weights:
            flat = values.reshape(-1)
            for start in range(0, flat.size, 1 << 16):
                block = flat[start : start + (1 << 16)]
                block += generator.standard_normal(block.size, np.float32) * np.float32(0.01)
        return weights, 10, {"loss": 0.0}

    def evaluate(self, weights, config):
        return 0.0, 10, {"accuracy": 0.0}


def make_trainer():
    return Noise()
'''


def manifest(parameters: int) -> Manifest:
    size = parameters // TENSORS
    names = [f"w{i}" for i in range(TENSORS)]
    return Manifest(
        name="benchmark",
        tensors=tuple(TensorSpec(name=name, shape=(size,)) for name in names),
        depth=Layout.of((name, (size,), 0) for name in names).depth,
        rule=RuleSpec(),
        samples_per_weight=10,
        training=TrainingSpec(
            epochs=1,
            batch_size=1,
            learning_rate=0.1,
            optimizer="sgd",
            loss="sparse_categorical_crossentropy",
        ),
    )


def zeros(model: Manifest) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    return [np.zeros(tensor.shape, np.float32) for tensor in model.tensors]


@contextlib.contextmanager
def swarm(directory: Path) -> Iterator[tuple[KuboNode, KuboNode]]:
    """Two nodes with the same swarm key, connected only to each other."""
    program, key = find_kubo(), secrets.token_bytes(32)
    if program is None:
        raise SystemExit("There is no IPFS node program: run scripts/build_kubo.sh.")
    with (
        kubo_daemon(program, directory / "one", online=True, swarm_key=key) as one,
        kubo_daemon(program, directory / "other", online=True, swarm_key=key) as other,
    ):
        other.connect(one)
        yield one, other


# ---------------------------------------------------------------------- transfer of updates


def offer(store_url: str, model: Manifest, updates: int, directory: Path) -> dict[str, Any]:
    """Put the base model and random updates into a store; return the worker's task, without a
    store."""
    store, origin = open_store(store_url), Origin(31337, "0x" + "ab" * 20)
    genesis = publish(store, model, zeros(model))
    vectors = VectorCache(directory, model)
    generator = np.random.default_rng(0)
    offered, seconds = [], []
    for _ in range(updates):
        values = generator.integers(-3000, 3000, model.layout.parameters, np.int16)
        file = vectors.write(origin.update(1), in_blocks(values))
        start = time.perf_counter()
        with file.path.open("rb") as stream:
            cid = store.put(stream)
        seconds.append(time.perf_counter() - start)
        offered.append((str(cid), file.root.hex(), 1))
        file.path.unlink()
    return {
        "manifest": model.to_bytes().decode(),
        "chain_id": origin.chain_id,
        "federation": origin.federation,
        "base": (str(genesis.cid), genesis.root.hex()),
        "updates": offered,
        "put_update_s": statistics.median(seconds),
    }


def fetch(task: dict[str, Any], store_url: str) -> dict[str, float]:
    """Run a task in another process; return its figures."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "_workers" / "kubo.py"],
        input=json.dumps({**task, "store": store_url}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return {**found, "put_update_s": task["put_update_s"]}


def transfer(parameters: int, updates: int) -> dict[str, Any]:
    """The figures of both stores. A worker runs once before, to compile the rule."""
    model, small = manifest(parameters), manifest(TENSORS * 256)
    with tempfile.TemporaryDirectory() as name, swarm(Path(name)) as (one, other):
        directory = Path(name)
        common = (directory / "store").as_uri()
        fetch(offer(common, small, 1, directory / "work"), common)
        found = {
            "file": fetch(offer(common, model, updates, directory / "work"), common),
            "kubo": fetch(offer(one.url, model, updates, directory / "work"), other.url),
        }
    timed = ("put_update_s", "fetch_s", "aggregate_s", "put_s")
    return {**found, "ratio": {key: found["kubo"][key] / found["file"][key] for key in timed}}


# ---------------------------------------------------------------------- a round of real processes


def federation_round(parameters: int, parties: int) -> dict[str, Any]:
    """Run one round, until its model is accepted and a watcher has recomputed it."""
    program = find_program("anvil") or find_program("anvil", ROOT / "node_modules/.bin/anvil")
    if program is None:
        raise SystemExit("There is no Anvil: install Foundry, or run npm ci.")
    nobody = Rows(np.zeros((1, 1), np.float32), np.zeros(1, np.int32))
    model = Model(manifest(parameters), zeros(manifest(parameters)), [nobody] * parties, 2)
    terms = Terms(
        parties, parties, commit_period=PERIOD, reveal_period=PERIOD, attest_period=PERIOD
    )
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one, other = stack.enter_context(swarm(directory))
        rpc = stack.enter_context(anvil(program, directory / "chain"))
        local = LocalFederation(directory / "federation", Plan(parties, 1))
        chain = local.deploy(connect(rpc), one.url, model, terms)
        stores = [one.url if m.role == "party" else other.url for m in local.members()]
        local.write_sites(chain, rpc, stores, model)
        for party in local.parties:
            (party.directory / "trainer.py").write_text(TRAINER)
        return measure(local, chain)


def measure(local: LocalFederation, chain: Federation) -> dict[str, Any]:
    """Run all processes; return the time of each phase's start and each process's memory."""
    members: Sequence[Member] = list(local.members())
    children = [
        member.child(*(["--rounds", "1"] if member.role == "keeper" else [])) for member in members
    ]
    supervisor = Supervisor(children)
    start, began, peaks = time.perf_counter(), dict[str, float](), dict[str, int]()
    watched = local.watchers[0].directory / "home"
    supervisor.start()
    try:
        for _ in itertools.count():
            current = chain.observe(local.owner.address).current
            if current.round == 1:
                began.setdefault(current.phase.name.lower(), time.perf_counter() - start)
            for child in children:
                with contextlib.suppress(OSError):
                    peaks[child.name] = max(peaks.get(child.name, 0), peak_bytes(child.pid))
            checked = any(watched.rglob("right-models.json"))
            if (current.phase is Phase.ACCEPTED and checked) or current.phase is Phase.VOID:
                break
            if time.perf_counter() - start > TIMEOUT_SECONDS:
                raise RuntimeError("the round does not end")
            supervisor.watch()
            time.sleep(0.2)
        began["watched"] = time.perf_counter() - start
        if current.phase is not Phase.ACCEPTED:
            raise RuntimeError("the round is void:\n" + "\n".join(c.tail() for c in children))
    finally:
        supervisor.stop()
    return {
        "parties": len(local.parties),
        "reveals": current.reveals,
        "began_s": began,
        "peak_bytes": peaks,
    }


# ---------------------------------------------------------------------- figures


def show_transfer(found: dict[str, Any], parameters: int, updates: int) -> None:
    table = Table(title=f"{updates} updates of {parameters:,} values, and the base model")
    for heading in ("", "directory", "IPFS nodes", "ratio"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = {
        "put an update, s": "put_update_s",
        "fetch and check everything, s": "fetch_s",
        "aggregate, s": "aggregate_s",
        "put the next model, s": "put_s",
    }
    for label, key in rows.items():
        sides = (f"{found[side][key]:.2f}" for side in ("file", "kubo"))
        table.add_row(label, *sides, f"{found['ratio'][key]:.1f}")
    for label, key in (
        ("fetched, MB", "bytes"),
        ("memory before, MB", "idle_bytes"),
        ("most memory, MB", "peak_bytes"),
    ):
        table.add_row(label, *(f"{found[side][key] / 1e6:.0f}" for side in ("file", "kubo")), "")
    console = Console()
    console.print(table)
    met = found["kubo"]["peak_bytes"] <= GOAL_BYTES
    console.print(f"Goal: at most {GOAL_BYTES >> 20} MiB: {'met' if met else 'MISSED'}.")


def show_round(found: dict[str, Any], parameters: int) -> None:
    console = Console()
    table = Table(title=f"A round of {found['parties']} parties, {parameters:,} parameters")
    table.add_column("process")
    table.add_column("most memory, MB", justify="right")
    table.add_column(f"≤ {GOAL_BYTES >> 20} MiB")
    for name, size in sorted(found["peak_bytes"].items()):
        table.add_row(name, f"{size / 1e6:.0f}", "yes" if size <= GOAL_BYTES else "NO")
    console.print(table)
    moments = ", ".join(f"{name} {at:.0f} s" for name, at in found["began_s"].items())
    console.print(f"Since the processes were started: {moments}.")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parameters", type=int, default=25_000_000)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--only", choices=["transfer", "round"])
    options = parser.parse_args(arguments)
    silence()
    found = {}
    if options.only != "round":
        found["transfer"] = transfer(options.parameters, options.updates)
        if not options.json:
            show_transfer(found["transfer"], options.parameters, options.updates)
    if options.only != "transfer":
        found["round"] = federation_round(options.parameters, options.updates)
        if not options.json:
            show_round(found["round"], options.parameters)
    if options.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
