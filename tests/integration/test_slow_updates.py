"""Updates that come slowly: the others are attested, and these count if they come in time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.adversary import PartialStore, run_to_attest
from support.disputes import run_watchers, submit_updates, vector_federation, watcher
from support.federation import Build, SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.aggregator import aggregator as module
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.roles.schedule import Schedule
from fl_orchestrator.roles.updates import StillFetching, UpdateFetches, plain_updates
from fl_orchestrator.roles.vectors import Origin, VectorFile

PATIENCE = 20.0


class SlowStore(LocalStore):
    """Holds back some files until they are released."""

    def __init__(self, federation: SmallFederation, slow: set[Cid]) -> None:
        super().__init__(federation.directory / "store")
        self.slow = slow
        self.asked = 0
        self.released = threading.Event()

    def get(self, cid: Cid, max_bytes: int) -> Any:
        if cid in self.slow:
            self.asked += 1
            assert self.released.wait(PATIENCE)
        return super().get(cid, max_bytes)


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step waits for 0.3 seconds: nothing of what a test holds back comes meanwhile."""
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr("fl_orchestrator.roles.watcher.watcher.STEP_SECONDS", 0.3)


def slow_aggregator(
    federation: SmallFederation, slow: set[Cid], number: int = 0
) -> tuple[Aggregator, SlowStore]:
    store = SlowStore(federation, slow)
    return federation.aggregator(number, store=store), store


def arrive(role: Aggregator, store: SlowStore) -> None:
    """Let everything come, and wait until it is on the role's disk."""
    fetches = list(role._fetches._fetches.values())
    store.released.set()
    for fetch in fetches:
        assert fetch.done.wait(PATIENCE)


def test_one_partys_slow_update_does_not_keep_the_others_from_being_attested(build: Build) -> None:
    federation = build(parties=3, aggregators=1)
    seen, cids = run_to_attest(federation)
    role, store = slow_aggregator(federation, {cids[1]})
    began = time.monotonic()
    # It is waited for, and the process does other things meanwhile.
    assert role.step().action is None
    assert time.monotonic() - began < PATIENCE / 2
    quarter = seen.current.reveal_end + federation.terms.attest_period // 4
    federation.pass_until(quarter - 1)
    assert role.step().action is None
    federation.pass_until(quarter)
    assert role.step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED
    assert federation.included() == {0, 2}
    assert store.asked == 1
    arrive(role, store)


def test_what_comes_while_it_is_waited_for_is_included(build: Build) -> None:
    federation = build(parties=3, aggregators=1)
    _, cids = run_to_attest(federation)
    role, store = slow_aggregator(federation, {cids[1]})
    assert role.step().action is None
    arrive(role, store)
    assert role.step().action == "attest"
    assert federation.included() == {0, 1, 2}


