"""The loop that gives roles steps: when it asks again, what it survives, and what ends it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from support.observations import seen

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.nodes.connect import RpcUnavailable, WrongChain
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.content.store import StoreUnavailable
from fl_orchestrator.roles.base import EVERY_PHASE, Step
from fl_orchestrator.roles.party.journal import DamagedJournal
from fl_orchestrator.service.loop import Duty, NoBlock, Service
from fl_orchestrator.service.metrics import Metrics
from fl_orchestrator.service.pace import BackOff, Pace
from fl_orchestrator.service.stop import Stop

BLOCK_SECONDS = 2


class World(Stop):
    """A chain with a block every two seconds, on a clock that only sleeping moves."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now = 0.0
        self.ends_at = seconds
        self.mines = True
        self.chain: Any = SimpleNamespace(last_seen=None)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert self.requested or seconds > 0, "the loop must not spin"
        self.now += seconds
        if self.now >= self.ends_at:
            self.request()

    @property
    def block(self) -> int:
        return int(self.now / BLOCK_SECONDS) if self.mines else 0

    def observe(self) -> None:
        self.chain.last_seen = seen(
            block_number=self.block, timestamp=1000 + BLOCK_SECONDS * self.block
        )


class Scripted:
    """Observes, and then does or raises what it is told; rests when it is told nothing more."""

    phases = EVERY_PHASE

    def __init__(self, world: World, script: Iterable[str | Exception] = ()) -> None:
        self.world = world
        self.script = list(script)
        self.asked_at: list[float] = []

    def step(self) -> Step:
        self.asked_at.append(self.world.now)
        self.world.observe()
        said = self.script.pop(0) if self.script else None
        if isinstance(said, Exception):
            raise said
        return Step(said)


def service(world: World, *duties: Any, **options: Any) -> Service:
    return Service(world.chain, duties, world, now=world.clock, **options)


def steady(role: Scripted) -> Duty:
    """A duty whose delays are those of one seed."""
    return Duty(role, back_off=BackOff(random=random.Random(0)))


def test_a_resting_role_is_asked_once_for_each_block() -> None:
    world = World(201)
    role = Scripted(world)
    service(world, role).run()
    later = [at for at in role.asked_at if at > 20]
    assert len(later) == 90


def test_a_role_that_acts_is_asked_again_at_once() -> None:
    world = World(10)
    role = Scripted(world, ["commit", "reveal"])
    assert service(world, role).run() == {"commit": 1, "reveal": 1}
    assert role.asked_at[:3] == [0, 0, 0]


def test_a_duty_that_only_waits_for_events_is_asked_less_often() -> None:
    world = World(221)
    often, seldom = Scripted(world), Scripted(world)
    service(world, often, Duty(seldom, every=10)).run()
    assert len([at for at in often.asked_at if at > 20]) == 100
    assert len([at for at in seldom.asked_at if at > 20]) == 10


@pytest.mark.parametrize(
    "outage",
    [
        RpcUnavailable("The endpoint does not answer."),
        StoreUnavailable("The store does not answer."),
        requests.ConnectionError("connection reset"),
        OSError(28, "No space left on device"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_is_borne_with_longer_and_longer_delays(outage: Exception) -> None:
    world = World(400)
    role = Scripted(world, [outage] * 8 + ["commit"])
    metrics = Metrics("party")
    done = service(world, steady(role), metrics=metrics).run()
    assert done == {"commit": 1}
    delays = [b - a for a, b in itertools.pairwise(role.asked_at[:9])]
    # From one second, before the block time is known, or two, up to thirty.
    bounds = [(min(30, 2**n) / 2, min(30, BLOCK_SECONDS * 2**n)) for n in range(8)]
    assert all(low <= delay <= high for delay, (low, high) in zip(delays, bounds, strict=True))
    kind = type(outage).__name__
    failed = metrics.registry.get_sample_value("flo_errors_total", {"role": "party", "kind": kind})
    assert failed == 8


def test_the_delay_is_short_again_after_a_success() -> None:
    world = World(100)
    outage = RpcUnavailable("The endpoint does not answer.")
    role = Scripted(world, [*[outage] * 6, "commit", outage])
    service(world, steady(role)).run()
    failed_again = role.asked_at[7]
    assert role.asked_at[8] - failed_again <= 2


def test_two_processes_do_not_come_back_at_once() -> None:
    one, other = (BackOff(random=random.Random(seed)) for seed in (1, 2))
    assert [one.next(1) for _ in range(5)] != [other.next(1) for _ in range(5)]


def test_what_the_contract_refuses_is_sent_again_with_the_next_block_and_never_before() -> None:
    world = World(50)
    role = Scripted(world, ["commit", *[ContractReverted(ContractError.WrongPhase)] * 10])
    service(world, role).run()
    refused = role.asked_at[1:12]
    assert all(b - a in (1, 2) for a, b in itertools.pairwise(refused))


def test_without_coin_it_tries_again_slowly() -> None:
    world = World(150)
    role = Scripted(world, [InsufficientFunds("No coin.")] * 2)
    service(world, role).run()
    assert role.asked_at[:3] == [0, 60, 120]


@pytest.mark.parametrize(
    "defect",
    [
        WrongChain("Another chain."),
        DamagedJournal("The journal is damaged."),
        AssertionError("a defect"),
        KeyError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_pass_by_itself_ends_it(defect: Exception) -> None:
    world = World(100)
    with pytest.raises(type(defect)):
        service(world, Scripted(world, [defect])).run()
    assert world.now == 0


def test_one_duty_goes_on_while_another_fails() -> None:
    world = World(100)
    failing = Scripted(world, [StoreUnavailable("The store does not answer.")] * 100)
    well = Scripted(world)
    service(world, failing, well).run()
    assert len(well.asked_at) > 45


def test_a_command_that_is_not_to_be_patient_raises_the_first_outage() -> None:
    world = World(100)
    role = Scripted(world, [RpcUnavailable("The endpoint does not answer.")])
    with pytest.raises(RpcUnavailable):
        service(world, role, retry=False).run()


def test_it_ends_when_all_rest_and_it_is_finished() -> None:
    world = World(100)
    role = Scripted(world, ["check", "check"])
    assert service(world, role).run(lambda: True) == {"check": 2}
    assert world.now == 0


def test_a_chain_without_blocks_is_told_in_time() -> None:
    world = World(1000)
    world.mines = False
    with pytest.raises(NoBlock, match="30 s"):
        service(world, Scripted(world), timeout=30).run()
    assert 30 < world.now < 40


def test_a_request_to_stop_is_heard_between_two_steps() -> None:
    world = World(100)
    stop: Callable[[], None] = world.request

    class Busy(Scripted):
        def step(self) -> Step:
            super().step()
            if len(self.asked_at) == 3:
                stop()
            return Step("act")

    role = Busy(world)
    assert service(world, role).run() == {"act": 3}


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
