"""A private swarm of IPFS nodes: its members exchange updates, when it is time, and nobody else."""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.federation import CLASSES, FEATURES, Build
from support.kubo_daemon import KuboNode, find_kubo, kubo_daemon

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.kubo import KuboStore
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.roles.party.journal import Journal
from fl_orchestrator.roles.setup import publish
from fl_orchestrator.roles.vectors import Origin
from fl_orchestrator.training.numpy_logistic import initial_weights

CONTENT = hashlib.shake_128(b"an update").digest((3 << 20) + 7)


@pytest.fixture(scope="module")
def program() -> Path:
    found = find_kubo()
    if found is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    return found


@pytest.fixture(scope="module")
def swarm(
    program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[KuboNode, KuboNode]]:
    """Two nodes with one key, connected to each other and to nobody else."""
    key, directory = secrets.token_bytes(32), tmp_path_factory.mktemp("swarm")
    with (
        kubo_daemon(program, directory / "one", online=True, swarm_key=key) as one,
        kubo_daemon(
            program, directory / "other", online=True, swarm_key=key, config=one.peering
        ) as other,
    ):
        wait_for_a_block(one, other)
        yield one, other


def wait_for_a_block(one: KuboNode, other: KuboNode) -> None:
    """The check of docs/ipfs.md: a block comes across, and no stranger is a peer."""
    cid = open_store(one.url).put(io.BytesIO(b"the date"))
    assert other.run("--timeout", "30s", "cat", str(cid)) == "the date"
    peers = other.run("swarm", "peers").split()
    assert [peer.rpartition("/")[2] for peer in peers] == [one.peer_id]


def impatient(node: KuboNode) -> KuboStore:
    return KuboStore("127.0.0.1", node.port, timeout_seconds=2)


def providers(node: KuboNode, cid: Cid) -> set[str]:
    """Who says in the swarm that it has this content."""
    return set(node.run("routing", "findprovs", str(cid)).split())


def has_block(node: KuboNode, cid: Cid) -> bool:
    """Whether a node has the root itself: it asks nobody else."""
    try:
        node.run("block", "stat", "--offline", str(cid))
    except RuntimeError as error:
        if "not found" not in str(error):
            raise
        return False
    return True


def test_members_exchange_content_and_a_stranger_gets_nothing(
    program: Path, swarm: tuple[KuboNode, KuboNode], tmp_path: Path
) -> None:
    one, other = swarm
    cid = open_store(one.url).put(io.BytesIO(CONTENT))
    with open_store(other.url).get(cid, len(CONTENT)) as stream:
        assert stream.read() == CONTENT
    with kubo_daemon(program, tmp_path / "stranger", online=True) as stranger:
        for member in swarm:
            with pytest.raises(RuntimeError, match="swarm connect"):
                stranger.connect(member)
        assert stranger.run("swarm", "peers") == ""
        with pytest.raises(ContentNotFound, match="has no peers: join it"):
            impatient(stranger).get(cid, len(CONTENT))
        assert not has_block(stranger, cid)
    assert {one.peer_id, other.peer_id} >= providers(other, cid)


def test_no_node_announces_or_serves_an_update_before_the_commit_phase_has_closed(
    build: Build, swarm: tuple[KuboNode, KuboNode]
) -> None:
    one, other = swarm
    federation = build(parties=2)
    publish(open_store(one.url), federation.manifest, initial_weights(FEATURES, CLASSES))
    parties = [federation.party(i, store=open_store(one.url)) for i in range(2)]
    aggregator = federation.aggregator(0, store=open_store(other.url))
    federation.open_round()
    parties[0].step()
    origin = Origin(federation.federation.chain_id, federation.federation.address)
    entry = Journal(federation.home("parties", 0) / "journal", origin).load(1)
    assert entry is not None
    cid = entry.update.cid

    assert federation.observe(federation.parties[0]).committed.round == 1
    assert federation.observe().current.phase is Phase.COMMIT
    for node in swarm:
        assert not has_block(node, cid)
        assert providers(node, cid) == set()
        with pytest.raises(ContentNotFound):
            impatient(node).get(cid, 1 << 20)

    parties[1].step()
    assert federation.observe().current.phase is Phase.REVEAL
    assert not has_block(one, cid)
    federation.run_to(Phase.ATTEST, parties, 1)
    assert has_block(one, cid)
    assert not has_block(other, cid)
    assert providers(other, cid) == {one.peer_id}

    seen = federation.run_to(Phase.ACCEPTED, [aggregator], 1)
    assert federation.included() == {0, 1}
    assert has_block(other, cid)
    with open_store(one.url).get(seen.head.cid, 1 << 20) as stream:
        assert stream.read()


def test_a_node_that_has_peers_and_delivers_nothing_says_how_to_join_it(
    swarm: tuple[KuboNode, KuboNode],
) -> None:
    nowhere = cid_of(io.BytesIO(b"what nobody has stored"))
    with pytest.raises(ContentNotFound, match="has 1 peers, and none of them gave it") as refusal:
        impatient(swarm[1]).get(nowhere, 1 << 20)
    assert "Peering.Peers" in str(refusal.value.hint)
