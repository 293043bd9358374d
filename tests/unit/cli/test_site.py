"""What the options of a site open."""

from __future__ import annotations

from pathlib import Path

from support.federation import SmallFederation
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.cli.site import deployed_at, open_federation


def test_the_recorded_federation_is_opened_as_what_it_is(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path / "private", parties=3, aggregators=1)
    plain = SmallFederation(tmp_path / "plain", parties=1, aggregators=1)
    for federation, kind in ((private, PrivateFederation), (plain, Federation)):
        record = federation.directory / "deployments"
        found = open_federation(Node(federation.chain.web3), None, record)
        assert type(found) is kind
        assert found.address == federation.federation.address
        assert deployed_at(found, record) == federation.deployment.block
        named = open_federation(Node(federation.chain.web3), found.address.lower(), record)
        assert type(named) is kind
