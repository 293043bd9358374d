"""Whether something has become twice as slow: a few short ratios, beside the recorded ones.

    PYTHONPATH=benchmarks python benchmarks/short/slowdown.py [--record]

Each ratio is the CPU time of what the project does over that of something that it cannot change
(reading memory, a hash for each leaf, an empty program, transfers on the same chain), the smallest
of several turns of both. Exits 1 if a ratio is more than twice the one in slowdown.json, which
``--record`` writes anew. A ratio depends on how wide the processor's vectors are: each kind has
its own record, and where there is none, nothing is judged, which is said.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from aggregate import RULES, read_all, run_rule, update
from eth_account import Account
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray
from private import Federation, party
from rich.console import Console
from rich.table import Table
from simulation import ours

from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout

RECORDED: Final = Path(__file__).with_suffix(".json")
LIMIT: Final = 2.0
KINDS: Final = ("AVX512_SKX", "AVX2")
TURNS: Final = 5
UPDATES: Final = 10
PARAMETERS: Final = 1 << 21
PARTIES: Final = 10
TRANSFERS: Final = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """Something of the project, and what it is compared with. Each returns its CPU seconds."""

    words: str
    ours: Callable[[], float]
    other: Callable[[], float]


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A call that returns the CPU seconds of all threads of this process."""

    def measured() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return measured


def program(*command: str) -> Callable[[], float]:
    """The CPU seconds of a process of its own."""

    def measured() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    return measured


def transfers() -> float:
    """The CPU seconds of signed transfers, each in a block of the chain of a simulation."""
    sender: LocalAccount = Account.from_key(b"\x01" * 32)
    chain = DevelopmentChain({sender.address: 10**20})
    call = {"value": 1, "gas": 21_000, "gasPrice": 10**10, "chainId": chain.web3.eth.chain_id}
    start = time.process_time()
    for number in range(TRANSFERS):
        signed = sender.sign_transaction(
            {**call, "nonce": number, "to": (number + 1).to_bytes(20, "big")}
        )
        chain.web3.eth.send_raw_transaction(signed.raw_transaction)
    return time.process_time() - start


def pairs() -> dict[str, Pair]:
    """All comparisons, by their names in the record."""
    updates = [update(i, PARAMETERS) for i in range(UPDATES)]
    out = np.empty(PARAMETERS, np.int16)
    layout = Layout.of([("w", (PARAMETERS,), 0)])
    private = Federation.of(UPDATES, 4)
    masked: NDArray[np.int16] = updates[0][: PARAMETERS // 4]
    read = timed(lambda: read_all(updates))
    leaves = updates[0].view(np.uint8).reshape(-1, 2 * CHUNK_VALUES)
    hashed = timed(lambda: [keccak256(leaf.data) for leaf in leaves])
    empty = program("-c", "pass")
    return {
        **{
            name: Pair(f"{name}, over reading", timed(partial(run_rule, rule, updates, out)), read)
            for name, rule in RULES.items()
        },
        "tree": Pair(
            "chunk tree, over a hash for each leaf",
            timed(lambda: tree_of(layout, updates[0])),
            hashed,
        ),
        "mask": Pair(
            "masked update of a quarter of the size, over the same",
            timed(lambda: party(private, 0, masked)),
            hashed,
        ),
        "help": Pair(
            "flo --help, over an empty program", program("-m", "fl_orchestrator", "--help"), empty
        ),
        "round": Pair(
            f"simulated round of {PARTIES} parties, over {TRANSFERS} transfers",
            lambda: ours(PARTIES, 3, 1000)["cpu_s"],
            transfers,
        ),
    }


def measure(all_pairs: dict[str, Pair]) -> dict[str, float]:
    """The ratio of each pair, after a turn that does not count."""
    ratios = {}
    for name, pair in all_pairs.items():
        turns = [(pair.ours(), pair.other()) for _ in range(TURNS + 1)][1:]
        mine, others = (min(values) for values in zip(*turns, strict=True))
        ratios[name] = round(mine / others, 3)
    return ratios


def show(all_pairs: dict[str, Pair], found: dict[str, float], recorded: dict[str, float]) -> None:
    """Print the ratios beside the recorded ones."""
    table = Table(title=f"At most {LIMIT:g} times the recorded ratio")
    for heading in ("what", "recorded", "now", "times"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, pair in all_pairs.items():
        now, then = found[name], recorded[name]
        table.add_row(pair.words, f"{then:.3g}", f"{now:.3g}", f"{now / then:.2f}")
    Console().print(table)


def processor() -> str:
    """The kind of this processor, by its widest vectors."""
    features = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    return next((kind for kind in KINDS if features.get(kind)), "other")


def slower(found: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """The names of the ratios that are more than ``LIMIT`` times the recorded ones.

    Raises ValueError if they are not of the same things.
    """
    if found.keys() != recorded.keys():
        raise ValueError(f"{RECORDED.name} has other ratios: write it anew with --record")
    return [name for name, ratio in found.items() if ratio > LIMIT * recorded[name]]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the record anew")
    options = parser.parse_args(arguments)
    silence()
    all_pairs = pairs()
    found = measure(all_pairs)
    records = json.loads(RECORDED.read_text())
    if options.record:
        records[processor()] = found
        RECORDED.write_text(json.dumps(records, indent=2) + "\n")
    recorded = records.get(processor())
    show(all_pairs, found, recorded or found)
    if recorded is None:
        print(f"Not judged: {RECORDED.name} has no record of processors with {processor()}.")
        return
    slow = slower(found, recorded)
    if slow:
        raise SystemExit(f"Slower than twice the recorded ratio: {', '.join(slow)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
