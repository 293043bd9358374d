"""The index of rounds: it reads what is new, and the last few blocks once more."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support.observations import SOME_CID

from fl_orchestrator.chain.contract import events
from fl_orchestrator.chain.contract.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import (
    Answered,
    Demanded,
    FraudProven,
    RevealedUpdate,
    RoundEvents,
    RoundRevoked,
)
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.digests import Result

ACCOUNT = "0x" + "11" * 20


@pytest.fixture(autouse=True)
def _nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the blocks that are read again, what is asked for is plain to see."""
    monkeypatch.setattr(events, "READ_AGAIN", 0)


class Node:
    """The events of three rounds, by their blocks.

    Round 1 and 2 are revealed in blocks 11 and 21, accepted in blocks 12 and 22. Round 2 has
    another result too, and two demands, one of them answered; it is revoked, and round 3 takes its
    height.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.hidden: set[str] = set()
        self.unlogged: set[int] = set()
        self.forks: list[int] = []
        self.lost: range = range(0)
        self.head = 1000
        self.during: Callable[[], None] = lambda: None
        self.answerer = ACCOUNT

    def reorganise(self, fork: int) -> None:
        """Replace the blocks above one by others, in which nothing has happened so far."""
        self.forks.append(fork)
        self.lost = range(fork + 1, self.head)

    def block_hash(self, number: int) -> bytes | None:
        """It tells on which branch the block is: how many of the forks are below it."""
        branch = sum(number > fork for fork in self.forks)
        return f"{number} {branch}".encode() if number <= self.head else None

    def block(self, number: int) -> tuple[bytes, int] | None:
        """A block's timestamp is its number."""
        block_hash = self.block_hash(number)
        return None if block_hash is None else (block_hash, number)

    def demand_by_id(self, number: int) -> Any:
        """What a call finds, also of the demands that are ``unlogged``."""
        blocks = () if "demands" in self.hidden else DEMANDS
        for block, made in blocks:
            if made.id == number and block not in self.lost:
                return SimpleNamespace(answerer=self.answerer, until=block + ANSWER_PERIOD)
        return None

    def believed(self, read: Callable[[], None]) -> None:
        read()

    def params(self) -> Any:
        return SimpleNamespace(state_depth=21, answer_period=ANSWER_PERIOD)

    def round_events(self, first: int, last: int) -> RoundEvents:
        self.asked.append((first, last))
        self.during()

        def between(kind: str, *events: tuple[int, Any]) -> list[Any]:
            events = () if kind in self.hidden else events
            return [e for block, e in events if first <= block <= last and block not in self.lost]

        return RoundEvents(
            dict(
                between(
                    "results",
                    (12, (b"one", result(1))),
                    (21, (b"other", result(2, 9))),
                    (22, (b"two", result(2))),
                    (32, (b"three", result(3))),
                )
            ),
            between(
                "updates", (11, update(1)), (21, update(2)), (21, update(2, 1)), (31, update(3))
            ),
            dict(between("digests", (12, (1, b"one")), (22, (2, b"two")), (32, (3, b"three")))),
            [d for d in between("demands", *DEMANDS) if d.id not in self.unlogged],
            between("answers", (25, ANSWER)),
            between("frauds", (26, FRAUD)),
            between("revocations", (26, REVOCATION)),
        )


def result(round_number: int, root: int = 3) -> Result:
    return Result(round_number, b"\1" * 32, b"\2" * 32, 1, bytes([root]) * 32, SOME_CID)


def update(round_number: int, index: int = 0) -> RevealedUpdate:
    return RevealedUpdate(round_number, ACCOUNT, index, 1, b"\1" * 32, SOME_CID)


def demand(number: int, block: int, round_number: int = 2) -> Demanded:
    return Demanded(round_number, number, ACCOUNT, 6, 0, 0, 10, 100, block)


DEMANDS = ((23, demand(1, 23)), (24, demand(2, 24)), (33, demand(3, 33, 3)))
ANSWER_PERIOD = 50
ANSWER = Answered(2, 1, ACCOUNT, b"\5" * 32 * 64, 25)
FRAUD = FraudProven(2, b"two", ACCOUNT, 26)
REVOCATION = RoundRevoked(2, 2, 26)


def index_of(node: Node) -> RoundIndex:
    return RoundIndex(node, from_block=10)  # type: ignore[arg-type]


def test_a_round_is_found_with_its_result_and_its_updates() -> None:
    index = index_of(Node())
    for round_number in (3, 1):
        found = index.accepted(round_number, 40)
        assert found.result == result(round_number)
        assert found.updates == [update(round_number)]


