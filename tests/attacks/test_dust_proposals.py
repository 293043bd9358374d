"""An aggregator with little stake signs right results over one set of updates after the other.

Some updates are half available, so that the others have to find the set on which they can agree.
"""

from __future__ import annotations

import itertools
from typing import Any

from support.adversary import aggregators_without, run_to_attest
from support.disputes import run_watchers, submit_updates, vector_federation, watcher
from support.federation import Build, SmallFederation, consortium

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.updates import MAX_OF_ONE_SIGNER

DUST = 0
SETS = 28


def flood_of_sets(federation: SmallFederation, parties: int, post: bool = False) -> None:
    """Have the dust aggregator send or post a signature for each of many sets of updates."""
    role, contract = federation.aggregator(DUST), federation.federation
    seen = federation.observe(federation.aggregators[DUST])
    work = role._begin(seen)
    role._fetch_missing(seen, work)
    sizes = range(parties - 1, 1, -1)
    sets = itertools.chain.from_iterable(
        itertools.combinations(range(parties), size) for size in sizes
    )
    for chosen in itertools.islice(sets, SETS):
        result = role._compute(seen, work, sum(1 << index for index in chosen))
        signature = contract.sign_result(federation.aggregators[DUST], result)
        if post:
            federation.mailbox.post_attestation(result, signature)
        else:
            federation.send(federation.aggregators[DUST], contract.attest(result, [signature]))


def computed(role: Aggregator) -> int:
    assert role._work is not None
    return len(role._work.results)


def test_a_dust_aggregators_sets_make_no_round_void(build: Build) -> None:
    federation = build(parties=7, aggregators=5, terms=consortium(7, min_updates=1))
    seen, cids = run_to_attest(federation)
    flood_of_sets(federation, 7)
    # Three of the four honest ones miss an update each, so that they agree on four of seven.
    denied = [{cids[0]}, {cids[1]}, {cids[2]}, set()]
    aggregators, _ = aggregators_without(federation, [set(), *denied])
    honest = aggregators[1:]
    seen = federation.run_round(honest)
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() >= {3, 4, 5, 6}
    # Each has computed its own set, those that the others can agree on, and few of the flood.
    assert max(map(computed, honest)) <= 2 * MAX_OF_ONE_SIGNER


def test_ones_own_fuller_set_has_room_after_any_flood(build: Build) -> None:
    federation = build(parties=6, aggregators=2, terms=consortium(6, min_updates=1))
    seen, cids = run_to_attest(federation)
    flood_of_sets(federation, 6)
    aggregators, stores = aggregators_without(federation, [set(), {cids[5]}])
    role = aggregators[1]
    federation.pass_until(seen.current.reveal_end + federation.terms.attest_period * 6 // 10)
    while role.step().action is not None:
        pass
    before = computed(role)
    # The update arrives at last.
    stores[1].denied.clear()
    federation.pass_until(federation.chain.now + federation.terms.attest_period // 8)
    while role.step().action is not None:
        pass
    assert role._work is not None
    assert 0b111111 in role._work.results
    assert computed(role) <= before + 1 + MAX_OF_ONE_SIGNER


def test_a_watcher_computes_few_of_the_sets(tmp_path: Any) -> None:
    federation = vector_federation(tmp_path, updates=6, aggregators=2)
    submit_updates(federation)
    flood_of_sets(federation, 6)
    honest = federation.aggregator(1)
    assert honest.step().action == "attest"
    federation.pass_until(federation.observe().current.attest_end)
    done = run_watchers(federation, watcher(federation))
    assert done.count("check") <= 1 + MAX_OF_ONE_SIGNER


def test_a_keeper_carries_few_of_the_sets_that_one_aggregator_posts(build: Build) -> None:
    federation = build(parties=7, aggregators=3, terms=consortium(7, min_updates=1))
    seen, _ = run_to_attest(federation)
    flood_of_sets(federation, 7, post=True)
    for number in (1, 2):
        step = federation.aggregator(number, relay=federation.mailbox).step()
        assert step.action == "post attestation"
    keeper = federation.keeper(1)
    federation.pass_until(seen.current.reveal_end + federation.terms.attest_period * 6 // 10)
    actions = [keeper.step().action for _ in range(SETS)]
    assert actions.count("attest") == 1 + MAX_OF_ONE_SIGNER
    # What the others have posted is among them.
    posted = federation.federation.proposed_results(0).values()
    assert 0b1111111 in {result.included for result in posted}
