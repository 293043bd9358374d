"""What docs/operating-a-consortium.md says of back-ups: a role loses each of its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.disputes import accept_a_lie, run_watchers, submit_updates, vector_federation, watcher
from support.federation import SmallFederation

from fl_orchestrator.chain.types import Phase
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
