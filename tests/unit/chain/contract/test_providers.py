"""What providers, proxies and other clients answer, and what is done: docs/network.md's table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from support.providers import HEAD, always, before, error, provider, status, wider_than
from web3 import Web3
from web3.exceptions import ContractLogicError

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract.contract import Contract
from fl_orchestrator.chain.nodes import endpoints
from fl_orchestrator.chain.nodes.connect import connect, reach
from fl_orchestrator.chain.nodes.endpoints import HistoryPruned, RpcUnavailable, SearchTooWide
from fl_orchestrator.chain.nodes.node import Node

ADDRESS: Final = "0x" + "11" * 20
JSON: Final = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "no"}})


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_FIRST_PAUSE_SECONDS", 0.001)


def search(chain: Node) -> list[Any]:
    contract = Contract(chain, ADDRESS, load_artifact("Federation"))
    return contract._events("RoundAccepted", 0, None, None)


# ---------------------------------------------------------------------- searches that are too wide

TOO_WIDE: Final = {
    "search: status 413": status(413, b"block range is too wide"),
    "search: status 504": status(504),
    "search: status 429": status(429, JSON.encode()),
    "search: status 403": status(403, JSON.encode()),
    "search: status 400 with an error": status(400, JSON.encode()),
    "search: error -32005, too many results": error(
        -32005, "query returned more than 10000 results"
    ),
    "search: error -32000, range and quota": error(
        -32000, "block range is limited to 1024 on this plan, upgrade for a higher quota"
    ),
    "search: error -32602, range": error(-32602, "exceed maximum block range: 5000"),
}


def narrowed(refusal: Any) -> None:
    with provider(eth_getLogs=wider_than(500, refusal)) as node:
        assert search(reach(node.url)) == []
        # 3,001 blocks at once, 1,500, 750; then 375 at a time.
        assert node.asked["eth_getLogs"] == 3 + 9


@pytest.mark.parametrize("code", [403, 413, 429, 504])
def test_a_search_that_is_refused_for_one_block_as_well_names_the_status(code: int) -> None:
    with (
        provider(eth_getLogs=always(status(code))) as node,
        pytest.raises(SearchTooWide, match=f"refuses a search for events: HTTP status {code}"),
    ):
        search(reach(node.url))


def test_another_endpoint_that_takes_the_whole_search_is_asked_first() -> None:
    with provider(eth_getLogs=always(status(413))) as strict, provider() as generous:
        assert search(reach([strict.url, generous.url])) == []
        assert (strict.asked["eth_getLogs"], generous.asked["eth_getLogs"]) == (1, 1)


# ---------------------------------------------------------------------- limits of an account

USED_UP: Final = {
    "every method: error -32005, rate limited": error(
        -32005, "daily request count exceeded, request rate limited"
    ),
    "every method: error 429": error(
        429, "Your app has exceeded its compute units per second capacity."
    ),
    "every method: error -32007": error(-32007, "50/second request limit reached"),
    "every method: status 429": status(429),
    "every method: status 401": status(401),
    "every method: status 503": status(503),
}


def left_for_another(refusal: Any) -> None:
    with provider(every=always(refusal)) as empty, provider() as other:
        chain = reach([empty.url, other.url])
        assert chain.block_number == HEAD
        assert search(chain) == []
        assert empty.asked["eth_blockNumber"] == 1
    with provider(every=always(refusal)) as empty:
        chain = reach(empty.url)
        with pytest.raises(RpcUnavailable, match=r"127\.0\.0\.1"):
            _ = chain.block_number
        # After pauses it is asked again: it may have a share once more.
        assert empty.asked["eth_blockNumber"] == endpoints._ATTEMPTS


def test_what_a_contract_reverts_with_is_no_limit_of_the_account() -> None:
    words = "execution reverted: quota of the pool exceeded"
    with provider(eth_call=always(error(3, words))) as node, provider() as other:
        web3 = connect([node.url, other.url])
        with pytest.raises(ContractLogicError, match="quota of the pool"):
            web3.eth.call({"to": Web3.to_checksum_address(ADDRESS)})
        assert other.asked["eth_call"] == 0


# ---------------------------------------------------------------------- deleted history


def said_at_once() -> None:
    refusal = error(4444, "pruned history unavailable")
    with provider(eth_getLogs=before(2000, refusal)) as pruned:
        with pytest.raises(HistoryPruned, match=r"deleted old blocks: pruned history.*--deploy"):
            search(reach(pruned.url))
        assert pruned.asked["eth_getLogs"] == 1
    with provider(eth_getLogs=before(2000, refusal)) as pruned, provider() as whole:
        assert search(reach([pruned.url, whole.url])) == []
        assert pruned.asked["eth_getLogs"] == 1


# ---------------------------------------------------------------------- the table

ROWS: Final[dict[str, Callable[[], None]]] = {
    **{name: (lambda r=refusal: narrowed(r)) for name, refusal in TOO_WIDE.items()},  # type: ignore[misc]
    **{name: (lambda r=refusal: left_for_another(r)) for name, refusal in USED_UP.items()},  # type: ignore[misc]
    "search: error 4444": said_at_once,
}


@pytest.mark.parametrize("row", ROWS)
def test_what_the_table_says_is_done(row: str) -> None:
    ROWS[row]()


def test_the_table_has_every_row_that_is_tested(checkout: Path) -> None:
    text = (checkout / "docs" / "network.md").read_text()
    (table,) = re.findall(r"\n## What nodes and providers answer\n(.*?)(?:\n## |\Z)", text, re.S)
    rows = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    # Those of fees: tests/unit/chain/sending/test_providers_fees.py.
    assert {row for row in rows if not row.startswith(("fees:", "sending:"))} == set(ROWS)
