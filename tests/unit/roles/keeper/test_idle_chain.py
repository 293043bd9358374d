"""A chain that makes blocks only for transactions: the keeper makes those that a round needs."""

from __future__ import annotations

import itertools
from pathlib import Path

from structlog.testing import capture_logs
from support.federation import SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.keeper.idle import IDLE_SECONDS, STILL_IDLE_SECONDS
from fl_orchestrator.roles.keeper.keeper import Keeper


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def keeper_of(federation: SmallFederation, clock: Clock | None) -> Keeper:
    return Keeper(
        federation.federation,
        federation.sender(federation.keeper_key),
        federation.mailbox,
        federation.deployment.block,
        clock=clock,
    )


def test_a_round_is_seeded_where_no_block_comes_by_itself(tmp_path: Path) -> None:
    federation, clock = SmallFederation(tmp_path, parties=2), Clock()
    keeper = keeper_of(federation, clock)
    assert keeper.step().action == "openRound"
    assert keeper.step().action is None
    done = []
    with capture_logs() as logs:
        while federation.observe().current.phase is Phase.SEEDING:
            assert clock.seconds < 2 * IDLE_SECONDS
            clock.seconds += 1
            done.append(keeper.step().action)
    made = [i for i, action in enumerate(done) if action == "make block"]
    assert made[0] == IDLE_SECONDS - 1
    assert done[-1] == "openRound"
    said = [log["log_level"] for log in logs if log["event"] == "no block came: makes one"]
    assert said == ["warning", "info"][: len(made)]
    assert len(made) <= 2
    assert all(b - a >= STILL_IDLE_SECONDS for a, b in itertools.pairwise(made))


def test_a_deadline_passes_where_no_block_comes_by_itself(tmp_path: Path) -> None:
    federation, clock = SmallFederation(tmp_path, parties=2), Clock()
    seen = federation.open_round()
    keeper = keeper_of(federation, clock)
    assert keeper.step().action is None
    left = seen.current.commit_end - seen.timestamp
    clock.seconds = left - 1
    assert keeper.step().action is None
    clock.seconds = left
    assert keeper.step().action == "make block"


def test_a_chain_with_blocks_of_its_own_costs_nothing(tmp_path: Path) -> None:
    federation, clock = SmallFederation(tmp_path, parties=2), Clock()
    keeper = keeper_of(federation, clock)
    seen = federation.open_round()
    for _ in range(20):
        clock.seconds += IDLE_SECONDS - 1
        assert keeper.step().action is None
        federation.chain.mine()
    assert federation.observe().current.round == seen.current.round


def test_without_a_clock_a_keeper_makes_no_blocks(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    keeper = keeper_of(federation, None)
    assert keeper.step().action == "openRound"
    assert [keeper.step().action for _ in range(50)] == [None] * 50
