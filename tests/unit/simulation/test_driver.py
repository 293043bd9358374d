"""When the driver of a simulation asks a role, and when it lets time pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.observations import seen

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import NEVER, Step, at, in_phase
from fl_orchestrator.roles.schedule import Schedule
from fl_orchestrator.simulation.driver import StuckFederation, pass_time, run_until


class Scripted:
    """Gives the steps that it was made with, one after the other, then waits for ever."""

    def __init__(self, *steps: Step) -> None:
        self._steps: Iterator[Step] = iter(steps)
        self.asked = 0

    def step(self) -> Step:
        self.asked += 1
        return next(self._steps, Step(wait=NEVER))


class Clock:
    """A chain that only has a time."""

    def __init__(self) -> None:
        self.now = 500

    def mine(self, seconds: int = 1) -> None:
        self.now += seconds

    def observe(self) -> Observation:
        return seen(Phase.COMMIT if self.now < 1_000 else Phase.REVEAL, timestamp=self.now)


def test_time_passes_only_when_nobody_acts_and_then_to_the_next_moment() -> None:
    clock: Any = Clock()
    early = Scripted(Step("commit"), Step(wait=at(700)), Step(wait=in_phase(Phase.COMMIT)))
    late = Scripted(Step(wait=in_phase(Phase.REVEAL)))
    times = []

    def done(_: Observation) -> bool:
        times.append(clock.now)
        return bool(clock.now >= 1_000)

    run_until(clock, clock.observe, [Schedule(early), Schedule(late)], done)
    assert times == [500, 500, 700, 1_000]
    assert (early.asked, late.asked) == (3, 1)


def test_a_federation_in_which_nobody_can_go_on_is_stuck() -> None:
    clock: Any = Clock()
    with pytest.raises(StuckFederation, match="Round 5"):
        pass_time(clock, seen(Phase.ACCEPTED))
    with pytest.raises(StuckFederation, match="The end was not reached after"):
        run_until(clock, seen, [Schedule(Scripted(*[Step("talk")] * 20_000))], lambda _: False)


def test_a_time_that_has_passed_does_not_keep_a_federation_from_being_stuck() -> None:
    clock: Any = Clock()
    with pytest.raises(StuckFederation):
        pass_time(clock, seen(Phase.ACCEPTED, timestamp=500), [at(0, 499, 500)])
    pass_time(clock, seen(Phase.ACCEPTED, timestamp=500), [at(0, 499), at(502, 900)])
    assert clock.now == 502
