"""A party gives its update to only half of the aggregators, to prevent a quorum."""

from __future__ import annotations

import pytest
from support.adversary import aggregators_without, run_to_attest
from support.federation import Build, consortium

from fl_orchestrator.chain.types import Phase


@pytest.mark.parametrize("relayed", [False, True], ids=["direct", "relayed"])
def test_an_update_that_half_of_the_aggregators_miss_is_left_out(
    build: Build, relayed: bool
) -> None:
    federation = build(parties=3, aggregators=4)
    _, cids = run_to_attest(federation)
    aggregators, stores = aggregators_without(federation, [{cids[0]}, {cids[0]}, set(), set()])
    if relayed:
        aggregators = [
            federation.aggregator(i, store=s, relay=federation.mailbox)
            for i, s in enumerate(stores)
        ]
    seen = federation.run_round(aggregators)
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {1, 2}


def test_aggregators_that_miss_different_updates_agree_on_what_all_have(build: Build) -> None:
    federation = build(parties=3, aggregators=4, terms=consortium(3, min_updates=1))
    _, cids = run_to_attest(federation)
    aggregators, _ = aggregators_without(federation, [{cids[0]}, {cids[0]}, {cids[1]}, {cids[1]}])
    seen = federation.run_round(aggregators)
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {2}


def test_no_smaller_set_is_signed_in_the_first_half_of_the_phase(build: Build) -> None:
    """Nor does it get honest updates left out that arrive in time."""
    federation = build(parties=3, aggregators=4)
    seen, cids = run_to_attest(federation)
    aggregators, _ = aggregators_without(federation, [{cids[0]}, {cids[0]}, set(), set()])
    for aggregator in aggregators:
        assert aggregator.step().action == "attest"
        assert aggregator.step().action is None
    midway = seen.current.reveal_end + federation.terms.attest_period // 2
    federation.pass_until(midway - 1)
    assert [aggregator.step().action for aggregator in aggregators] == [None] * 4
    federation.pass_until(midway)
    assert aggregators[2].step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED
    # An aggregator that joins later signs only the accepted result.
    assert aggregators[3].step().action == "attest"
    assert [aggregator.step().action for aggregator in aggregators] == [None] * 4
