"""A seeded sequence of faults, and the table of their outcomes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from chaos.faults import EVERYBODY, FAULTS, faults_of
from chaos.world import World
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.service.local.federation import Plan

_TRIGGER_SECONDS = 240.0
_RECOVERY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault, its target, its duration in seconds, and its time: at the start of a phase, or after
    a ``delay`` in seconds."""

    fault: str
    target: str
    seconds: float = 0.0
    phase: Phase | None = None
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was survived: the state of the round, and when it made progress afterwards."""

    planned: Planned
    at: float
    block: int
    round: int
    phase: str
    recovered: float

    def row(self, number: int) -> str:
        planned = self.planned
        return (
            f"{number:>3}  {self.at:>6.0f}  {self.block:>6}  {self.round:>5}  {self.phase:<8}  "
            f"{planned.fault:<26}  {planned.target:<14}  {planned.seconds:>6.1f}  "
            f"{self.recovered:>9.1f}"
        )


HEADER = (
    f"{'#':>3}  {'second':>6}  {'block':>6}  {'round':>5}  {'phase':<8}  {'fault':<26}  "
    f"{'hits':<14}  {'lasts':>6}  {'goes on':>9}"
)


def run(world: World, plan: Iterable[Planned], tell: Callable[[str], None]) -> list[Done]:
    """Cause the faults one after the other; wait for progress after each. Raises Stuck."""
    tell(HEADER)
    done: list[Done] = []
    for planned in plan:
        done.append(_cause(world, planned))
        tell(done[-1].row(len(done)))
    return done


def _cause(world: World, planned: Planned) -> Done:
    if planned.phase is not None:
        _wait_for_beginning(world, planned.phase)
    else:
        world.hold(planned.delay)
    seen = world.observe()
    FAULTS[planned.fault](world, planned.target, planned.seconds)
    ended, after = time.monotonic(), world.observe()
    world.wait(lambda now: _moved(after, now), _RECOVERY_SECONDS, f"progress after {planned}")
    return Done(
        planned,
        ended - world.began,
        seen.block_number,
        seen.current.round,
        seen.current.phase.name.lower(),
        time.monotonic() - ended,
    )


def _wait_for_beginning(world: World, phase: Phase) -> None:
    """Wait until a phase begins; if the round is in it already, wait for its next beginning."""
    world.wait(lambda seen: seen.current.phase is not phase, _TRIGGER_SECONDS, f"end of {phase}")
    world.wait(lambda seen: seen.current.phase is phase, _TRIGGER_SECONDS, phase.name)


def _moved(before: Observation, now: Observation) -> bool:
    return (before.current.round, before.current.phase) != (now.current.round, now.current.phase)


# ------------------------------------------------------------------ plans

SHORT = (
    Planned("killed", "party-0", phase=Phase.REVEAL),
    Planned("RPC answers garbage", EVERYBODY, seconds=2),
    Planned("reorg drops a commit", EVERYBODY),
    Planned("killed", "aggregator-0", phase=Phase.ATTEST),
    Planned("disk full", "party-1", seconds=3, phase=Phase.COMMIT),
    Planned("RPC drops connections", EVERYBODY, seconds=3),
    Planned("flood of demands", EVERYBODY),
    Planned("RPC drips", EVERYBODY, seconds=2),
    Planned("relay drips", EVERYBODY, seconds=2),
    Planned("IPFS node drips", EVERYBODY, seconds=2),
)

_BOUNDARIES = (Phase.COMMIT, Phase.REVEAL, Phase.ATTEST, Phase.ACCEPTED)


def long_plan(seed: int, shape: Plan) -> list[Planned]:
    """Kill every role at every phase boundary and at random times; add each other fault a few
    times."""
    draw = _Draw(random.Random(seed), shape)
    faults = [
        *_deaths(draw),
        *_machines(draw),
        *_networks(draw),
        *_reorgs(draw),
        *_outsiders(draw),
    ]
    draw.chance.shuffle(faults)
    return faults


class _Draw:
    """Draws the target and the duration of each fault."""

    def __init__(self, chance: random.Random, shape: Plan) -> None:
        self.chance = chance
        self.faults = faults_of(shape)
        self.boundaries = (*_BOUNDARIES, Phase.CLAIM) if shape.private else _BOUNDARIES
        self.sizes = {
            "party": shape.parties,
            "aggregator": shape.aggregators,
            "watcher": shape.watchers,
            "keeper": 1,
        }

    def one_of(self, role: str) -> str:
        return f"{role}-{self.chance.randrange(self.sizes[role])}"

    def anybody(self) -> str:
        return self.one_of(self.chance.choice(list(self.sizes)))

    def moment(self) -> float:
        return round(self.chance.uniform(0, 8), 1)

    def lasting(self, fault: str, target: str) -> Planned:
        seconds = round(self.chance.uniform(2, 8), 1)
        return Planned(fault, target, seconds, delay=self.moment())


def _deaths(draw: _Draw) -> Iterator[Planned]:
    for role in draw.sizes:
        for phase in draw.boundaries:
            yield Planned("killed", draw.one_of(role), phase=phase)
        for _ in range(3):
            yield Planned("killed", draw.one_of(role), delay=draw.moment())
    for _ in range(2):
        yield Planned("killed", EVERYBODY, delay=draw.moment())


def _machines(draw: _Draw) -> Iterator[Planned]:
    for role in draw.sizes:
        yield draw.lasting("disk full", draw.one_of(role))
    for _ in range(2):
        yield draw.lasting("frozen", draw.anybody())
        yield draw.lasting("chain's clock + 60 s", EVERYBODY)
        yield draw.lasting("own clock + 60 s", draw.anybody())


def _networks(draw: _Draw) -> Iterator[Planned]:
    for fault in (name for name in draw.faults if name.startswith("RPC")):
        yield draw.lasting(fault, EVERYBODY)
        yield draw.lasting(fault, draw.one_of("party"))
        yield draw.lasting(fault, draw.one_of("aggregator"))
    for _ in range(4):
        yield draw.lasting("IPFS node killed", EVERYBODY)
    for _ in range(2):
        yield draw.lasting("IPFS node drips", EVERYBODY)
        yield draw.lasting("relay drips", EVERYBODY)


def _reorgs(draw: _Draw) -> Iterator[Planned]:
    for fault in (name for name in draw.faults if name.startswith("reorg")):
        for _ in range(2):
            yield Planned(fault, EVERYBODY, delay=draw.moment())


def _outsiders(draw: _Draw) -> Iterator[Planned]:
    for _ in range(3):
        yield Planned("flood of demands", EVERYBODY, delay=draw.moment())