def test_what_is_not_new_is_not_asked_for() -> None:
    node = Node()
    index = index_of(node)
    index.accepted(1, 15)
    index.accepted(1, 20)
    assert node.asked == [(10, 15)]
    index.accepted(2, 25)
    index.accepted(1, 30)
    index.search_to(25)
    index.search_to(9)
    assert node.asked == [(10, 15), (16, 25)]


def test_a_round_whose_blocks_have_not_come_is_found_later() -> None:
    node = Node()
    index = index_of(node)
    with pytest.raises(MissingEvents, match="no events of round 2"):
        index.accepted(2, 21)
    with pytest.raises(MissingEvents):
        index.accepted(2, 21)
    assert node.asked == [(10, 21)]
    assert index.accepted(2, 22).updates == [update(2), update(2, 1)]


@pytest.mark.parametrize("kind", ["results", "updates", "digests"])
def test_a_node_that_has_forgotten_its_logs_is_reported(kind: str) -> None:
    node = Node()
    node.hidden.add(kind)
    with pytest.raises(MissingEvents) as missing:
        index_of(node).accepted(1, 30)
    assert missing.value.hint == "Use an RPC endpoint that keeps all logs."


def test_results_that_were_not_accepted_are_listed_with_the_reveals() -> None:
    index = index_of(Node())
    index.search_to(21)
    assert index.proposed(2) == {b"other": result(2, 9)}
    assert index.updates(2) == [update(2), update(2, 1)]
    assert dict(index.accepted_digests) == {1: b"one"}
    index.search_to(22)
    assert index.proposed(2) == {b"other": result(2, 9), b"two": result(2)}
    assert set(index.results) == {b"one", b"other", b"two"}
    assert index.accepted_digests[2] == b"two"
    assert index.proposed(4) == {}
    assert index.updates(4) == []


def test_demands_and_their_answers_are_listed() -> None:
    index = index_of(Node())
    index.search_to(24)
    assert dict(index.answers) == {}
    index.search_to(25)
    assert dict(index.answers) == {1: ANSWER}
    assert dict(index.demands) == {1: demand(1, 23), 2: demand(2, 24)}


@pytest.mark.parametrize("number", [2, 3])
def test_a_demand_that_the_node_does_not_list_is_noticed(number: int) -> None:
    """Nobody would answer it: then its result is convicted, and honest signers are slashed."""
    node = Node()
    node.unlogged.add(number)
    index = index_of(node)
    with pytest.raises(UntrueEvents, match="demand"):
        index.search_to(40)
    assert not index.results, "nothing of such a node is kept"
    node.unlogged.clear()
    index.search_to(40)
    assert list(index.demands) == [1, 2, 3]


def test_a_demand_that_is_newer_than_what_was_searched_is_not_missing() -> None:
    node = Node()
    index = index_of(node)
    index.search_to(23)
    assert list(index.demands) == [1]
    node.unlogged.add(2)
    index.search_to(24)  # a demand of the next block may have the same timestamp
    with pytest.raises(UntrueEvents):
        index.search_to(25)


def test_an_answer_that_no_event_confirms_has_to_be_in_the_contract_too() -> None:
    node = Node()
    node.answerer = "0x" + "22" * 20
    with pytest.raises(UntrueEvents, match="no answer by"):
        index_of(node).search_to(40)


def test_a_revoked_round_is_told_from_the_one_that_takes_its_height() -> None:
    index = index_of(Node())
    index.search_to(40)
    assert dict(index.frauds) == {b"two": FRAUD}
    assert dict(index.revocations) == {2: REVOCATION}
    assert index.accepted(2, 40).result == result(2)
    assert index.accepted(3, 40).result == result(3)
    assert index.demands[3] == demand(3, 33, 3)


def test_what_an_index_lists_cannot_be_changed() -> None:
    index = index_of(Node())
    index.search_to(40)
    index.updates(2).clear()
    index.proposed(2).clear()
    with pytest.raises(TypeError):
        index.answers[1] = ANSWER  # type: ignore[index]
    assert len(index.updates(2)) == len(index.proposed(2)) == 2


# ---------------------------------------------------------------------- reorganisations


def searched(node: Node, *blocks: int) -> RoundIndex:
    index = index_of(node)
    assert not any(index.search_to(block) for block in blocks)
    return index


def test_what_a_fork_replaces_is_forgotten_and_read_anew() -> None:
    node = Node()
    # The demands of the lost blocks do not come back.
    node.hidden |= {"demands", "answers"}
    index = searched(node, 12, 15, 21, 22)
    assert dict(index.accepted_digests) == {1: b"one", 2: b"two"}
    node.reorganise(20)
    assert index.search_to(23)
    assert node.asked[-1] == (16, 23)
    assert dict(index.accepted_digests) == {1: b"one"}
    assert (index.proposed(2), index.updates(2)) == ({}, [])
    assert index.accepted(1, 23).updates == [update(1)]
    node.lost = range(0)
    assert not index.search_to(33)
    assert node.asked[-1] == (24, 33)
    assert index.accepted(3, 33).updates == [update(3)]


