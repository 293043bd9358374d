"""What docs/operating-a-consortium.md says of back-ups: a role loses each of its files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from support.disputes import accept_a_lie, run_watchers, submit_updates, vector_federation, watcher
from support.federation import SmallFederation

from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending.budget import Budget, BudgetExceeded
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.cli.site import NoRecordedFederation, deployed_at, open_federation
from fl_orchestrator.relay.box import StoredMailbox
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.watcher.watcher import WatcherSettings


def lose(path: Path) -> None:
    assert path.exists()
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize("name", ["vectors", "journal"])
def test_a_party_and_an_aggregator_go_on_without_what_they_can_have_again(
    tmp_path: Path, name: str
) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    federation.run_round(federation.everybody())
    lose(federation.home("parties", 0) / name)
    shutil.rmtree(federation.home("aggregators", 0))
    seen = federation.run_round(federation.everybody(), 2)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 2)
    assert federation.included(2) == {0, 1}


def test_a_party_without_its_journal_loses_the_round_and_takes_part_in_the_next(
    tmp_path: Path,
) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    federation.open_round()
    for number in range(2):
        assert federation.party(number).step().action == "commit"
    lose(federation.home("parties", 0) / "journal")
    federation.run_round(federation.everybody())
    assert federation.included() == {1}
    federation.run_round(federation.everybody(), 2)
    assert federation.included(2) == {0, 1}


@pytest.mark.parametrize("name", ["private", "vectors", "right-models.json"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_watcher_convicts_a_wrong_model_whatever_it_lost_on_the_way(
    tmp_path: Path, name: str, steps: int
) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation)
    settings = WatcherSettings()
    role = watcher(federation, settings=settings)
    for _ in range(steps):
        role.step()
        federation.chain.mine()
    lose(federation.directory / "watchers" / "0" / name)
    run_watchers(federation, watcher(federation, settings=settings))
    assert federation.observe().head.round == 0
    assert [federation.observe(k).aggregator.stake for k in federation.aggregators] == [0]


class _KeepersMailbox:
    """The mailbox that the keeper has now."""

    def __init__(self, federation: SmallFederation) -> None:
        self._federation = federation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._federation.mailbox, name)


def test_parties_send_themselves_what_a_keeper_lost(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    box = tmp_path / "relay" / "box.sqlite"
    federation.mailbox = StoredMailbox(box)
    federation.open_round()
    relay = cast(Relay, _KeepersMailbox(federation))
    parties = [federation.party(number, relay=relay) for number in range(2)]
    assert [party.step().action for party in parties] == ["post commit"] * 2
    federation.mailbox.close()
    lose(box.parent)
    federation.mailbox = StoredMailbox(box)
    federation.run_round([*parties, federation.aggregator(0)])
    assert federation.included() == {0, 1}


def test_the_daily_cap_begins_anew_without_its_file(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    Budget(path, gas_per_day=10).charge(0, 10, 0)
    with pytest.raises(BudgetExceeded):
        Budget(path, gas_per_day=10).charge(1, 1, 0)
    lose(path)
    Budget(path, gas_per_day=10).charge(1, 10, 0)
    assert Budget(path).spent_today() == (10, 0)


def test_a_party_that_lost_its_pause_takes_part_again(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    federation.open_round()
    pause = tmp_path / "paused"
    pause.touch()
    party = federation.party(0, paused=pause.exists)
    assert party.step().action is None
    lose(pause)
    assert party.step().action == "commit"


def test_a_federation_whose_record_is_lost_is_found_by_its_address(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    lose(tmp_path / "deployments")
    found = open_federation(
        Node(federation.chain.web3), federation.federation.address, tmp_path / "deployments"
    )
    assert found.params() == federation.params
    assert deployed_at(found, tmp_path / "deployments") == 0
    with pytest.raises(NoRecordedFederation, match="--federation"):
        open_federation(Node(federation.chain.web3), None, tmp_path / "deployments")
