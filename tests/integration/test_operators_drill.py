"""The operators' drill of docs/operating-a-consortium.md, as written, on a chain of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from integration.anvil_node import anvil_node
from web3 import Web3

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.signing.keys import keystore_address

STEPS = (
    *("create", "admit", "register", "run", "restart all", "lose a disk"),
    *("rotate an aggregator", "add a party", "remove a party", "upgrade", "stop"),
    *("prove it to an auditor", "done"),
)
# Some eighty commands that decrypt a key. It takes four minutes on two free cores.
SECONDS = 1400.0


def federation_in(directory: Path, web3: Web3) -> Federation:
    *_, deployment = DeploymentRecord(directory, web3.eth.chain_id).load().values()
    return open_federation(web3, deployment.address)


@pytest.mark.timeout(1500)
def test_the_drill_goes_from_the_first_key_to_the_last_stake(
    checkout: Path, tmp_path: Path
) -> None:
    place = tmp_path / "drill"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        done = subprocess.run(
            [checkout / "examples" / "operation" / "drill.sh", node.url, place],
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        steps = [line[3:] for line in done.stdout.splitlines() if line.startswith("== ")]
        assert steps == list(STEPS)

        web3 = Web3(Web3.HTTPProvider(node.url))
        old, new = (federation_in(place / d, web3) for d in ("deployments", "deployments-2"))
        assert old.head().round == 6
        assert new.head().round == 1
        # The new one goes on from the old one's numbers.
        assert new.model(0).root == old.head().root
        # Nobody's stake is left in either, and each is out of its seats.
        for file in place.glob("*.json"):
            if file.name not in ("manifest.json", "last.json"):
                account = to_checksum_address(keystore_address(file))
                for federation in (old, new):
                    seen = federation.observe(account)
                    assert (seen.party.stake, seen.aggregator.stake) == (0, 0), file.name
        report = (place / "report.html").read_text()
        assert "All 6 models were computed again from their updates and are equal" in report
        assert "<h2>Contributions</h2>" in report
