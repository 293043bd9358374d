"""How many blocks after the last reveal a large model is accepted, with a process for each member.

    PYTHONPATH=benchmarks python benchmarks/latency/acceptance.py [--json] [--parameters 25000000]
        [--parties 5] [--block-seconds 2] [--runs 3] [--store file|kubo]

A federation on Anvil and on this machine, with a store in a directory, or with two IPFS nodes, of
which the parties use one and the aggregator the other. Parties add noise to the model instead of
training. The aggregator fetches, checks and hashes each update once it is revealed. After the last
reveal are left: that update, the aggregation, and the transaction; and all updates, if they are
revealed in one block. The blocks are those of the events.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import Any, Final

import numpy as np
from kubo import PERIOD, TRAINER, manifest, measure, swarm, zeros
from rich.console import Console
from rich.table import Table

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.service.local.federation import LocalFederation, Model, Plan
from fl_orchestrator.service.local.programs import anvil, find_program
from fl_orchestrator.training.data import Rows

ROOT: Final = Path(__file__).resolve().parents[2]
GOAL_BLOCKS: Final = 2
ROUND: Final = 1


def last_block(events_since: Callable[[int], Sized], newest: int) -> int:
    """The last block that has one of the events, which at least one has."""
    low, high = 0, newest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(events_since(middle)) else (low, middle - 1)
    return low


def blocks_of(chain: Federation, account: str) -> dict[str, int]:
    """The blocks of the first and the last reveal of the round, and that of its acceptance."""
    newest = chain.observe(account).block_number
    reveals = chain.revealed_updates(0, round_number=ROUND)
    first = next(
        block
        for block in range(newest + 1)
        if len(chain.revealed_updates(0, block, round_number=ROUND))
    )
    return {
        "reveals": len(reveals),
        "first_reveal": first,
        "last_reveal": last_block(
            lambda block: chain.revealed_updates(block, round_number=ROUND), newest
        ),
        "accepted": last_block(
            lambda block: chain.accepted_digests(block, round_number=ROUND), newest
        ),
    }


def one_round(parameters: int, parties: int, block_seconds: int, store: str) -> dict[str, Any]:
    program = find_program("anvil") or find_program("anvil", ROOT / "node_modules/.bin/anvil")
    if program is None:
        raise SystemExit("There is no Anvil: install Foundry, or run npm ci.")
    nobody = Rows(np.zeros((1, 1), np.float32), np.zeros(1, np.int32))
    model = manifest(parameters)
    trained = Model(model, zeros(model), [nobody] * parties, 2, TRAINER)
    terms = Terms(
        parties, parties, commit_period=PERIOD, reveal_period=PERIOD, attest_period=PERIOD
    )
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {"party": (directory / "store").as_uri()}
        if store == "kubo":
            one, other = stack.enter_context(swarm(directory))
            urls = {"party": one.url, "aggregator": other.url}
        rpc = stack.enter_context(anvil(program, directory / "chain", block_seconds))
        local = LocalFederation(directory / "federation", Plan(parties, 1))
        chain = local.deploy(connect(rpc), urls["party"], trained, terms)
        stores = [urls.get(member.role, urls["party"]) for member in local.members()]
        local.write_sites(chain, rpc, stores, trained)
        measure(local, chain)
        blocks = blocks_of(chain, local.owner.address)
    return {**blocks, "blocks": blocks["accepted"] - blocks["last_reveal"]}


def show(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    table = Table(
        title=f"{options.parties} updates of {options.parameters:,} parameters, "
        f"a block each {options.block_seconds} s"
    )
    for heading in ("first reveal, block", "last reveal", "accepted", "blocks", "goal", "met"):
        table.add_column(heading, justify="right")
    for one in found:
        blocks = (str(one[key]) for key in ("first_reveal", "last_reveal", "accepted", "blocks"))
        met = "yes" if one["blocks"] <= GOAL_BLOCKS else "NO"
        table.add_row(*blocks, f"≤ {GOAL_BLOCKS}", met)
    Console().print(table)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parameters", type=int, default=25_000_000)
    parser.add_argument("--parties", type=int, default=5)
    parser.add_argument("--block-seconds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--store", choices=["file", "kubo"], default="file")
    options = parser.parse_args(arguments)
    silence()
    found = [
        one_round(options.parameters, options.parties, options.block_seconds, options.store)
        for _ in range(options.runs)
    ]
    if options.json:
        middle = statistics.median(one["blocks"] for one in found)
        print(json.dumps({"runs": found, "blocks_to_acceptance": middle}, indent=2))
    else:
        show(found, options)


if __name__ == "__main__":
    main(sys.argv[1:])
