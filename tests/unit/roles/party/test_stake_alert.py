"""A party whose stake does not count is told so: it would wait to be drawn for ever."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from structlog.testing import capture_logs
from support.federation import SmallFederation
from support.observations import seen

from fl_orchestrator.chain.types import Observation, Role
from fl_orchestrator.roles.party.stake_alert import StakeAlert
from fl_orchestrator.units import ETHER

MINIMUM = ETHER // 10


def with_stake(stake: int, unbond_at: int = 0) -> Observation:
    view = seen()
    party = dataclasses.replace(view.party, stake=stake, unbond_at=unbond_at)
    return dataclasses.replace(view, party=party)


def test_a_stake_that_a_slash_left_below_the_minimum_is_told_once_and_how_to_add_to_it() -> None:
    alert = StakeAlert("0xparty", MINIMUM)
    with capture_logs() as logs:
        alert.look(with_stake(MINIMUM))
        assert logs == []
        for _ in range(2):
            alert.look(with_stake(MINIMUM - 1))
        (told,) = logs
        assert (told["log_level"], told["minimum"]) == ("error", "0.1 ETH")
        assert "flo party deposit" in told["advice"]
        alert.look(with_stake(MINIMUM))
        alert.look(with_stake(0))
        assert len(logs) == 2


def test_a_party_whose_stake_was_requested_back_says_that_it_is_not_drawn(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    key = federation.parties[0]
    federation.send(key, federation.federation.request_unbond(key.address, Role.PARTY))
    party = federation.party(0)
    with capture_logs() as logs:
        party.step()
        party.step()
    (told,) = [entry for entry in logs if entry["event"].startswith("alert: the stake")]
    assert "flo party withdraw" in told["advice"]
