"""One look for many accounts through a node's JSON-RPC, and after its chain was reorganised."""

from __future__ import annotations

from pathlib import Path

from integration.anvil_node import anvil_node
from integration.anvil_site import Site

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.nodes.connect import connect


def test_looks_through_a_node_are_what_the_contract_says(tmp_path: Path, checkout: Path) -> None:
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            shared = Federation(connect(node.url), site.federation.address)
            shared.share()
            accounts: list[str] = [site.federation.address]

            def agree() -> None:
                for account in accounts:
                    seen = shared.observe(account)
                    assert seen == shared.read_observation(account)

            agree()
            site.admit_and_register(parties=["clinic", "hospital"], aggregators=["university"])
            accounts += [site.address(n) for n in ("clinic", "hospital", "university")]
            agree()
            snapshot = node.rpc("evm_snapshot")
            site.open_round()
            agree()
            node.pass_time(3)
            agree()
            node.rpc("evm_revert", snapshot)
            agree()
            site.open_round()
            agree()
