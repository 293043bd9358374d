"""`flo dashboard` as a process on Anvil: reorganisations, outages, two on one index, bad input."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site
from support.flo import Finished, flo, start_flo
from support.rpc_proxy import rpc_proxy

PATIENCE = 90.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """A federation with two parties and an aggregator, before its first round."""
    directory = tmp_path_factory.mktemp("dashboard")
    with anvil_node(checkout, directory / "anvil.log") as node:
        site = Site(directory, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=["hospital", "clinic"], aggregators=["university"])
        yield site


@contextmanager
def dashboard(site: Site, *options: str, rpc: str = "") -> Iterator[str]:
    """The URL of a dashboard in a process, which ends without an error."""
    place = ["--store", site.store_url, "--home", f"{site.directory}/home", "--listen", "0"]
    process = start_flo("dashboard", *site.on_chain(rpc), *place, *options)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"is at (http://\S+)", line)
        assert found, line + str(process.communicate(timeout=20))
        yield found[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()


def state(url: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{url}api/state", timeout=20).json()
    return found


def eventually(url: str, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = state(url)
        if "chain" in found and wanted(found):
            return found
        time.sleep(0.2)
    raise AssertionError(json.dumps(found))


def test_what_a_reorganisation_undid_leaves_the_page(site: Site) -> None:
    node: AnvilNode = site.node
    with dashboard(site) as one, dashboard(site) as two:
        for url in (one, two):
            eventually(url, lambda s: s["accounts"]["party"]["registered"] == 2)
        before = node.rpc("evm_snapshot")
        site.open_round()
        for url in (one, two):
            found = eventually(url, lambda s: s["round"]["waiting"])
            assert found["totals"]["rounds"] == 1
            assert len(found["round"]["waiting"]) == 2
        assert node.rpc("evm_revert", before)
        node.rpc("anvil_mine", hex(40))
        for url in (one, two):
            found = eventually(
                url, lambda s: s["round"]["round"] == 0 and not s["totals"]["rounds"]
            )
            assert found["data"]["epoch"] == 1
            assert requests.get(f"{url}api/rounds", timeout=20).json()["number"] == []
    # Started again, it goes on with what it has.
    site.open_round()
    with dashboard(site) as url:
        eventually(url, lambda s: s["totals"]["rounds"] == 1)
        assert requests.get(f"{url}api/rounds/1", timeout=20).json()["drawn"] == 2


def test_a_chain_that_does_not_answer_is_said_to_be_silent(site: Site, tmp_path: Path) -> None:
    with (
        rpc_proxy(site.node.port) as proxy,
        dashboard(site, "--index", str(tmp_path / "index"), rpc=proxy.url) as url,
    ):
        before = eventually(url, lambda s: s["accounts"]["party"]["registered"])
        proxy.mode = "refuse"
        found = eventually(url, lambda s: s["error"] is not None and s["silent"] > 2)
        assert found["accounts"] == before["accounts"]
        assert "refuses requests" in found["error"]
        proxy.mode = "pass"
        found = eventually(url, lambda s: s["error"] is None)
        assert found["silent"] < PATIENCE


def refused(site: Site, *options: str) -> Finished:
    home = ["--home", f"{site.directory}/home", "--listen", "0"]
    return flo("dashboard", *site.on_chain(), *home, *options)


def test_bad_input_is_refused_with_a_sentence(site: Site, tmp_path: Path) -> None:
    other = site.federation.libraries["DisputeLogic"].hex()
    refused(site, "--federation", f"0x{other}").refused(3, "There is no federation of this version")
    refused(site, "--federation", "0x" + "12" * 20).refused(3, "there is no contract")
    refused(site, "--rpc", "http://127.0.0.1:9").refused(3, "does not answer")
    refused(site, "--root-path", "flo/").refused(2, "is not a path")
    refused(site, "--measures", str(tmp_path)).refused(2, "no record of accuracies")
    refused(site, "--recompute").refused(2, "needs --store")
    refused(site, "--index", "/proc/none/index").refused(4, "cannot be used")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(site, "--listen", port).refused(2, "Cannot listen")


def test_strangers_get_no_recomputation_unless_asked_for(site: Site, tmp_path: Path) -> None:
    index = ["--index", str(tmp_path / "index")]
    with dashboard(site, *index, "--host-name", "flo.example") as url:
        assert state(url)["recompute"]["allowed"] is False
        named = requests.get(f"{url}api/state", headers={"Host": "flo.example"}, timeout=20)
        assert named.status_code == 200
        other = requests.get(f"{url}api/state", headers={"Host": "evil.example"}, timeout=20)
        assert other.status_code == 421
    with dashboard(site, *index, "--host-name", "flo.example", "--recompute") as url:
        assert state(url)["recompute"]["allowed"] is True


def test_settings_are_read_from_flo_toml(site: Site, tmp_path: Path) -> None:
    settings = tmp_path / "flo.toml"
    settings.write_text(
        f'rpc = "{site.node.url}"\ndeployments = "{site.directory}/deployments"\n'
        f'store = "{site.store_url}"\nhome = "{tmp_path}/home"\n'
    )
    process: subprocess.Popen[str] = start_flo(
        "--config", str(settings), "dashboard", "--listen", "0"
    )
    try:
        assert process.stdout is not None
        assert "is at http://127.0.0.1:" in process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=60)