def test_what_comes_after_that_counts_if_the_round_is_still_open(build: Build) -> None:
    federation = build(parties=3, aggregators=2)
    seen, cids = run_to_attest(federation)
    role, store = slow_aggregator(federation, {cids[1]})
    federation.pass_until(seen.current.reveal_end + federation.terms.attest_period // 3)
    assert [role.step().action for _ in range(2)] == ["attest", None]
    arrive(role, store)
    assert role.step().action == "attest"
    # The other one has had all of them from the beginning.
    assert federation.aggregator(1).step().action == "attest"
    assert federation.included() == {0, 1, 2}


def revealing(federation: SmallFederation) -> tuple[Party, Party]:
    """Two parties of a round: one has revealed its update, and the other will."""
    first, second, *others = (federation.party(i) for i in range(len(federation.parties)))
    keeper = federation.keeper(1)
    federation.run_to(Phase.REVEAL, [first, second, *others, keeper], 1)
    while not federation.observe().current.reveals:
        first.step()
        federation.chain.mine()
    assert federation.observe().current.reveals == 1
    return first, second


def test_a_large_update_is_fetched_while_others_are_still_to_be_revealed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_PARAMETERS", 1)
    federation = build(parties=2, aggregators=1)
    role = federation.aggregator(0)
    _, second = revealing(federation)
    assert role.step().action is None
    (early,) = role._fetches._fetches.values()
    assert early.done.wait(PATIENCE)
    directory = federation.home("aggregators", 0) / "vectors"
    assert len(list(directory.glob("update-1-*"))) == 1
    # Nothing is started twice.
    role.step()
    assert list(role._fetches._fetches.values()) == [early]
    federation.run_to(Phase.ATTEST, [second, federation.keeper(1)], 1)
    assert role.step().action == "attest"
    assert federation.included() == {0, 1}


def test_an_aggregator_is_asked_at_each_large_update_that_is_revealed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_PARAMETERS", 1)
    federation = build(parties=3, aggregators=1)
    role, key = federation.aggregator(0), federation.aggregators[0]
    schedule = Schedule(role)
    schedule.ask(federation.observe(key))
    _, second = revealing(federation)
    for reveals in (1, 2):
        seen = federation.observe(key)
        assert (seen.current.reveals, schedule.is_due(seen)) == (reveals, True)
        schedule.ask(seen)
        assert len(role._fetches._fetches) == reveals
        assert not schedule.is_due(federation.observe(key))
        second.step()
        federation.chain.mine()


def test_updates_of_a_round_that_came_to_nothing_do_not_fill_the_disk(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_PARAMETERS", 1)
    federation = build(parties=2, aggregators=1)
    role = federation.aggregator(0)
    first, second = revealing(federation)
    role.step()
    directory = federation.home("aggregators", 0) / "vectors"
    (early,) = role._fetches._fetches.values()
    assert early.done.wait(PATIENCE)
    assert len(list(directory.glob("update-1-*"))) == 1
    federation.run_to(Phase.REVEAL, [first, second, federation.keeper(2)], 2)
    assert federation.observe().head.round == 0
    role.step()
    assert not list(directory.glob("update-1-*"))


def test_an_update_that_was_not_there_when_it_was_revealed_is_asked_for_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_PARAMETERS", 1)
    federation = build(parties=2, aggregators=1)
    store = PartialStore(federation)
    role = federation.aggregator(0, store=store)
    _, second = revealing(federation)
    (reveal,) = federation.federation.revealed_updates(0)
    store.denied = {reveal.cid}
    role.step()
    (early,) = role._fetches._fetches.values()
    assert early.done.wait(PATIENCE)
    assert early.failed
    federation.run_to(Phase.ATTEST, [second, federation.keeper(1)], 1)
    store.denied = set()
    assert role.step().action == "attest"
    assert federation.included() == {0, 1}


def test_a_small_update_is_fetched_when_all_are_revealed(build: Build) -> None:
    federation = build(parties=2, aggregators=1)
    role = federation.aggregator(0)
    revealing(federation)
    role.step()
    assert not role._fetches._fetches


def test_many_slow_updates_do_not_delay_one_that_is_not(build: Build) -> None:
    federation = build(parties=12, aggregators=1)
    _, cids = run_to_attest(federation)
    store = SlowStore(federation, set(cids[:11]))
    role = federation.aggregator(0)
    origin: Origin = role._origin
    fetches = UpdateFetches(plain_updates(role._vectors, store, origin))
    reveals = federation.federation.revealed_updates(0)
    found = fetches.fetch(reveals, 1.0)
    kinds = {r.party: type(f) for r, f in zip(reveals, found, strict=True)}
    assert kinds[federation.parties[11].address] is VectorFile
    assert list(kinds.values()).count(StillFetching) == 11
    # Asking again starts nothing twice.
    fetches.fetch(reveals, 0.0)
    store.released.set()
    assert all(isinstance(one, VectorFile) for one in fetches.fetch(reveals))
    assert store.asked == 11


def test_what_an_earlier_round_left_is_abandoned(build: Build, tmp_path: Path) -> None:
    federation = build(parties=2, aggregators=1)
    _, cids = run_to_attest(federation)
    role, store = slow_aggregator(federation, {cids[0]})
    role.step()
    (fetch,) = role._fetches._fetches.values()
    role._fetches.abandon_before(2)
    store.released.set()
    assert fetch.done.wait(PATIENCE)
    directory = federation.home("aggregators", 0) / "vectors"
    assert not list(directory.glob("new-*"))
    assert len(list(directory.glob("update-1-*"))) == 1


def test_files_that_are_being_written_are_not_cleaned_up(build: Build) -> None:
    federation = build(parties=2, aggregators=1)
    run_to_attest(federation)
    role = federation.aggregator(0)
    vectors, (reveal, *_) = role._vectors, federation.federation.revealed_updates(0)

    class Cleaning(LocalStore):
        def get(self, cid: Cid, max_bytes: int) -> Any:
            vectors.forget_rounds_before(9)
            return super().get(cid, max_bytes)

    cleaning = Cleaning(federation.directory / "store")
    file = vectors.fetch(cleaning, reveal.cid, reveal.root, role._origin.update(1))
    assert file.path.exists()


def test_a_watcher_goes_on_with_other_rounds_while_an_update_is_slow(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, updates=2)
    for number in (1, 2):
        submit_updates(federation, number)
        assert federation.aggregator(0).step().action == "attest"
    (slow, *_) = federation.federation.revealed_updates(0, round_number=1)
    store = SlowStore(federation, {slow.cid})
    role = watcher(federation, store=store)
    assert role.step().action == "check"
    assert role.step().action is None
    assert role.busy
    assert role.alerts == ()
    store.released.set()
    assert run_watchers(federation, role) == ["check"]
