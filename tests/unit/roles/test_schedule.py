"""When a role is asked again, in a simulation and in a process alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.observations import committed, seen

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import (
    ANY_TIME,
    NEVER,
    NEW_EVENTS,
    NEW_REVEALS,
    Step,
    Wait,
    at,
    in_phase,
)
from fl_orchestrator.roles.schedule import Schedule
from fl_orchestrator.service.loop import Service
from fl_orchestrator.service.stop import Stop
from fl_orchestrator.simulation.driver import run_until

EVERY = 5
BLOCK = seen().block_number


class Resting:
    def __init__(self, wait: Wait, action: str | None = None) -> None:
        self.answer = Step(action, wait)

    def step(self) -> Step:
        return self.answer


def asked(
    wait: Wait, phase: Phase = Phase.COMMIT, /, *, events_every: int = EVERY, check_every: int = 0
) -> Schedule:
    """The schedule of a role that was asked in this phase at time 500."""
    schedule = Schedule(Resting(wait), events_every, check_every)
    assert schedule.is_due(seen(phase))
    schedule.ask(seen(phase))
    return schedule


# What a role waits for


def test_who_waits_for_a_time_is_asked_exactly_then_and_once() -> None:
    schedule = asked(at(600))
    assert not schedule.is_due(seen(timestamp=599))
    assert schedule.is_due(seen(timestamp=600))
    schedule.ask(seen(timestamp=600))
    assert not schedule.is_due(seen(timestamp=601))


def test_each_of_several_times_counts_and_none_that_has_passed() -> None:
    schedule = asked(at(0, 400, 500, 600) | at(700))
    assert not schedule.is_due(seen(timestamp=599))
    schedule.ask(seen(timestamp=600))
    assert not schedule.is_due(seen(timestamp=699))
    assert schedule.is_due(seen(timestamp=700))


def test_who_waits_for_a_phase_is_asked_in_it_and_in_no_other() -> None:
    schedule = asked(in_phase(Phase.REVEAL, Phase.ATTEST))
    assert not schedule.is_due(seen(timestamp=999))
    assert schedule.is_due(seen(Phase.REVEAL))
    assert not schedule.is_due(seen(Phase.ACCEPTED))
    schedule.ask(seen(Phase.REVEAL))
    assert not schedule.is_due(seen(Phase.REVEAL, timestamp=1_999))
    assert schedule.is_due(seen(Phase.ATTEST))


def test_who_has_no_part_in_a_round_is_asked_in_the_next_one_when_it_is_open() -> None:
    schedule = asked(in_phase(Phase.COMMIT))
    assert not schedule.is_due(seen(Phase.REVEAL))
    assert not schedule.is_due(seen(Phase.SEEDING, current={"round": 6}))
    assert schedule.is_due(seen(current={"round": 6}))


def test_who_waits_for_reveals_is_asked_at_each_of_them_and_at_no_phase() -> None:
    schedule = asked(NEVER | NEW_REVEALS)
    assert not schedule.is_due(seen(Phase.REVEAL))
    assert schedule.is_due(seen(Phase.REVEAL, current={"reveals": 1}))
    schedule.ask(seen(Phase.REVEAL, current={"reveals": 1}))
    assert not schedule.is_due(seen(Phase.ATTEST, current={"reveals": 1}))
    assert schedule.is_due(seen(Phase.REVEAL, current={"reveals": 3}))


def test_who_waits_for_events_is_asked_after_some_blocks() -> None:
    schedule = asked(NEW_EVENTS)
    assert schedule.blocks_left(seen(block_number=BLOCK + 1)) == EVERY - 1
    assert not schedule.is_due(seen(Phase.REVEAL, block_number=BLOCK + EVERY - 1))
    assert schedule.is_due(seen(block_number=BLOCK + EVERY))


def test_a_simulation_asks_at_every_new_block_who_waits_for_events() -> None:
    schedule = asked(NEW_EVENTS, events_every=1)
    assert not schedule.is_due(seen())
    assert schedule.is_due(seen(block_number=BLOCK + 1))


def test_who_has_more_to_do_or_waits_for_what_is_not_on_the_chain_is_always_asked() -> None:
    assert Step().wait == ANY_TIME
    assert asked(ANY_TIME | at(900)).is_due(seen())


def test_who_waits_for_nothing_is_never_asked() -> None:
    assert not asked(NEVER).is_due(seen(Phase.VOID, block_number=10**6, timestamp=10**9))


def test_who_failed_is_asked_again_whatever_it_waited_for() -> None:
    schedule = asked(in_phase(Phase.REVEAL))

    def fail() -> Step:
        raise OSError

    schedule.worker.step = fail  # type: ignore[method-assign]
    with pytest.raises(OSError):  # noqa: PT011
        schedule.ask(seen(Phase.REVEAL))
    assert schedule.is_due(seen(Phase.REVEAL))
    assert schedule.blocks_left(seen(Phase.REVEAL)) is None


waits = st.builds(
    Wait,
    st.frozensets(st.integers(0, 1_000), max_size=3),
    st.frozensets(st.sampled_from(Phase)),
    st.booleans(),
    st.booleans(),
)
views = st.builds(
    lambda phase, blocks, timestamp: seen(phase, block_number=BLOCK + blocks, timestamp=timestamp),
    st.sampled_from(Phase),
    st.integers(-2, 10),
    st.integers(500, 1_100),
)


@given(waits, waits, views)
def test_who_waits_for_two_things_is_asked_when_one_of_them_comes(
    one: Wait, other: Wait, view: Observation
) -> None:
    alone = [asked(wait).is_due(view) for wait in (one, other)]
    assert asked(one | other).is_due(view) == any(alone)


# What a reorganisation does


def test_a_chain_that_went_back_is_noticed_at_once() -> None:
    assert asked(NEVER).is_due(seen(block_number=BLOCK - 1))


def test_a_commit_that_was_dropped_is_noticed_at_once() -> None:
    schedule = Schedule(Resting(in_phase(Phase.COMMIT, Phase.REVEAL)))
    schedule.ask(seen(committed=committed()))
    assert not schedule.is_due(seen(committed=committed(), block_number=BLOCK + 1))
    assert schedule.is_due(seen(block_number=BLOCK + 1))


@pytest.mark.parametrize("changed", [{"seed": b"\7" * 32}, {"updates_hash": b"\7" * 32}])
def test_a_round_that_became_another_one_is_noticed_at_once(changed: dict[str, bytes]) -> None:
    schedule = asked(in_phase(Phase.ATTEST), Phase.ATTEST)
    assert not schedule.is_due(seen(Phase.ATTEST))
    assert schedule.is_due(seen(Phase.ATTEST, current=changed))


def test_a_round_that_came_back_to_where_a_role_was_asked_is_noticed_at_once() -> None:
    schedule = asked(in_phase(Phase.COMMIT, Phase.REVEAL), Phase.REVEAL)
    assert not schedule.is_due(seen(Phase.REVEAL))
    assert not schedule.is_due(seen(Phase.ATTEST, block_number=BLOCK + 1))
    # As many blocks as before, or more: only the phase shows it.
    assert schedule.is_due(seen(Phase.REVEAL, block_number=BLOCK + 1))
    schedule.ask(seen(Phase.REVEAL, block_number=BLOCK + 1))
    assert not schedule.is_due(seen(Phase.REVEAL, block_number=BLOCK + 2))


def test_updates_that_others_reveal_do_not_count_before_all_have() -> None:
    schedule = asked(in_phase(Phase.REVEAL), Phase.REVEAL)
    assert not schedule.is_due(seen(Phase.REVEAL, current={"updates_hash": b"\7" * 32}))


def test_what_no_observation_shows_to_be_dropped_is_noticed_after_some_blocks() -> None:
    schedule = asked(in_phase(Phase.ACCEPTED), Phase.ATTEST, check_every=EVERY)
    assert not schedule.is_due(seen(Phase.ATTEST, block_number=BLOCK + EVERY - 1))
    assert schedule.is_due(seen(Phase.ATTEST, block_number=BLOCK + EVERY))


# Both drivers

SECONDS = 200


class Chain(Stop):
    """A round whose phases follow the clock: 500 to 1,000 is COMMIT, then REVEAL, then ATTEST.

    Of a process it has a block every 200 seconds; a simulation mines its blocks itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 500.0
        self.last_seen: Observation | None = None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= 2_900:
            self.request()

    def mine(self, seconds: int = 1) -> None:
        self.now += seconds

    def observe(self, _account: str = "") -> Observation:
        timestamp = 500 + int(self.now - 500) // SECONDS * SECONDS
        phases = [Phase.COMMIT, Phase.REVEAL, Phase.ATTEST]
        self.last_seen = seen(
            phases[sum(timestamp >= end for end in (1_000, 2_000))],
            timestamp=timestamp,
            block_number=BLOCK + timestamp // SECONDS,
        )
        return self.last_seen


