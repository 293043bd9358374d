"""When the driver of a simulation asks a role, and when it lets time pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.observations import seen

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import EVERY_PHASE, Step
from fl_orchestrator.simulation.driver import StuckFederation, Turn, pass_time, run_until


class Scripted:
    """Gives the steps that it was made with, one after the other, then nothing."""

    def __init__(self, *steps: Step, phases: frozenset[Phase] = frozenset({Phase.COMMIT})) -> None:
        self.phases = phases
        self._steps: Iterator[Step] = iter(steps)
        self.asked = 0

    def step(self) -> Step:
        self.asked += 1
        return next(self._steps, Step())


class Clock:
    """A chain that only has a time."""

    def __init__(self) -> None:
        self.now = 500

    def mine(self, seconds: int = 1) -> None:
        self.now += seconds

    def observe(self) -> Observation:
        return seen(Phase.COMMIT if self.now < 1_000 else Phase.REVEAL, timestamp=self.now)


def turn_after(step: Step, phases: frozenset[Phase] = frozenset({Phase.COMMIT})) -> Turn:
    turn = Turn(Scripted(step, phases=phases))
    assert turn.is_due(seen())
    turn.take(seen())
    return turn


def test_who_had_nothing_to_do_is_asked_in_the_next_phase() -> None:
    turn = turn_after(Step(), phases=frozenset({Phase.COMMIT, Phase.REVEAL}))
    assert not turn.is_due(seen(timestamp=999))
    assert turn.is_due(seen(Phase.REVEAL))
    assert not turn.is_due(seen(Phase.ATTEST))


def test_who_acted_is_asked_again_at_once() -> None:
    assert turn_after(Step("commit")).is_due(seen())


def test_who_waits_for_a_time_is_asked_then() -> None:
    turn = turn_after(Step("post commit", wake_at=600))
    assert not turn.is_due(seen(timestamp=599))
    assert turn.is_due(seen(timestamp=600))


def test_who_has_no_part_in_a_round_is_asked_in_the_next_one() -> None:
    phases = frozenset({Phase.COMMIT, Phase.REVEAL})
    turn = turn_after(Step(round_over=True), phases)
    assert not turn.is_due(seen(Phase.REVEAL))
    assert turn.is_due(seen(current={"round": 6}))


def test_who_waits_for_the_others_is_always_asked() -> None:
    turn = turn_after(Step(), EVERY_PHASE)
    assert turn.is_due(seen())


def test_time_passes_only_when_nobody_acts_and_then_to_the_next_moment() -> None:
    clock: Any = Clock()
    early = Scripted(Step("commit"), Step(wake_at=700), Step())
    late = Scripted(Step())
    turns = [Turn(early), Turn(late)]
    times = []

    def done(_: Observation) -> bool:
        times.append(clock.now)
        return bool(clock.now >= 1_000)

    run_until(clock, clock.observe, turns, done)
    assert times == [500, 500, 700, 1_000]
    assert (early.asked, late.asked) == (3, 1)


def test_a_federation_in_which_nobody_can_go_on_is_stuck() -> None:
    clock: Any = Clock()
    with pytest.raises(StuckFederation, match="Round 5"):
        pass_time(clock, seen(Phase.ACCEPTED))
    with pytest.raises(StuckFederation, match="Nothing came of"):
        run_until(clock, seen, [Turn(Scripted(*[Step("talk")] * 20_000))], lambda _: False)
