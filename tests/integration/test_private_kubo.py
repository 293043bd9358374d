"""Private federations of processes on real IPFS nodes, and a watcher's process beside them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from integration.anvil_node import anvil_node
from support.kubo_daemon import find_kubo, kubo_daemon
from support.private_processes import PrivateProcesses

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.by_url import open_store

PARTIES, AGGREGATORS = 3, 2

# An aggregator that signs a model which is wrong by one unit, and is honest in all else.
LIAR: Final = """
import sys
from dataclasses import replace

from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.cli.main import main
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.roles.aggregator.private import PrivateAggregator

right = PrivateAggregator._compute

def wrong(self, seen, work, opened):
    result = right(self, seen, work, opened)
    meta = self._origin.state(result.round)
    vector = self._vectors.load(self._vectors.held(result.global_root, meta))
    vector[3] += 1
    file = self._vectors.write(meta, in_blocks(vector))
    with file.path.open("rb") as stream:
        cid = self._store.put(stream)
    return replace(result, global_root=file.root, global_cid=cid)

PrivateAggregator._compute = wrong
sys.argv = ["flo", *sys.argv[1:]]
main()
"""


@pytest.fixture
def private(tmp_path: Path, checkout: Path) -> Iterator[PrivateProcesses]:
    """The parties are on one IPFS node; all others on another one, which is joined to it."""
    program = find_kubo()
    if program is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    directory, key = tmp_path / "processes", secrets.token_bytes(32)
    directory.mkdir()
    with (
        anvil_node(checkout, tmp_path / "anvil.log") as node,
        kubo_daemon(program, tmp_path / "sites", online=True, swarm_key=key) as sites,
        kubo_daemon(
            program, tmp_path / "others", online=True, swarm_key=key, config=sites.peering
        ) as others,
    ):
        roles = {"party": sites.url, "aggregator": others.url}
        roles |= {"keeper": others.url, "watcher": others.url}
        federation = PrivateProcesses(directory, node, PARTIES, AGGREGATORS, stores=roles)
        try:
            yield federation
        finally:
            federation.stop()


def start(private: PrivateProcesses) -> None:
    """Start the keeper with its relay, and the parties, which send through it."""
    private.start_keeper(rounds=1)
    for number in range(PARTIES):
        private.start_party(number)


def test_parties_and_aggregators_on_two_ipfs_nodes_make_a_round(private: PrivateProcesses) -> None:
    start(private)
    for number in range(AGGREGATORS):
        private.start_aggregator(number)
    seen = private.wait(lambda seen: seen.head.round == 1, 240, "round 1 is accepted")
    assert seen.claims.locked == 0b111
    # Each site reads the model from its own node.
    for name in ("party 0", "aggregator 0"):
        with open_store(private.store(name)).get(seen.head.cid, 1 << 20) as stream:
            assert stream.read()


def test_a_watchers_process_undoes_a_model_that_all_aggregators_signed(
    private: PrivateProcesses,
) -> None:
    private.start("watcher", "watcher", "run", *private.working("watcher"))
    start(private)
    for name in private.aggregators:
        private.run(name, "-c", LIAR, "aggregator", "run", *private.working(name))
    private.wait(
        lambda seen: (
            (seen.current.round, seen.current.phase, seen.head.round) == (1, Phase.VOID, 0)
        ),
        240,
        "the wrong model is undone",
    )
    private.wait(
        lambda _: not any(private.seen(name).aggregator.stake for name in private.aggregators),
        60,
        "who signed it has lost the stake",
    )
    assert "challenge" in private.children["watcher"].tail()
