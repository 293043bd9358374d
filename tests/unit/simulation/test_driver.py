"""When the driver of a simulation asks a role, and when it lets time pass."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from support.observations import seen

from fl_orchestrator.chain.types import Observation, Phase, RoundView
from fl_orchestrator.roles.base import NEVER, Step, at, in_phase
from fl_orchestrator.roles.schedule import Schedule
from fl_orchestrator.simulation.driver import Cast, StuckFederation, pass_time, run_until


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
    pair = [Schedule(early), Schedule(late)]
    times = []

    def done(_: Observation) -> bool:
        times.append(clock.now)
        return bool(clock.now >= 1_000)

    run_until(clock, clock.observe, lambda _: pair, done)
    assert times == [500, 500, 700, 1_000]
    assert (early.asked, late.asked) == (3, 1)


def test_a_federation_in_which_nobody_can_go_on_is_stuck() -> None:
    clock: Any = Clock()
    with pytest.raises(StuckFederation, match="Round 5"):
        pass_time(clock, seen(Phase.ACCEPTED))
    talkers = [Schedule(Scripted(*[Step("talk")] * 20_000))]
    with pytest.raises(StuckFederation, match="The end was not reached after"):
        run_until(clock, seen, lambda _: talkers, lambda _: False)


def test_a_time_that_has_passed_does_not_keep_a_federation_from_being_stuck() -> None:
    clock: Any = Clock()
    with pytest.raises(StuckFederation):
        pass_time(clock, seen(Phase.ACCEPTED, timestamp=500), [at(0, 499, 500)])
    pass_time(clock, seen(Phase.ACCEPTED, timestamp=500), [at(0, 499), at(502, 900)])
    assert clock.now == 502


class Draws:
    """A cast of the parties a, b and c, of whom each round draws those that it names."""

    def __init__(self) -> None:
        self.by_round = {5: "b", 6: "ca"}
        self.made: list[str] = []
        self.asked = 0
        self.cast = Cast({name: partial(self.make, name) for name in "abc"}, self.is_drawn)

    def make(self, name: str) -> Scripted:
        self.made.append(name)
        return Scripted(Step(name))

    def is_drawn(self, current: RoundView, name: str) -> bool:
        self.asked += 1
        return name in self.by_round[current.round]

    def acting(self, phase: Phase, round_number: int) -> list[str | None]:
        current = {"round": round_number, "seed": bytes([round_number]) * 32}
        workers = (one.worker for one in self.cast.acting(seen(phase, current=current)))
        return [worker.name if isinstance(worker, Named) else "" for worker in workers]


class Named(Scripted):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def test_a_party_that_no_round_draws_is_never_made_and_never_asked() -> None:
    draws = Draws()
    draws.cast.replace("keeper", Named("keeper"))
    assert draws.acting(Phase.IDLE, 0) == ["keeper"]
    assert draws.acting(Phase.COMMIT, 5) == ["", "keeper"]
    assert draws.made == ["b"]
    # It may still have something to do until the next draw.
    assert draws.acting(Phase.SEEDING, 6) == ["", "keeper"]
    assert draws.acting(Phase.COMMIT, 6) == ["", "", "keeper"]
    assert draws.made == ["b", "a", "c"]  # in the order of the parties


def test_who_is_drawn_is_computed_once_in_a_round() -> None:
    draws = Draws()
    for phase in (Phase.COMMIT, Phase.REVEAL, Phase.ATTEST, Phase.ACCEPTED):
        draws.acting(phase, 5)
    assert draws.asked == 3


def test_a_party_that_was_replaced_acts_in_every_round_at_its_place() -> None:
    draws = Draws()
    draws.cast.replace("keeper", Named("keeper"))
    draws.cast.replace("a", Named("attacker"))
    assert draws.acting(Phase.COMMIT, 5) == ["attacker", "", "keeper"]
    assert draws.acting(Phase.COMMIT, 6) == ["attacker", "", "keeper"]
    assert draws.made == ["b", "c"]
