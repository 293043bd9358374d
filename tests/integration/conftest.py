"""Fixtures of the integration tests: small federations in this process, and one on Anvil."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site
from support.fixtures import build

__all__ = ["build"]


@pytest.fixture
def open_site(tmp_path: Path, checkout: Path) -> Iterator[Site]:
    """A federation on Anvil whose first round is open."""
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=["clinic"], aggregators=["university"])
            site.open_round()
        site.key("watcher")
        yield site
