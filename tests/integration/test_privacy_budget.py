"""`flo party run --privacy-budget` as a process: trains with noise, then sits out and says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site
from integration.test_party_day import (
    figures,
    free_port,
    new_site,
    party,
    running,
    settings,
    stopped,
    wait_until,
)
from support.flo import finish, flo

from fl_orchestrator.roles.party.spending import FILE

DELTA = ["--delta", "1e-3"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        yield node


@pytest.fixture
def site(tmp_path: Path, node: AnvilNode) -> Site:
    return new_site(tmp_path, node, "hospital", "clinic")


def test_a_party_spends_its_budget_and_sits_out_from_then_on(site: Site) -> None:
    port = free_port()
    hospital, clinic = settings(site, "hospital"), settings(site, "clinic")
    ample = ["--privacy-budget", "50", *DELTA, "--json"]
    one_round = (
        flo(*party(hospital, "check", *ample)).succeeded().json["privacy"]["epsilon_of_a_round"]
    )
    # Enough for one training, and not for two.
    most = 1.1 * one_round
    budget = ["--privacy-budget", str(most), *DELTA]
    home = ["--home", f"{site.directory}/home", "--store", site.store_url]
    keeper = ["keeper", "run", *site.key("owner"), *site.on_chain(), *home, "--rounds", "2"]
    with (
        running(*keeper) as kept,
        running("aggregator", "run", *site.working("university")),
        running(*party(clinic, "run")),
        running(*party(hospital, "run", *budget, "--metrics", str(port))) as run,
    ):
        wait_until(lambda: "flo_rounds_sat_out" in figures(port) or run.poll() is not None, 240)
        if run.poll() is not None:
            finish(run).succeeded()
        wait_until(lambda: spent(figures(port)) > 0, 240)
        wait_until(lambda: 'flo_rounds_sat_out{role="party"} 1.0' in figures(port), 300)
        site.node.pass_time(200_000)
        finish(kept)
        done = stopped(run).succeeded()
    assert "The privacy budget is spent" in done.err
    ledger = json.loads(next(site.directory.rglob(FILE)).read_text())
    assert [one["trainings"] for one in ledger["spent"]] == [1]
    status = flo(*party(hospital, "status", "--json")).succeeded().json
    assert 0 < status["privacy_epsilon_spent"] <= status["privacy_budget"] == most


def spent(text: str) -> float:
    for line in text.splitlines():
        if line.startswith("flo_privacy_epsilon_spent"):
            return float(line.split()[-1])
    return 0.0
