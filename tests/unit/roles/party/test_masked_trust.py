"""A party of a private federation and the aggregators that could read its updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.federation import signer
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.roles.party.submission import MustSitOut


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    """Four equal seats, three of which read together; round 1 is open."""
    private = SmallPrivateFederation(tmp_path_factory.mktemp("private"), 3, 4)
    private.open_round()
    return private


def accounts(private: SmallPrivateFederation, *numbers: int) -> frozenset[str]:
    return frozenset(private.aggregators[number].address.lower() for number in numbers)


def test_a_party_sits_out_while_those_that_it_does_not_trust_could_read(
    private: SmallPrivateFederation,
) -> None:
    for trusted in (accounts(private, 0), frozenset({signer("stranger").address})):
        party = private.party(0, trusted=trusted)
        with capture_logs() as logs:
            assert party.step().action is None
            assert party.step().action is None
        (alert,) = [log for log in logs if log["event"] == "sits out"]
        assert "does not trust could read its update of round 1" in alert["reason"]
        assert alert["log_level"] == "error"
        assert not party.has_prepared(1)
    assert not private.seen().current.commits


def test_a_party_takes_part_when_it_trusts_enough(private: SmallPrivateFederation) -> None:
    assert private.party(0, trusted=accounts(private, 1, 3)).step().action == "commit"
    assert private.party(1).step().action == "commit"


def test_what_was_prepared_before_is_not_committed_when_trust_has_ended(
    private: SmallPrivateFederation,
) -> None:
    vector = np.zeros(private.manifest.layout.parameters, np.int16)
    private.party(2).submission.prepare(1, [vector], 1)
    with pytest.raises(MustSitOut, match="does not trust"):
        private.party(2, trusted=accounts(private, 0)).step()
    assert private.party(2, trusted=accounts(private, 0, 1)).step().action == "commit"


def test_an_aggregator_that_reads_alone_is_an_alert_once(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, 3, 1)
    private.open_round()
    party = private.party(0)
    with capture_logs() as logs:
        assert party.step().action == "commit"
        party.step()
    (alert,) = [log for log in logs if "can read every update" in log["event"]]
    assert alert["aggregator"] == private.aggregators[0].address