def test_a_fork_below_all_that_was_read_starts_from_the_beginning() -> None:
    node = Node()
    index = searched(node, 12, 22)
    node.reorganise(5)
    assert index.search_to(22)
    assert node.asked[-1] == (10, 22)
    assert not index.results


def test_a_chain_that_became_shorter_is_noticed() -> None:
    node = Node()
    index = searched(node, 12, 22)
    node.reorganise(12)
    node.head = 15
    assert index.search_to(15)
    assert dict(index.accepted_digests) == {1: b"one"}


def test_a_fork_in_the_middle_of_a_search_is_noticed_by_the_next_one() -> None:
    node = Node()
    index = searched(node, 21)

    def fork() -> None:
        node.reorganise(15)
        node.during = lambda: None

    node.during = fork
    assert not index.search_to(22)
    assert index.search_to(23)
    assert node.asked[-1] == (10, 23)
    assert dict(index.accepted_digests) == {1: b"one"}


@pytest.mark.parametrize("by", ["search_to", "accepted"])
def test_a_fork_is_still_told_of_when_the_search_that_met_it_has_failed(by: str) -> None:
    node = Node()
    index = searched(node, 12, 22)
    node.reorganise(20)

    def fail() -> None:
        raise ChainError("The node does not answer.")

    node.during = fail
    with pytest.raises(ChainError):
        index.search_to(23) if by == "search_to" else index.accepted(3, 23)
    node.during = lambda: None
    assert index.search_to(24)
    assert not index.search_to(25)


def test_a_node_that_is_behind_is_not_asked_for_blocks_it_does_not_have() -> None:
    node = Node()
    index = searched(node, 12)
    node.head = 20
    assert not index.search_to(25)
    assert node.asked == [(10, 12)]
    node.head = 30
    assert not index.search_to(25)
    assert node.asked[-1] == (13, 25)


def test_old_searches_are_kept_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT_SEARCHES", 3)
    node = Node()
    index = searched(node, *range(10, 41))
    everything = searched(Node(), 40)
    assert index.results == everything.results
    node.reorganise(38)
    assert index.search_to(40)
    assert node.asked[-1] == (39, 40)
    assert index.accepted(2, 40).updates == [update(2), update(2, 1)]
    assert index.demands == everything.demands
    assert (index.answers, index.frauds) == (everything.answers, everything.frauds)
    assert index.revocations == everything.revocations
    node.reorganise(20)
    assert index.search_to(40)
    assert node.asked[-1] == (10, 40)
    assert dict(index.accepted_digests) == {1: b"one"}


# ---------------------------------------------------------------------- nodes that are behind


def test_what_a_node_did_not_give_at_first_is_found_by_the_next_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another node behind the same address knew the block already, but none of its events."""
    monkeypatch.setattr(events, "READ_AGAIN", 4)
    node = Node()
    node.lost = range(21, 24)
    index = searched(node, 21, 23)
    assert (index.updates(2), dict(index.demands)) == ([], {})
    node.lost = range(21, 23)
    assert not index.search_to(24)
    assert node.asked[-1] == (20, 24)
    assert dict(index.demands) == {1: demand(1, 23), 2: demand(2, 24)}


def test_what_is_read_again_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "READ_AGAIN", 16)
    monkeypatch.setattr(events, "KEPT_SEARCHES", 3)
    node = Node()
    index = searched(node, *range(10, 41))
    everything = searched(Node(), 40)
    for number in (1, 2, 3):
        assert index.accepted(number, 40) == everything.accepted(number, 40)
        assert index.proposed(number) == everything.proposed(number)
    assert (index.demands, index.answers) == (everything.demands, everything.answers)
    node.reorganise(38)
    assert index.search_to(40)
    assert index.accepted(2, 40).updates == [update(2), update(2, 1)]


def test_a_result_whose_signatures_are_gone_is_reported() -> None:
    class Forked:
        def signers(self, first: int, round_number: int) -> dict[bytes, list[str]]:
            return {b"two": [ACCOUNT]}

    federation: Any = Forked()
    assert events.signers_of(federation, 10, 2, b"two") == [ACCOUNT]
    with pytest.raises(MissingEvents, match="no signatures of a result of round 2"):
        events.signers_of(federation, 10, 2, b"other")
