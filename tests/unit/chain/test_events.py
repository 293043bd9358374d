"""The index of rounds: it asks for every block once, and for none twice."""

from __future__ import annotations

from typing import Any

import pytest
from support.observations import SOME_CID

from fl_orchestrator.chain.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.types import Result, RevealedUpdate


class Node:
    """The events of two rounds: revealed in blocks 11 and 21, accepted in blocks 12 and 22."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.hidden: set[str] = set()

    def _between(self, what: str, first: int, last: int, events: dict[int, Any]) -> list[Any]:
        if what in self.hidden:
            return []
        return [event for block, event in events.items() if first <= block <= last]

    def proposed_results(self, first: int, last: int) -> dict[bytes, Result]:
        self.asked.append((first, last))
        events = {12: (b"one", result(1)), 22: (b"two", result(2))}
        return dict(self._between("results", first, last, events))

    def revealed_updates(self, first: int, last: int) -> list[RevealedUpdate]:
        return self._between("updates", first, last, {11: update(1), 21: update(2)})

    def accepted_digests(self, first: int, last: int) -> dict[int, bytes]:
        events = {12: (1, b"one"), 22: (2, b"two")}
        return dict(self._between("digests", first, last, events))


def result(round_number: int) -> Result:
    return Result(round_number, b"\1" * 32, b"\2" * 32, 1, b"\3" * 32, SOME_CID)


def update(round_number: int) -> RevealedUpdate:
    return RevealedUpdate(round_number, "0x" + "11" * 20, 0, 1, b"\1" * 32, SOME_CID)


def index_of(node: Node) -> RoundIndex:
    return RoundIndex(node, from_block=10)  # type: ignore[arg-type]


def test_a_round_is_found_with_its_result_and_its_updates() -> None:
    index = index_of(Node())
    for round_number in (2, 1):
        found = index.accepted(round_number, 30)
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
    assert node.asked == [(10, 15), (16, 25)]


def test_a_round_whose_blocks_have_not_come_is_found_later() -> None:
    node = Node()
    index = index_of(node)
    with pytest.raises(MissingEvents, match="no events of round 2"):
        index.accepted(2, 21)
    with pytest.raises(MissingEvents):
        index.accepted(2, 21)
    assert node.asked == [(10, 21)]
    assert index.accepted(2, 22).updates == [update(2)]


@pytest.mark.parametrize("kind", ["results", "updates", "digests"])
def test_a_node_that_has_forgotten_its_logs_is_reported(kind: str) -> None:
    node = Node()
    node.hidden.add(kind)
    with pytest.raises(MissingEvents) as missing:
        index_of(node).accepted(1, 30)
    assert missing.value.hint == "Use an RPC endpoint that keeps all logs."
