"""Fees on nodes that have no method for them, or a least price: rows of docs/network.md's table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from support.federation import signer
from support.providers import GWEI, always, error, provider
from web3 import Web3
from web3.exceptions import Web3RPCError

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import RequestRefused, RevertDecoder
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.fees import market_fees
from fl_orchestrator.chain.sending.send import Sender, SendPolicy
from fl_orchestrator.units import ETHER

RICH: Final = signer("rich")
ABSENT: Final = always(error(-32601, "the method does not exist/is not available"))
BESU: Final = "Gas price below configured minimum gas price"


def _history(_: list[Any]) -> Any:
    return {
        "oldestBlock": "0x1",
        "baseFeePerGas": [hex(GWEI)] * 2,
        "gasUsedRatio": [0.5],
        "reward": [[hex(GWEI + 5)]],
    }


@pytest.mark.filterwarnings("ignore:There was an issue with the method")
def test_without_a_proposed_tip_the_last_blocks_tell_it() -> None:
    with provider(eth_maxPriorityFeePerGas=ABSENT, eth_feeHistory=_history) as node:
        tip = GWEI + 5
        fees = {"maxFeePerGas": 2 * GWEI + tip, "maxPriorityFeePerGas": tip}
        assert market_fees(connect(node.url), None) == fees


@pytest.mark.filterwarnings("ignore:There was an issue with the method")
@pytest.mark.parametrize("price", [0, 1, 3])
def test_without_either_method_the_gas_price_tells_it(price: int) -> None:
    with provider(
        eth_maxPriorityFeePerGas=ABSENT,
        eth_feeHistory=ABSENT,
        eth_gasPrice=always(hex(price * GWEI)),
    ) as node:
        tip = max(0, price - 1) * GWEI
        fees = {"maxFeePerGas": 2 * GWEI + tip, "maxPriorityFeePerGas": tip}
        assert market_fees(connect(node.url), None) == fees


def test_without_a_base_fee_transactions_are_legacy() -> None:
    block = {"number": "0x1", "hash": "0x" + "11" * 32, "timestamp": "0x1"}
    with provider(eth_getBlockByNumber=always(block)) as node:
        assert market_fees(connect(node.url), None) == {"gasPrice": 3 * GWEI}


# ---------------------------------------------------------------------- a least price


class Besu:
    """A chain that takes no transaction below a least price, which is its ``eth_gasPrice``."""

    def __init__(self, patch: pytest.MonkeyPatch, least: int, words: str = BESU) -> None:
        self.chain = DevelopmentChain({RICH.address: 10 * ETHER})
        self.offered: list[int] = []
        eth = self.chain.web3.eth
        take = eth.send_raw_transaction

        def send(raw: bytes) -> Any:
            fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            self.offered.append(fields["maxPriorityFeePerGas"])
            if fields["maxPriorityFeePerGas"] < least:
                response: Any = {"error": {"code": -32009, "message": words}}
                raise Web3RPCError(str(response["error"]), rpc_response=response)
            return take(raw)

        patch.setattr(eth, "send_raw_transaction", send)
        patch.setattr(type(eth), "gas_price", least)

    def send(self, policy: SendPolicy) -> Any:
        call = Call(Web3.to_checksum_address(RICH.address), b"", 0, "transfer")
        return Sender(self.chain.web3, RICH, RevertDecoder.of_artifact("Federation"), policy).send(
            call
        )


@pytest.mark.parametrize("words", [BESU, "Transaction gas price is below the minimum"])
def test_a_price_below_the_least_one_becomes_that(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    besu = Besu(monkeypatch, 400 * GWEI, words)
    besu.send(SendPolicy())
    assert besu.offered[1:] == [400 * GWEI]


def test_a_least_price_above_the_ceiling_is_not_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    besu = Besu(monkeypatch, 400 * GWEI)
    with pytest.raises(RequestRefused, match="below configured minimum"):
        besu.send(SendPolicy(max_fee_per_gas=300 * GWEI))
    assert max(besu.offered) <= 300 * GWEI


TESTED: Final[dict[str, Callable[..., None]]] = {
    "fees: no eth_maxPriorityFeePerGas": test_without_a_proposed_tip_the_last_blocks_tell_it,
    "fees: neither method": test_without_either_method_the_gas_price_tells_it,
    "fees: no base fee": test_without_a_base_fee_transactions_are_legacy,
    "sending: price below the minimum": test_a_price_below_the_least_one_becomes_that,
}


def test_the_table_has_every_row_that_is_tested(checkout: Path) -> None:
    text = (checkout / "docs" / "network.md").read_text()
    rows = set(re.findall(r"^\| `((?:fees|sending): [^`]+)` \|", text, re.MULTILINE))
    # The last one: tests/unit/chain/sending/test_send.py.
    assert rows == {*TESTED, "sending: underpriced"}
