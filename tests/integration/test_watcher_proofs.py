"""A model that is wrong by one unit in one coordinate is found, proved, revoked and paid for."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.disputes import (
    accept_a_lie,
    off_by_one,
    submit_updates,
    vector_federation,
    watcher,
)


@pytest.mark.parametrize("rule", ["mean", "median", "trimmed"])
def test_a_wrong_model_is_revoked_and_its_signers_are_slashed(tmp_path: Path, rule: str) -> None:
    federation = vector_federation(tmp_path, rule=rule, aggregators=3)
    submit_updates(federation)
    accept_a_lie(federation, off_by_one(999))
    assert federation.observe().head.round == 1
    role = watcher(federation)
    federation.run([role], lambda o: o.head.round == 0)
    while role.busy:
        role.step()
    stakes = [federation.observe(key).aggregator.stake for key in federation.aggregators]
    assert stakes == [0, 0, 0]
