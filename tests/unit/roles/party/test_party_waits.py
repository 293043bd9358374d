"""What a party waits for when it has nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.federation import SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.base import ANY_TIME, Step, in_phase
from fl_orchestrator.roles.schedule import Schedule


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    """With an open round of two parties."""
    found = SmallFederation(tmp_path, parties=2)
    found.open_round()
    return found


def test_a_party_that_has_committed_waits_for_the_phase_to_move(
    federation: SmallFederation,
) -> None:
    party = federation.party(0)
    taking_part = in_phase(Phase.COMMIT, Phase.REVEAL)
    assert party.step() == Step("commit", taking_part)
    assert party.step() == Step(None, taking_part)
    assert federation.party(1).step().action == "commit"
    assert party.step() == Step("reveal", taking_part)
    assert party.step() == Step(None, taking_part)


def test_a_party_that_has_no_part_in_a_round_waits_for_the_next_one(
    federation: SmallFederation,
) -> None:
    federation.pass_until(federation.observe().current.commit_end)
    assert federation.party(0).step() == Step(None, in_phase(Phase.COMMIT))


def test_a_paused_party_may_be_resumed_at_any_time(federation: SmallFederation) -> None:
    paused = True
    schedule = Schedule(federation.party(0, paused=lambda: paused), 8, 8)
    assert schedule.ask(federation.observe()) == Step(None, ANY_TIME)
    paused = False
    assert schedule.is_due(federation.observe())
    assert schedule.ask(federation.observe()).action == "commit"
