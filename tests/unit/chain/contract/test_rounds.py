"""What people ask of rounds takes one search for events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.disputes import accept_a_lie, submit_updates, vector_federation

from fl_orchestrator.chain.contract.rounds import Outcome, read_rounds


def test_any_number_of_rounds_takes_one_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = vector_federation(tmp_path, aggregators=2)
    submit_updates(small)
    accept_a_lie(small)
    small.send(small.outsider, small.federation.demand(1, 3, 0, small.terms.demand_bond))
    submit_updates(small, 2)
    provider: Any = small.chain.web3.provider
    request, searches = provider.raw_request, list[Any]()

    def counted(method: str, params: Any) -> Any:
        searches.extend(params if method == "eth_getLogs" else [])
        return request(method, params)

    monkeypatch.setattr(provider, "raw_request", counted)
    first, second = read_rounds(small.federation, small.deployment.block, 1, 2)
    assert len(searches) == 1
    assert (first.outcome, second.outcome) == (Outcome.ACCEPTED, Outcome.ATTEST)
    for record in (first, second):
        assert record.opened is not None
        assert set(record.parties) == {key.address for key in small.parties}
        assert [update.index for update in record.updates] == [0, 1, 2]
    assert first.accepted_result is not None
    assert set(first.accepted_result.signers) == {key.address for key in small.aggregators}
    assert [demand.demander for demand in first.demands] == [small.outsider.address]
    assert (second.accepted, second.results, second.demands) == (None, (), ())

    searches.clear()
    assert read_rounds(small.federation, small.deployment.block, 1, 1) == [first]
    assert len(searches) == 1
