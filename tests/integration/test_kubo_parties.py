"""Parties with different stores take part in one round."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.federation import CLASSES, FEATURES, Build
from support.gateway import gateway, serving
from support.kubo_daemon import find_kubo, kubo_daemon

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.setup import publish
from fl_orchestrator.training.numpy_logistic import initial_weights


def test_a_directory_with_gateways_and_an_ipfs_node_make_one_round(
    build: Build, tmp_path: Path
) -> None:
    program = find_kubo()
    if program is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    federation = build(parties=2)
    own = f"file://{tmp_path}/own"
    # What a party keeps in a directory reaches others through a gateway: a relay, in earnest.
    with (
        kubo_daemon(program, tmp_path / "ipfs") as node,
        gateway(serving(open_store(own))) as gives,
    ):
        publish(open_store(node.url), federation.manifest, initial_weights(FEATURES, CLASSES))
        roles: list[Worker] = [
            federation.party(0, store=open_store(own, [node.gateway])),
            federation.party(1, store=open_store(node.url)),
            federation.aggregator(0, store=open_store(node.url, [gives.url])),
        ]
        federation.run_round(roles)
        assert federation.observe().current.phase is Phase.ACCEPTED
        assert federation.included() == {0, 1}
        head = federation.federation.head()
        # Each reads the new model from where it looks.
        for store in (open_store(own, [node.gateway]), open_store(node.url)):
            with store.get(head.cid, 1 << 20) as stream:
                assert stream.read()
