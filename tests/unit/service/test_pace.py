"""How fast blocks come, and how long a process waits for what failed."""

from __future__ import annotations

import random

from support.observations import seen

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.base import ANY_TIME, NEW_EVENTS, NEW_REVEALS, Step, Wait, at, in_phase
from fl_orchestrator.service.pace import LOOK_EVERY, Pace, ProcessSchedule

BLOCK_SECONDS = 4.0


class Resting:
    def __init__(self, wait: Wait) -> None:
        self.wait = wait

    def step(self) -> Step:
        return Step(wait=self.wait)


def schedule(wait: Wait = ANY_TIME, seed: int = 0) -> ProcessSchedule:
    """On a clock that stands at 100 seconds."""
    pace = Pace(unknown=BLOCK_SECONDS)
    return ProcessSchedule(Resting(wait), pace, lambda: 100.0, random.Random(seed))


def rests_for(wait: Wait, blocks: int = 0) -> float:
    """How long nobody looks after a role that was asked so many blocks ago."""
    first, now = seen(), seen(block_number=seen().block_number + blocks)
    found = schedule(wait)
    found.ask(first)
    found.rest(now, since=100.0)
    return found.next_at - 100


def test_a_failure_is_retried_with_a_delay_that_doubles_and_is_cut_at_random() -> None:
    found = schedule()
    delays = [found.retry() for _ in range(8)]
    for n, delay in enumerate(delays):
        whole = min(30, BLOCK_SECONDS * 2**n)
        assert whole / 2 <= delay <= whole
    assert found.next_at == 100 + delays[-1]
    assert len({delay / min(30, BLOCK_SECONDS * 2**n) for n, delay in enumerate(delays)}) == 8


def test_an_answer_makes_the_delay_short_again() -> None:
    found = schedule()
    for _ in range(8):
        found.retry()
    found.ask(None)
    assert found.retry() <= BLOCK_SECONDS


def test_a_failure_that_was_not_retried_for_long_does_not_overflow() -> None:
    found = schedule()
    assert all(found.retry() <= 30 for _ in range(2_000))


def test_a_known_delay_is_not_cut_and_does_not_count() -> None:
    found = schedule()
    assert [found.retry(60) for _ in range(3)] == [60, 60, 60]
    assert found.retry() <= BLOCK_SECONDS


def test_two_processes_do_not_come_back_at_once() -> None:
    one, other = (schedule(seed=seed) for seed in (1, 2))
    assert [one.retry() for _ in range(5)] != [other.retry() for _ in range(5)]


def test_what_a_block_may_bring_is_looked_for_in_each_block() -> None:
    assert rests_for(ANY_TIME) == BLOCK_SECONDS
    assert rests_for(in_phase(Phase.REVEAL) | NEW_EVENTS) == BLOCK_SECONDS
    assert rests_for(NEW_REVEALS) == BLOCK_SECONDS


def test_what_only_takes_blocks_or_time_is_not_looked_for_before() -> None:
    assert rests_for(NEW_EVENTS) == LOOK_EVERY * BLOCK_SECONDS
    assert rests_for(NEW_EVENTS, blocks=3) == (LOOK_EVERY - 3) * BLOCK_SECONDS
    assert rests_for(at(seen().timestamp + 10)) == 10
    assert rests_for(at(seen().timestamp + 10_000)) == LOOK_EVERY * BLOCK_SECONDS
    # No block comes earlier.
    assert rests_for(at(seen().timestamp + 1)) == BLOCK_SECONDS
    assert rests_for(NEW_EVENTS, blocks=LOOK_EVERY) == BLOCK_SECONDS


def test_the_block_time_is_learnt_and_a_moved_clock_does_not_count() -> None:
    pace = Pace()
    assert pace.seconds == 1
    for number in range(1, 8):
        pace.saw(number, 12 * number)
    assert pace.seconds == 12
    pace.saw(8, 100_000)
    assert pace.seconds == 12
    pace.saw(5, 100_001)
    pace.saw(6, 100_013)
    assert pace.seconds == 12


def test_the_block_time_stays_within_bounds() -> None:
    slow, fast = Pace(), Pace()
    for number in range(1, 5):
        slow.saw(number, 1000 * number)
        fast.saw(100 * number, number)
    assert slow.seconds == 15
    assert fast.seconds == 0.25
