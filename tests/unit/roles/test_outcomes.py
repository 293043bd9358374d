"""What keepers and watchers say of an accepted round that is not as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from structlog.testing import capture_logs
from support.adversary import aggregators_without, run_to_attest
from support.federation import SmallFederation
from support.told import Told

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.watcher.alerts import AlertKind
from fl_orchestrator.roles.watcher.watcher import Watcher


def accept_without_the_first(federation: SmallFederation) -> None:
    """Round 1 is accepted, with all updates but the first party's, which nobody could get."""
    _, cids = run_to_attest(federation)
    (aggregator,), _ = aggregators_without(federation, [{cids[0]}])
    assert aggregator.step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED


def watcher(federation: SmallFederation, told: Told) -> Watcher:
    home = federation.directory / "watcher"
    return Watcher(federation.context(federation.outsider, home, monitor=told))


def alerts(logs: Any) -> list[Any]:
    return [log for log in logs if log["event"].startswith("alert: the accepted model leaves out")]


def test_a_keeper_alerts_once_when_a_model_leaves_out_what_was_revealed(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=3)
    accept_without_the_first(federation)
    told = Told()
    keeper = federation.keeper(1, monitor=told)
    with capture_logs() as logs:
        for _ in range(3):
            keeper.step()
            federation.chain.mine()
    (alert,) = alerts(logs)
    assert (alert["log_level"], alert["included"], alert["revealed"]) == ("error", 2, 3)
    assert alert["left_out"] == [federation.parties[0].address]
    assert told.rounds == [(2, 3)]


def test_a_watcher_alerts_when_a_model_leaves_out_what_was_revealed(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=3)
    accept_without_the_first(federation)
    told = Told()
    role = watcher(federation, told)
    assert role.step().action == "check"
    (alert,) = role.alerts
    assert (alert.kind, alert.round, alert.is_doubt) == (AlertKind.LEFT_OUT, 1, False)
    assert "includes 2 of 3 revealed updates" in alert.message
    assert federation.parties[0].address in alert.message
    assert told.rounds == [(2, 3)]


def test_a_round_with_all_its_updates_is_no_alert(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=3)
    federation.run_round(federation.everybody())
    told = Told()
    role, keeper = watcher(federation, told), federation.keeper(1, monitor=told)
    with capture_logs() as logs:
        keeper.step()
        role.step()
    assert (alerts(logs), role.alerts) == ([], ())
    assert told.rounds == [(3, 3), (3, 3)]
    # 24 rows each, which is one unit.
    (weights,) = [log for log in logs if log["event"] == "weights"]
    assert weights["reason"].startswith("all 3 updates have the least weight, 1")


def test_a_keeper_says_that_weights_are_at_their_most(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    federation.open_round()
    for number in range(2):
        party = federation.party(number)
        party.prepare(1, [_some_vector(federation, number)], 24 * 255)
        assert party.step().action == "commit"
    federation.run_round(federation.everybody())
    with capture_logs() as logs:
        federation.keeper(1).step()
    (said,) = [log for log in logs if log["event"] == "weights"]
    assert said["reason"].startswith("2 of 2 updates have the largest weight, 255")


def _some_vector(federation: SmallFederation, number: int) -> Any:
    return np.full(federation.manifest.layout.parameters, number + 1, np.int16)