class Scripted:
    """Takes its steps one after the other, the last one again and again; notes when."""

    def __init__(self, chain: Chain, *steps: Step) -> None:
        self._chain, self._steps = chain, list(steps)
        self.asked: list[tuple[int, str | None]] = []

    def step(self) -> Step:
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        self.asked.append((self._chain.observe().timestamp, step.action))
        return step


def in_a_simulation(*steps: Step) -> list[tuple[int, str | None]]:
    chain: Any = Chain()
    worker = Scripted(chain, *steps)
    acting = [Schedule(worker)]
    run_until(chain, chain.observe, lambda _: acting, lambda _: chain.now >= 2_900)
    return worker.asked


def in_a_process(*steps: Step) -> list[tuple[int, str | None]]:
    chain: Any = Chain()
    worker = Scripted(chain, *steps)
    Service(chain, "", [worker], chain, now=lambda: chain.now).run()
    return worker.asked


def test_a_worker_is_asked_at_the_same_moments_by_both_drivers() -> None:
    taking_part = in_phase(Phase.COMMIT, Phase.REVEAL)
    steps = [
        Step("post commit", taking_part | at(900)),
        Step("commit"),
        Step(wait=taking_part),
        Step(wait=at(1_300)),
        Step("reveal"),
        Step(wait=in_phase(Phase.ATTEST)),
        Step("attest"),
        Step(wait=in_phase(Phase.ACCEPTED) | at(2_700)),
    ]
    expected = [
        (500, "post commit"),
        (900, "commit"),
        (900, None),
        (1_100, None),
        (1_300, "reveal"),
        (1_300, None),
        (2_100, "attest"),
        (2_100, None),
        (2_700, None),
    ]
    assert in_a_process(*steps) == expected
    assert in_a_simulation(*steps) == expected
