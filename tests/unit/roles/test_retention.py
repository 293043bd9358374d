"""Retention: nothing that can be disputed is ever unpinned, and everything older is."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.observations import SOME_CID, seen

from fl_orchestrator.chain.types import ModelView, Observation, Phase, Window
from fl_orchestrator.content.cid import RAW, Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentNotFound, StoreUnavailable
from fl_orchestrator.model.vector_file import VectorKind
from fl_orchestrator.roles.retention import FOREVER, Retention
from fl_orchestrator.roles.vectors import Origin, VectorFile

CHALLENGE_PERIOD = 1_000
EXTENSION = 700
MARGIN = 50
ORIGIN = Origin(5, "0x" + "ab" * 20)


def update_of(number: int) -> Cid:
    return Cid(hashlib.sha256(f"update {number}".encode()).digest(), RAW)


def model_of(number: int) -> Cid:
    return Cid(hashlib.sha256(f"model {number}".encode()).digest(), RAW)


@dataclasses.dataclass
class Round:
    base: int
    attest_end: int = 0
    extended_to: int = 0

    @property
    def window_end(self) -> int:
        return self.attest_end + CHALLENGE_PERIOD if self.attest_end else 0

    @property
    def final_at(self) -> int:
        return self.extended_to or self.window_end


class FakeChain:
    """What the contract says of rounds, and what it does with them; by docs/protocol.md."""

    def __init__(self) -> None:
        self.now = 10_000
        self.rounds = {0: Round(0)}
        self.history = [0]
        self.final_height = 0
        self.held = 0

    # What Retention asks

    def params(self) -> Any:
        class Params:
            challenge_period = CHALLENGE_PERIOD

        return Params

    def held_until(self) -> int:
        return self.held

    def model(self, height: int) -> ModelView:
        number = self.history[height]
        return ModelView(height, number, b"\1" * 32, model_of(number))

    def window(self, number: int) -> Window:
        found = self.rounds[number]
        return Window(
            number in self.history[1:], found.attest_end, found.window_end, found.final_at, 0
        )

    def seen(self) -> Observation:
        head = self.model(len(self.history) - 1)
        return seen(
            Phase.VOID,
            current={"round": max(self.rounds)},
            timestamp=self.now,
            head=head,
            final_height=self.final_height,
        )

    # What happens

    def open(self, *, attested: bool, accepted: bool) -> int:
        """A round from its opening to its end; its number."""
        number = max(self.rounds) + 1
        attest_end = self.now + 300 if attested else 0
        self.rounds[number] = Round(self.history[-1], attest_end)
        if accepted:
            self.history.append(number)
        self.now += 100 if accepted else 300
        return number

    def revoke(self, choice: int) -> None:
        open_heights = [
            height
            for height in range(self.final_height + 1, len(self.history))
            if self.now < self.rounds[self.history[height]].final_at
        ]
        if open_heights:
            height = open_heights[choice % len(open_heights)]
            ends = [self.rounds[n].attest_end for n in (self.history[-1], max(self.rounds))]
            self.held = max(self.held, max(self.now, *ends) + CHALLENGE_PERIOD)
            del self.history[height:]

    def demand(self, choice: int) -> None:
        height = self.final_height + 1 + choice % 3
        if height < len(self.history):
            found = self.rounds[self.history[height]]
            if self.now < found.window_end and not found.extended_to:
                found.extended_to = found.window_end + EXTENSION

    def finalize(self) -> None:
        height = self.final_height + 1
        if height < len(self.history) and self.now >= self.rounds[self.history[height]].final_at:
            self.final_height = height

    # What it means

    def disputable(self) -> set[int]:
        """The rounds of which somebody may still prove a result wrong."""
        pending = set(self.history[self.final_height + 1 :])
        return pending | {n for n, r in self.rounds.items() if n and self.now < r.window_end}

    def needed(self) -> set[Cid]:
        """What a dispute, an answer or the next round may ask for; genesis is not among it."""
        rounds = self.disputable()
        models = {self.rounds[n].base for n in rounds} | set(self.history[-2:])
        models |= rounds & set(self.history)
        return {update_of(n) for n in rounds} | {model_of(n) for n in models if n}


class FakeStore:
    """Has everything; remembers what is pinned."""

    def __init__(self) -> None:
        self.pinned: set[Cid] = set()

    def has(self, cid: Cid) -> bool:
        return True

    def pin(self, cid: Cid) -> None:
        self.pinned.add(cid)

    def unpin(self, cid: Cid) -> None:
        self.pinned.remove(cid)


class World:
    """A chain, and a role that keeps the updates, the base and the model of every round."""

    def __init__(self, directory: Path) -> None:
        self.chain, self.store = FakeChain(), FakeStore()
        self.path = directory / "kept.json"
        self.restart()

    def restart(self, margin: int = MARGIN) -> None:
        self.retention = Retention(self.chain, self.store, self.path, margin)  # type: ignore[arg-type]

    def round(self, *, attested: bool = True, accepted: bool = True) -> None:
        number = self.chain.open(attested=attested, accepted=accepted)
        base = self.chain.rounds[number].base
        files = [(update_of(number), ORIGIN.update(number)), (model_of(base), ORIGIN.state(base))]
        if attested:
            files.append((model_of(number), ORIGIN.state(number)))
        unread = Path("not read")
        self.retention.keep([(cid, VectorFile(unread, meta, bytes(32))) for cid, meta in files])

    def release(self) -> None:
        self.retention.release(self.chain.seen())

    def settle(self) -> None:
        """Let every window pass, and make everything final."""
        self.chain.now += 10 * CHALLENGE_PERIOD
        while self.chain.final_height < len(self.chain.history) - 1:
            self.chain.finalize()

    @property
    def pinned_rounds(self) -> tuple[set[int], set[int]]:
        """The rounds whose updates are pinned, and those whose models are."""
        numbers = self.chain.rounds
        return (
            {n for n in numbers if update_of(n) in self.store.pinned},
            {n for n in numbers if model_of(n) in self.store.pinned},
        )


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["accepted", "accepted", "void", "silent", "revoke", "demand", "finalize", "restart"]
        ),
        st.integers(0, 5),
        st.sampled_from([0, 0, 10, 400, 1_100, 2_000]),
    ),
    max_size=40,
)


def take(world: World, step: str, choice: int) -> None:
    chain = world.chain
    if step in ("accepted", "void", "silent"):
        world.round(attested=step != "silent", accepted=step == "accepted")
    elif step == "restart":
        world.restart()
    elif step == "finalize":
        chain.finalize()
    else:
        {"revoke": chain.revoke, "demand": chain.demand}[step](choice)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_nothing_disputable_is_ever_unpinned_and_everything_older_is(
    tmp_path_factory: pytest.TempPathFactory, steps: Iterable[tuple[str, int, int]]
) -> None:
    world = World(tmp_path_factory.mktemp("home"))
    for step, choice, seconds in steps:
        take(world, step, choice)
        world.chain.now += seconds
        world.release()
        assert world.chain.needed() <= world.store.pinned
    world.settle()
    for _ in range(2):
        world.round()
    world.settle()
    world.round()
    world.release()
    head, base, current = world.chain.history[-1], world.chain.history[-2], max(world.chain.rounds)
    updates, models = world.pinned_rounds
    assert (updates, models) == ({current}, {0, base, head})


def test_the_needs_of_the_fake_chain_are_those_of_the_protocol(world: World) -> None:
    """The oracle of the property, on a history that can be checked by hand."""
    for _ in range(3):
        world.round()
    chain = world.chain
    assert chain.disputable() == {1, 2, 3}
    chain.revoke(1)
    assert chain.history == [0, 1]
    world.round()
    # Results of the orphaned rounds 2 and 3 can be challenged; round 3 started from model 2.
    assert chain.needed() == {
        *(update_of(n) for n in (1, 2, 3, 4)),
        *(model_of(n) for n in (1, 2, 4)),
    }


def test_what_is_final_goes_after_the_margin(world: World) -> None:
    for _ in range(4):
        world.round()
    rounds = world.chain.rounds
    for last, kept in ((rounds[2].final_at, {2, 3, 4}), (rounds[3].final_at, {3, 4})):
        world.chain.now = last
        while world.chain.now >= rounds[world.chain.final_height + 1].final_at:
            world.chain.finalize()
        world.release()
        assert world.pinned_rounds[0] == kept
    # Round 4 is current.
    world.settle()
    world.release()
    assert world.pinned_rounds == ({4}, {0, 3, 4})


def test_an_archive_lets_nothing_go_until_it_is_one_no_more(world: World) -> None:
    world.restart(FOREVER)
    for _ in range(3):
        world.round()
    world.settle()
    world.release()
    assert world.pinned_rounds == ({1, 2, 3}, {0, 1, 2, 3})
    world.restart()
    world.release()
    assert world.pinned_rounds == ({3}, {0, 2, 3})


def test_nothing_goes_while_withdrawals_are_held_back(world: World) -> None:
    for _ in range(3):
        world.round()
    world.settle()
    world.chain.held = world.chain.now + 1
    world.release()
    assert world.pinned_rounds[0] == {1, 2, 3}


def test_it_asks_the_chain_once_for_each_final_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        world.round()
    world.release()
    asked: list[str] = []

    def held_until() -> int:
        asked.append("held")
        return 0

    monkeypatch.setattr(world.chain, "held_until", held_until)
    for _ in range(5):
        world.release()
    assert asked == []
    world.settle()
    for _ in range(5):
        world.release()
    assert asked == ["held"]


def test_the_manifest_and_genesis_are_never_its_business(world: World) -> None:
    genesis = VectorFile(Path("not read"), ORIGIN.state(0), bytes(32))
    world.retention.keep([(SOME_CID, genesis)])
    for _ in range(3):
        world.round()
    world.settle()
    world.release()
    assert SOME_CID in world.store.pinned


def test_what_the_store_does_not_unpin_is_unpinned_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        world.round()
    world.settle()

    def down(_: Cid) -> None:
        raise StoreUnavailable("It is down.")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "unpin", down)
        world.release()
    assert world.pinned_rounds[0] == {1, 2, 3}
    world.round()
    world.settle()
    world.restart()
    world.release()
    assert world.pinned_rounds == ({4}, {0, 3, 4})


@pytest.mark.parametrize("damage", [b"", b"[[1, 2]]", b'[[1, "update", "not a CID"]]', b"\xff"])
def test_without_its_file_it_unpins_nothing_and_goes_on(world: World, damage: bytes) -> None:
    world.round()
    world.path.write_bytes(damage)
    for _ in range(2):
        world.round()
    world.settle()
    world.release()
    # Model 1 was noted again, as the base of round 2.
    assert world.pinned_rounds == ({1, 3}, {0, 2, 3})


def test_what_the_store_has_lost_or_never_had_is_put_there(world: World, tmp_path: Path) -> None:
    path = tmp_path / "vector"
    path.write_bytes(b"a vector")
    with path.open("rb") as stream:
        cid = cid_of(stream)
    store = LocalStore(tmp_path / "store")
    retention = Retention(world.chain, store, world.path)  # type: ignore[arg-type]
    retention.keep([(cid, VectorFile(path, ORIGIN.update(1), bytes(32)))])
    assert (tmp_path / "store" / "pinned" / str(cid)).is_file()


def test_content_that_is_lost_before_it_is_pinned_is_put_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vector"
    path.write_bytes(b"a vector")
    store = LocalStore(tmp_path / "store")
    with path.open("rb") as stream:
        cid = store.put(stream, pin=False)

    def collected(cid: Cid) -> None:
        LocalStore(tmp_path / "store", grace_seconds=0).collect_garbage()
        raise ContentNotFound(f"{cid} is gone.")

    monkeypatch.setattr(store, "pin", collected)
    Retention(world.chain, store, world.path).keep(  # type: ignore[arg-type]
        [(cid, VectorFile(path, ORIGIN.update(1), bytes(32)))]
    )
    assert (tmp_path / "store" / "pinned" / str(cid)).is_file()


def test_it_is_noted_before_it_is_pinned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed in between has noted too much, and not too little."""

    class Killed(BaseException):
        pass

    def killed(_: Cid) -> None:
        raise Killed

    monkeypatch.setattr(world.store, "pin", killed)
    with pytest.raises(Killed):
        world.round()
    assert VectorKind.UPDATE in world.path.read_text()
    assert str(update_of(1)) in world.path.read_text()
