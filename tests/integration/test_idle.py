"""What a process costs that waits: at most two requests for each block."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site
from support.federation import trainers
from support.rpc_proxy import rpc_proxy

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.party.party import Party, PartySettings
from fl_orchestrator.roles.relay import Mailbox
from fl_orchestrator.roles.watcher.watcher import Watcher
from fl_orchestrator.service.loop import Service
from fl_orchestrator.service.stop import Stop

BLOCKS = 16
ROLES = ("party", "aggregator", "keeper", "watcher")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """A federation in the commit phase of its first round."""
    directory = tmp_path_factory.mktemp("idle")
    with anvil_node(checkout, directory / "anvil.log") as node:
        site = Site(directory, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=["hospital", "absent"], aggregators=["university"])
            site.open_round()
        for name in ("keeper", "watcher"):
            site.key(name)
        yield site


def context_of(site: Site, role: str, chain: Federation) -> Context:
    names = {"party": "hospital", "aggregator": "university"}
    signer = site.signers[names.get(role, role)]
    return Context(
        federation=chain,
        sender=Sender(chain.web3, signer, chain.reverts),
        store=LocalStore(site.directory / "store"),
        manifest=site.manifest,
        home=site.directory / role,
    )


def workers(context: Context, role: str) -> list[Worker]:
    if role == "party":
        return [Party(context, trainers(1)[0], PartySettings(0))]
    if role == "keeper":
        return [Keeper(context.federation, context.sender, Mailbox(), 0)]
    if role == "watcher":
        return [Watcher(context)]
    return [Aggregator(context, Responder(context, context.round_index()))]


@pytest.fixture(scope="module")
def requests_per_block(site: Site) -> dict[str, float]:
    """What each role asks of the chain for a block, when it has nothing to do."""
    with ExitStack() as stack:
        proxies = {role: stack.enter_context(rpc_proxy(site.node.port)) for role in ROLES}
        stop = Stop()
        threads = []
        for role, proxy in proxies.items():
            chain = Federation(connect(proxy.url), site.federation.address)
            context = context_of(site, role, chain)
            service = Service(chain, context.address, workers(context, role), stop)
            threads.append(threading.Thread(target=service.run))
        for thread in threads:
            thread.start()
        try:
            # Until they have done what there is to do, and know the block time.
            time.sleep(6)
            first = site.observe().block_number
            before = {role: proxy.requests for role, proxy in proxies.items()}
            while (block := site.observe().block_number) < first + BLOCKS:
                time.sleep(0.05)
            return {r: (p.requests - before[r]) / (block - first) for r, p in proxies.items()}
        finally:
            stop.request()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("role", ROLES)
def test_an_idle_party_makes_at_most_two_requests_per_block(
    requests_per_block: dict[str, float], role: str
) -> None:
    assert 0 < requests_per_block[role] <= 2


def test_who_waits_for_a_round_looks_at_every_block(requests_per_block: dict[str, float]) -> None:
    for role in ("party", "aggregator", "keeper"):
        assert requests_per_block[role] > 0.8, role
