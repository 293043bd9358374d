"""A quorum signs a wrong model, shows it to nobody, and makes demands itself, so that a watcher's
own demand costs too much."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.disputes import (
    accept_a_lie,
    events,
    flood,
    responder,
    run_watchers,
    stakes,
    submit_updates,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings

POOR = WatcherSettings(max_bond=0, secret=b"\5" * 32)


def cartel(directory: Path, demands: int, rounds: int = 1) -> SmallFederation:
    """A federation whose only aggregator has signed a wrong model in each round, which it hides."""
    federation = vector_federation(directory, updates=2)
    for number in range(1, rounds + 1):
        submit_updates(federation, number)
        accept_a_lie(federation, withhold=True)
        flood(federation, demands, number)
    return federation


def answer(federation: SmallFederation, ids: list[int]) -> None:
    """Have the cartel answer some of its own demands."""
    role, contract = responder(federation), federation.federation
    for demand in contract.demands(0):
        if demand.id in ids:
            call = contract.answer(demand.id, *role.answer_to(demand))
            federation.send(federation.aggregators[0], call)


def deadlines(federation: SmallFederation) -> list[int]:
    return sorted(demand.deadline for demand in federation.federation.demands(0))


def assert_undone(federation: SmallFederation) -> None:
    assert (federation.observe().head.round, stakes(federation)) == (0, [0])


def wait_in_vain(federation: SmallFederation, role: Watcher) -> int:
    """The time for which a watcher waits that can do nothing now."""
    for _ in range(8):
        step = role.step()
        if step.action is None:
            return federation.due_at(step)
    raise AssertionError("the watcher goes on and on")


@pytest.mark.parametrize("demands", [1, 99, 100])
def test_demands_of_the_cartel_that_it_does_not_answer_convict_it(
    tmp_path: Path, demands: int
) -> None:
    federation = cartel(tmp_path, demands)
    role = watcher(federation, settings=POOR)
    first = deadlines(federation)[0]
    # It is there when the first of them is overdue, and not a block later.
    assert role.step().action == "check"
    while federation.chain.now < first:
        assert federation.observe().head.round == 1
        federation.pass_until(min(wait_in_vain(federation, role), first))
    assert role.step().action == "expire"
    done = Counter(run_watchers(federation, role))
    assert done["demand"] == done["expire"] == 0
    assert_undone(federation)


def test_a_watcher_with_coin_does_not_wait_for_the_cartels_demands(tmp_path: Path) -> None:
    federation = cartel(tmp_path, 100)
    done = Counter(run_watchers(federation, watcher(federation), responder(federation), steps=900))
    assert (done["demand"], done["challenge"]) == (1, 1)
    (own,) = [d for d in events(federation, "Demanded") if d["demander"] != _cartel(federation)][:1]
    assert own["bond"] == 101 * federation.terms.demand_bond
    assert_undone(federation)


def _cartel(federation: SmallFederation) -> str:
    return federation.keeper_key.address


def test_one_demand_left_unanswered_among_many_is_enough(tmp_path: Path) -> None:
    federation = cartel(tmp_path, 12)
    answer(federation, [number for number in range(1, 13) if number != 7])
    done = Counter(run_watchers(federation, watcher(federation, settings=POOR)))
    assert (done["expire"], done["demand"]) == (1, 0)
    assert_undone(federation)


def test_answers_at_the_last_moment_win_no_time(tmp_path: Path) -> None:
    federation = cartel(tmp_path, 6)
    settings = WatcherSettings(max_bond=federation.terms.demand_bond, secret=b"\5" * 32)
    role = watcher(federation, settings=settings)
    federation.pass_until(deadlines(federation)[0] - 20)
    assert role.step().action == "check"
    assert role.step().action is None
    answer(federation, [1, 2, 3, 4, 5, 6])
    # Six are open for an answer period more. Then they are closed, and a demand costs one bond.
    assert role.step().action is None
    federation.pass_until(federation.chain.now + federation.terms.answer_period)
    done = Counter(run_watchers(federation, role))
    assert (done["closeDescent"], done["demand"], done["expire"]) == (1, 1, 1)
    assert [alert.kind for alert in role.alerts] == []
    assert_undone(federation)


def test_of_demands_spread_over_rounds_those_of_the_wrong_round_convict(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, updates=2)
    submit_updates(federation, 1)
    assert federation.aggregator(0).step().action == "attest"
    flood(federation, 2, 1)
    submit_updates(federation, 2)
    accept_a_lie(federation, withhold=True)
    flood(federation, 3, 2)
    federation.pass_until(deadlines(federation)[-1])
    digests = federation.federation.accepted_digests(0)
    done = Counter(run_watchers(federation, watcher(federation, settings=POOR)))
    assert done["expire"] == 1
    # Those of the right round are overdue as well, and nobody who checks it makes use of them.
    assert federation.federation.fraud(digests[1]).round == 0
    assert federation.federation.fraud(digests[2]).round == 2
    assert (federation.observe().head.round, stakes(federation)) == (1, [0])


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_watcher_that_starts_in_the_middle_convicts_the_cartel(
    tmp_path: Path, late: bool
) -> None:
    federation = cartel(tmp_path, 5, rounds=2)
    last = deadlines(federation)[-1]
    federation.pass_until(last + 60 if late else last - 60)
    assert federation.observe().current.phase is Phase.ACCEPTED
    done = Counter(run_watchers(federation, watcher(federation, settings=POOR)))
    # The first round takes the second one with it.
    assert done["expire"] == 1
    assert_undone(federation)


def test_a_watcher_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    federation = cartel(tmp_path, 5)
    assert watcher(federation, settings=POOR).step().action == "check"
    federation.pass_until(deadlines(federation)[0])
    assert watcher(federation, settings=POOR).step().action == "expire"
    # The slashes are paid to the demander: others send them when it has had its time.
    role = watcher(federation, settings=POOR)
    assert role.step().action is None
    federation.pass_until(federation.chain.now + federation.terms.challenge_period // 2)
    run_watchers(federation, role)
    assert_undone(federation)


def test_demands_against_a_right_model_convict_nobody(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, updates=2)
    submit_updates(federation)
    assert federation.aggregator(0).step().action == "attest"
    flood(federation, 3)
    federation.pass_until(deadlines(federation)[-1])
    assert run_watchers(federation, watcher(federation)) == ["check"]
    assert federation.observe().head.round == 1
