"""After ten faults, nothing is lost and rounds continue. `make chaos` has many more faults.

It takes about four minutes. Half of that are the deadlines of requests that dripping servers hold:
20 s for the chain and the relay, 70 s for the IPFS node.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kubo_daemon import find_kubo

from chaos.checks import check
from chaos.faults import faults_of
from chaos.run import SHORT, long_plan, run
from chaos.world import world
from fl_orchestrator.service.local.federation import Plan


@pytest.mark.timeout(1200)  # The waits inside have deadlines, and the machine may be busy.
def test_a_federation_survives_ten_faults(tmp_path: Path, checkout: Path) -> None:
    kubo = find_kubo()
    if kubo is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    anvil = checkout / "node_modules/.bin/anvil"
    with world(tmp_path / "world", anvil, Plan(parties=2, aggregators=1), kubo) as made:
        run(made, SHORT, print)
        made.wait_for_rounds(1, 240)
        made.end(240)
        print(check(made, tmp_path / "audit"))


@pytest.mark.parametrize("private", [False, True], ids=["plain", "private"])
def test_the_long_form_has_every_fault_and_hits_every_role(private: bool) -> None:
    shape = Plan(parties=4, aggregators=4, private=private)
    plan = long_plan(1, shape)
    assert len(plan) >= 60
    assert plan == long_plan(1, shape)
    assert plan != long_plan(2, shape)
    assert {planned.fault for planned in plan} == set(faults_of(shape))
    assert ("reorg drops a claim" in faults_of(shape)) == private
    roles = {planned.target.partition("-")[0] for planned in plan if planned.fault == "killed"}
    assert roles == {"party", "aggregator", "watcher", "keeper", "everybody"}
