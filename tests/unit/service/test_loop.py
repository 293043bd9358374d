"""The loop that gives roles steps: when it asks again, what it survives, and what ends it."""

from __future__ import annotations

import errno
import itertools
import random
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from structlog.testing import capture_logs
from support.observations import seen

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.nodes.connect import RpcUnavailable, WrongChain
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.content.store import StoreFull, StoreUnavailable
from fl_orchestrator.roles.base import ANY_TIME, NEW_EVENTS, Step, Wait, at, in_phase
from fl_orchestrator.roles.party.journal import DamagedJournal
from fl_orchestrator.roles.party.submission import MustSitOut
from fl_orchestrator.service.loop import NoBlock, Service
from fl_orchestrator.service.metrics import Metrics
from fl_orchestrator.service.pace import LOOK_EVERY
from fl_orchestrator.service.stop import Stop

BLOCK_SECONDS = 2


class World(Stop):
    """A chain with a block every two seconds, on a clock that only sleeping moves."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now = 0.0
        self.ends_at = seconds
        self.mines = True
        self.chain: Any = SimpleNamespace(last_seen=None, observe=lambda _account: self.observe())
        self.looks = 0

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

    def observe(self) -> Observation:
        self.looks += 1
        self.chain.last_seen = seen(
            block_number=self.block, timestamp=1000 + BLOCK_SECONDS * self.block
        )
        found: Observation = self.chain.last_seen
        return found


class Scripted:
    """Observes, and then does or raises what it is told; waits when it is told nothing more."""

    def __init__(
        self, world: World, script: Iterable[str | Step | Exception] = (), wait: Wait = ANY_TIME
    ) -> None:
        self.world = world
        self.script = list(script)
        self.wait = wait
        self.asked_at: list[float] = []

    def step(self) -> Step:
        self.asked_at.append(self.world.now)
        self.world.observe()
        said = self.script.pop(0) if self.script else None
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Step):
            return said
        return Step(said, self.wait if said is None else ANY_TIME)


def service(world: World, *workers: Any, **options: Any) -> Service:
    generator = random.Random(0)
    return Service(
        world.chain, "0x0", workers, world, now=world.clock, generator=generator, **options
    )


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


def test_who_waits_for_events_is_asked_after_some_blocks_and_not_looked_after_before() -> None:
    world = World(20 + 10 * LOOK_EVERY * BLOCK_SECONDS)
    role = Scripted(world, wait=NEW_EVENTS)
    service(world, role).run()
    later = [at for at in role.asked_at if at > 20]
    assert len(later) == 10
    assert {b - a for a, b in itertools.pairwise(later)} == {LOOK_EVERY * BLOCK_SECONDS}
    # One before each step, and the role's own.
    assert world.looks < 2 * len(role.asked_at) + 5


def test_who_waits_for_a_phase_is_looked_after_in_each_block_and_asked_now_and_then() -> None:
    world = World(20 + 10 * LOOK_EVERY * BLOCK_SECONDS)
    role = Scripted(world, wait=in_phase(Phase.REVEAL))
    service(world, role).run()
    # A reorganisation may have dropped what it did.
    assert len([at for at in role.asked_at if at > 20]) == 10
    assert 10 * LOOK_EVERY < world.looks - len(role.asked_at) < 11 * LOOK_EVERY + 5


def test_who_waits_for_a_time_is_asked_in_its_block() -> None:
    world = World(60)
    role = Scripted(world, wait=at(1050) | NEW_EVENTS)
    service(world, role).run()
    assert 50 in role.asked_at
    assert all(b - a >= BLOCK_SECONDS for a, b in itertools.pairwise(role.asked_at))


def test_a_role_that_acted_and_waits_for_others_is_not_asked_at_once() -> None:
    world = World(20)
    role = Scripted(world, [Step("post commit", in_phase(Phase.REVEAL) | at(1008))])
    assert service(world, role).run() == {"post commit": 1}
    assert role.asked_at[:2] == [0, 8]


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
    done = service(world, role, metrics=metrics).run()
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
    service(world, role).run()
    failed_again = role.asked_at[7]
    assert role.asked_at[8] - failed_again <= 2


def test_an_outage_of_the_node_is_borne_while_it_is_looked_whether_a_role_is_due() -> None:
    world = World(200)
    role = Scripted(world, ["commit"], wait=in_phase(Phase.REVEAL))
    looked_at: list[float] = []

    def observe(_account: str) -> Observation:
        looked_at.append(world.now)
        if 20 < world.now < 150:
            raise RpcUnavailable("The endpoint does not answer.")
        return world.observe()

    world.chain.observe = observe
    metrics = Metrics("party")
    assert service(world, role, metrics=metrics).run() == {"commit": 1}
    failed = [at for at in looked_at if 20 < at < 150]
    delays = [b - a for a, b in itertools.pairwise(failed)]
    assert len(failed) < 15
    assert delays[-1] > 8 * BLOCK_SECONDS / 2
    assert role.asked_at[-1] > 150


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
    ("full", "where"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "below its home: free some space"),
        (StoreFull("There is no room in the content store /srv/flo."), "/srv/flo"),
    ],
)
def test_a_full_disk_is_an_error_that_says_where_and_is_waited_for(
    full: Exception, where: str
) -> None:
    world = World(100)
    role = Scripted(world, [full])
    with capture_logs() as logs:
        service(world, role).run()
    (told,) = [entry for entry in logs if entry["event"] == "failed"]
    assert (told["log_level"], where in told["reason"]) == ("error", True)
    assert len(role.asked_at) > 1


def test_a_party_that_must_sit_out_what_it_prepared_says_so_and_is_asked_again() -> None:
    world = World(100)
    role = Scripted(world, [MustSitOut("Others could read its update.")] * 3 + ["commit"])
    with capture_logs() as logs:
        assert service(world, role).run() == {"commit": 1}
    (told,) = [entry for entry in logs if entry["event"] == "failed"]
    assert (told["log_level"], told["reason"]) == ("error", "Others could read its update.")


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


def test_a_node_that_has_served_the_chain_may_do_so_again() -> None:
    world = World(100)
    role = Scripted(world, ["commit", *[WrongChain("Another chain.")] * 3, "reveal"])
    assert service(world, role).run() == {"commit": 1, "reveal": 1}


def test_one_role_goes_on_while_another_fails() -> None:
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
