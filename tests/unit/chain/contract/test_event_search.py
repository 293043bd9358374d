"""Searching for events on nodes that limit how much they search, or answer with garbage."""

from __future__ import annotations

from typing import Any

import pytest
from support.rpc import rpc_endpoint
from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract import contract
from fl_orchestrator.chain.contract.contract import Contract
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.reverts import RequestRefused
from fl_orchestrator.chain.event_types import RoundRevoked
from fl_orchestrator.chain.nodes import endpoints
from fl_orchestrator.chain.nodes.connect import reach
from fl_orchestrator.chain.nodes.endpoints import AnswerTooLarge, RpcUnavailable
from fl_orchestrator.chain.nodes.node import Node

ADDRESS = "0x" + "11" * 20
HEAD = 20_000_000


class Searched(Contract):
    """A contract whose node searches at most ``limit`` blocks at a time, and finds every tenth."""

    def __init__(self, limit: int, error: Exception | None = None) -> None:
        super().__init__(Web3(), ADDRESS, load_artifact("Federation"))
        self.limit = limit
        self.asked: list[tuple[int, int]] = []
        self.error = error or RequestRefused.of({"message": "range too wide"})

    def search(self, first: int, last: int) -> list[int]:
        def once(start: int, end: int) -> list[int]:
            self.asked.append((start, end))
            if end - start >= self.limit:
                raise self.error
            return [block for block in range(start, end + 1) if block % 10 == 0]

        return self._searched(once, first, last)


@pytest.fixture(autouse=True)
def _no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web3.eth.Eth.chain_id", 5)
    monkeypatch.setattr(endpoints, "_FIRST_PAUSE_SECONDS", 0)


@pytest.mark.parametrize("limit", [1, 3, 1000, 1 << 30])
@pytest.mark.parametrize("error", [None, AnswerTooLarge("too large")])
def test_a_search_is_as_wide_as_the_node_takes_it(limit: int, error: Exception | None) -> None:
    searched = Searched(limit, error)
    assert searched.search(7, 1999) == list(range(10, 2000, 10))
    taken = [(a, b) for a, b in searched.asked if b - a < limit]
    assert [first for first, _ in taken] == [7, *(last + 1 for _, last in taken[:-1])]


def test_what_a_node_takes_is_remembered() -> None:
    searched = Searched(1000)
    searched.search(0, HEAD // 10)
    refused = [(a, b) for a, b in searched.asked if b - a >= 1000]
    assert len(refused) == 9
    searched.asked.clear()
    searched.search(0, 10_000)
    assert all(b - a < 1000 for a, b in searched.asked)


def test_an_accident_in_a_narrow_search_does_not_make_wide_ones_narrow() -> None:
    searched = Searched(4)
    assert searched.search(0, 7) == [0]
    searched.limit = 1 << 60
    searched.asked.clear()
    searched.search(0, HEAD)
    assert len(searched.asked) == 77


def test_a_long_chain_takes_few_requests_where_nothing_limits_them() -> None:
    searched = Searched(1 << 60)
    searched.search(0, HEAD)
    assert len(searched.asked) == 77


def test_a_node_that_searches_not_even_a_block_is_quoted() -> None:
    searched = Searched(0)
    with pytest.raises(RequestRefused, match="refused a request: range too wide"):
        searched.search(0, HEAD)
    assert len(searched.asked) == 19
    # It may have been an accident: the next search starts wide again.
    searched.limit = contract.WIDEST_SPAN
    searched.asked.clear()
    searched.search(0, 1000)
    assert searched.asked == [(0, 1000)]


def test_nothing_is_searched_where_there_are_no_blocks() -> None:
    searched = Searched(5)
    assert searched.search(6, 5) == []
    assert searched.asked == []


# ---------------------------------------------------------------------- over the wire


class Bare(Federation):
    """Without the check that there is a federation."""

    def __init__(self, chain: Node) -> None:
        Contract.__init__(self, chain, ADDRESS, load_artifact("Federation"))


def search_answered_with(logs: Any) -> None:
    with rpc_endpoint() as endpoint:
        endpoint.serves(5, eth_blockNumber="0x9", eth_getLogs=logs)
        Bare(reach(endpoint.url)).round_events(0, 9)


def log(**changes: Any) -> dict[str, Any]:
    topic = next(e for e in load_artifact("Federation").abi if e.get("name") == "RoundRevoked")
    signature = f"RoundRevoked({','.join(i['type'] for i in topic['inputs'])})"
    return {
        "address": ADDRESS,
        "topics": ["0x" + Web3.keccak(text=signature).hex()],
        "data": "0x",
        "blockNumber": "0x1",
        "blockHash": "0x" + "22" * 32,
        "transactionHash": "0x" + "33" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        **changes,
    }


@pytest.mark.parametrize(
    "logs",
    [
        [5],
        [{}],
        [None],
        [log()],
        [log(topics=[])],
        [log(topics=["0x" + "44" * 32])],
        [log(topics=None)],
        [log(address="0x" + "22" * 20)],
        [log(address=None)],
        [log(logIndex=None)],
        [log(data="zz")],
        [log(blockNumber="zz")],
    ],
)
def test_events_that_are_none_are_refused(logs: Any) -> None:
    with pytest.raises((UntrueEvents, RpcUnavailable)):
        search_answered_with(logs)


def revocation(**changes: Any) -> dict[str, Any]:
    """A log of RoundRevoked(1, 1)."""
    word = "0x" + "1".rjust(64, "0")
    return log(topics=[log()["topics"][0], word, word], **changes)


def test_an_endpoint_that_invents_events_is_left_for_another() -> None:
    with rpc_endpoint() as liar, rpc_endpoint() as honest:
        liar.serves(5, eth_blockNumber="0x9", eth_getLogs=[revocation(blockNumber="0x77")])
        honest.serves(5, eth_blockNumber="0x9", eth_getLogs=[revocation()])
        federation = Bare(reach([liar.url, honest.url]))
        for _ in range(2):
            assert federation.round_events(0, 9).revocations == [RoundRevoked(1, 1, 1)]
        # Its chain, and one search.
        assert liar.requests == 2


def test_endpoints_that_all_invent_events_are_named_in_a_sentence() -> None:
    with rpc_endpoint() as one, rpc_endpoint() as other:
        for liar in (one, other):
            liar.serves(5, eth_blockNumber="0x9", eth_getLogs=[revocation(blockNumber="0x77")])
        federation = Bare(reach([one.url, other.url]))
        with pytest.raises(UntrueEvents, match=r"a log is of block 119, not of 0 to 9\."):
            federation.round_events(0, 9)


def test_a_flood_of_events_is_asked_for_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_MAX_ANSWER_BYTES", 4096)
    with rpc_endpoint() as endpoint:
        endpoint.serves(5, eth_getLogs=[log()] * 100)
        federation = Bare(reach(endpoint.url))
        with pytest.raises(AnswerTooLarge):
            federation.round_events(0, 3)
        # Four blocks, two, and one; and its chain after every failure.
        assert endpoint.requests == 1 + 3 + 2
