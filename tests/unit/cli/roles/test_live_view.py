"""The live view says what the round is doing and what this account has to do."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from support.observations import ROUND, committed, seen

from fl_orchestrator.chain.types import Observation, Phase, StakeView
from fl_orchestrator.cli.roles.live import LiveView, duty

NO_STAKE = StakeView(stake=0, frozen_stake=0, unbond_at=0, admitted=True, seat=0)


def shown(role: str, found: Observation | None, *entries: dict[str, Any]) -> str:
    chain = SimpleNamespace(address="0xabc", chain_id=5, last_seen=found)
    view = LiveView(role, cast("Any", chain))
    for entry in entries:
        view.took(entry)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(view.render())
    return console.export_text()


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (seen(), "train, and commit"),
        (seen(drawn=False), "not drawn"),
        (seen(party=NO_STAKE), "not registered"),
        (seen(committed=committed()), "reveal when the commit phase is over"),
        (seen(Phase.REVEAL, committed=committed()), "reveal now"),
        (seen(Phase.REVEAL, committed=committed(revealed=True)), "is revealed"),
        (seen(Phase.REVEAL, committed=committed(round_number=ROUND - 1)), "has not committed"),
        (seen(Phase.ACCEPTED), "until the next round"),
        (seen(Phase.VOID, committed=committed()), "until the next round"),
    ],
)
def test_a_partys_duty_follows_from_what_it_sees(found: Observation, word: str) -> None:
    assert word in duty("party", found)


@pytest.mark.parametrize(
    ("role", "found", "word"),
    [
        ("aggregator", seen(Phase.ATTEST), "sign"),
        ("aggregator", seen(), "before the updates"),
        ("aggregator", seen(aggregator=NO_STAKE), "not registered"),
        ("watcher", seen(), "compute every accepted model"),
        ("keeper", seen(), "open rounds"),
    ],
)
def test_the_other_roles_have_theirs(role: str, found: Observation, word: str) -> None:
    assert word in duty(role, found)


def test_it_shows_the_phase_who_has_acted_and_the_last_actions() -> None:
    found = seen(Phase.REVEAL, current={"commits": 4, "reveals": 3}, committed=committed())
    entries = [{"event": "did", "action": f"step {number}"} for number in range(9)]
    text = shown("party", found, *entries)
    assert "● reveal 3 revealed" in text
    assert "· commit 4 committed" in text
    assert f"Round {ROUND}: the reveal phase ends in" in text
    assert "action=step 8" in text
    assert "action=step 2" not in text


def test_before_the_first_look_it_waits_for_the_chain() -> None:
    assert "Waiting for the chain" in shown("party", None)


def test_what_others_wrote_cannot_style_the_view() -> None:
    text = shown("party", seen(), {"event": "[bold red]did[/]", "reason": "[link=x]y[/link]"})
    assert "[bold red]did[/]" in text
    assert "[link=x]y[/link]" in text
