"""The index of rounds: it asks for every block once, and for none twice."""

from __future__ import annotations

from typing import Any

import pytest
from support.observations import SOME_CID

from fl_orchestrator.chain.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.types import (
    Answered,
    Demanded,
    FraudProven,
    Result,
    RevealedUpdate,
    RoundEvents,
    RoundRevoked,
)

ACCOUNT = "0x" + "11" * 20


class Node:
    """The events of three rounds, by their blocks.

    Round 1 and 2 are revealed in blocks 11 and 21, accepted in blocks 12 and 22. Round 2 has
    another result too, and two demands, one of them answered; it is revoked, and round 3 takes its
    height.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.hidden: set[str] = set()

    def round_events(self, first: int, last: int) -> RoundEvents:
        self.asked.append((first, last))

        def between(kind: str, *events: tuple[int, Any]) -> list[Any]:
            events = () if kind in self.hidden else events
            return [event for block, event in events if first <= block <= last]

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
            between("demands", (23, demand(1, 23)), (24, demand(2, 24)), (33, demand(3, 33, 3))),
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


ANSWER = Answered(2, 1, ACCOUNT, b"\5" * 64, 25)
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


def test_every_block_is_asked_for_once() -> None:
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


def test_a_demand_is_open_until_it_is_answered() -> None:
    index = index_of(Node())
    index.search_to(24)
    assert index.open_demands(2) == [demand(1, 23), demand(2, 24)]
    assert dict(index.answers) == {}
    index.search_to(25)
    assert index.open_demands(2) == [demand(2, 24)]
    assert dict(index.answers) == {1: ANSWER}
    assert dict(index.demands) == {1: demand(1, 23), 2: demand(2, 24)}
    assert index.open_demands(3) == []


def test_a_revoked_round_is_told_from_the_one_that_takes_its_height() -> None:
    index = index_of(Node())
    index.search_to(40)
    assert dict(index.frauds) == {b"two": FRAUD}
    assert dict(index.revocations) == {2: REVOCATION}
    assert index.accepted(2, 40).result == result(2)
    assert index.accepted(3, 40).result == result(3)
    assert index.open_demands(3) == [demand(3, 33, 3)]


def test_what_an_index_lists_cannot_be_changed() -> None:
    index = index_of(Node())
    index.search_to(40)
    index.updates(2).clear()
    index.proposed(2).clear()
    with pytest.raises(TypeError):
        index.answers[1] = ANSWER  # type: ignore[index]
    assert len(index.updates(2)) == len(index.proposed(2)) == 2
