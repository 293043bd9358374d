"""Sending on a chain that does not mine when it should, forks, and is reached over bad lines."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.held_node import held_node
from support.federation import signer
from support.rpc import rpc_endpoint
from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.disputes import Disputes
from fl_orchestrator.chain.contract.reverts import ContractReverted, RequestRefused, RevertDecoder
from fl_orchestrator.chain.nodes import endpoints
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.sending import pending as transit
from fl_orchestrator.chain.sending.budget import Budget, BudgetExceeded
from fl_orchestrator.chain.sending.fees import FeeTooHigh
from fl_orchestrator.chain.sending.send import (
    Receipt,
    Sender,
    SendPolicy,
    TransactionDropped,
    TransactionFailed,
)
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Params

GWEI = 10**9
REVERTS = RevertDecoder.of_artifact("Federation")
PATIENCE = 30.0
TARGET = Web3.to_checksum_address("0x" + "77" * 20)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        yield node


@pytest.fixture
def node(running: AnvilNode) -> Iterator[AnvilNode]:
    """A node that mines when it is told to."""
    running.rpc("evm_setIntervalMining", 0)
    running.rpc("evm_setAutomine", False)
    running.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    mine(running)
    snapshot = running.rpc("evm_snapshot")
    yield running
    running.rpc("anvil_dropAllTransactions")
    running.rpc("evm_revert", snapshot)


@pytest.fixture
def key(node: AnvilNode, request: pytest.FixtureRequest) -> LocalSigner:
    """An account that no other test has used, so that a node never knows its transactions."""
    key = signer(request.node.name)
    node.give(key.address)
    return key


@pytest.fixture(autouse=True)
def _short_belief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transit, "_BELIEF_SECONDS", 0.3)


class Account:
    """An account, its sender, and threads in which it sends."""

    def __init__(self, node: AnvilNode, key: LocalSigner, url: str = "", **policy: Any) -> None:
        self.node = node
        self.key = key
        self.web3 = connect(url or node.url)
        self.sender = Sender(self.web3, key, REVERTS, SendPolicy(**{"timeout": PATIENCE, **policy}))
        self._threads = ThreadPoolExecutor(16)
        self._sent: list[Future[Receipt]] = []

    def sends(self, value: int = 1) -> Future[Receipt]:
        self._sent.append(self._threads.submit(self.sender.send, transfer(value)))
        return self._sent[-1]

    def waits(self, count: int = 1) -> None:
        """Until so many transactions of the account wait for a block."""

        def waiting() -> bool:
            for sent in self._sent:
                assert not sent.done() or sent.result()
            return self.nonce("pending") - self.nonce() >= count

        until(waiting)

    def nonce(self, block: Any = "latest") -> int:
        return int(self.web3.eth.get_transaction_count(self.key.address, block))  # type: ignore[arg-type]

    def leave_waiting(self, value: int, fee: int = 3 * GWEI, nonce: int | None = None) -> bytes:
        """Send a transaction as a process does that is killed then; the raw transaction."""
        raw = self.key.sign_transaction(
            {
                "chainId": self.web3.eth.chain_id,
                "nonce": self.nonce() if nonce is None else nonce,
                "gas": 30_000,
                "to": TARGET,
                "value": value,
                "data": b"",
                "maxFeePerGas": fee,
                "maxPriorityFeePerGas": fee,
            }
        )
        self.web3.eth.send_raw_transaction(raw)
        return raw


def transfer(value: int) -> Call:
    return Call(TARGET, b"", value, "transfer")


def received(node: AnvilNode) -> int:
    return int(node.rpc("eth_getBalance", TARGET, "latest"), 16)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def mine(node: AnvilNode, blocks: int = 1) -> None:
    for _ in range(blocks):
        node.rpc("evm_mine")


@contextmanager
def mining(node: AnvilNode, base_fee: int | None = None) -> Iterator[None]:
    """Mine a block every tenth of a second, with this base fee."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.1):
            if base_fee is not None:
                node.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
            mine(node)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# ---------------------------------------------------------------------- fees


def test_a_stuck_transaction_is_sent_again_at_a_higher_fee(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key, bump_after=0.3)
    before = received(node)
    sent = account.sends(5)
    account.waits()
    with mining(node, base_fee=8 * GWEI):
        receipt = sent.result(PATIENCE)
    mined = account.web3.eth.get_transaction(receipt.transaction)  # type: ignore[arg-type]
    assert mined["maxFeePerGas"] > 8 * GWEI
    assert receipt.fee == receipt.gas_used * mined["gasPrice"]
    assert received(node) - before == 5
    assert account.nonce() == account.nonce("pending") == 1


def test_no_fee_goes_above_the_ceiling(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key, bump_after=0.2, timeout=2, max_fee_per_gas=5 * GWEI)
    sent = account.sends()
    account.waits()
    with mining(node, base_fee=8 * GWEI), pytest.raises(TransactionFailed, match="was not mined"):
        sent.result(PATIENCE)
    pending = node.rpc("eth_getBlockByNumber", "pending", True)
    offers = [int(t["maxFeePerGas"], 16) for t in pending["transactions"]]
    assert all(offer <= 5 * GWEI for offer in offers)
    assert account.nonce() == 0
    with pytest.raises(FeeTooHigh, match=r"asks for 8 gwei for a unit of gas; at most 5 gwei"):
        account.sender.send(transfer(1))


def test_where_no_blocks_come_nothing_more_is_offered(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key, bump_after=0.1, timeout=1.5)
    with pytest.raises(TransactionFailed, match="was not mined within"):
        account.sender.send(transfer(1))
    mine(node)
    (hash_,) = node.rpc("eth_getBlockByNumber", "latest", False)["transactions"]
    offered = int(node.rpc("eth_getTransactionByHash", hash_)["maxFeePerGas"], 16)
    assert offered <= 3 * GWEI


def test_a_legacy_chain_gets_higher_gas_prices(
    tmp_path: Path, checkout: Path, key: LocalSigner
) -> None:
    with anvil_node(checkout, tmp_path / "log", hardfork="berlin") as node:
        node.rpc("evm_setIntervalMining", 0)
        node.give(key.address)
        account = Account(node, key, bump_after=0.3, timeout=PATIENCE)
        before = int(node.rpc("eth_gasPrice"), 16)
        sent = account.sends()
        account.waits()
        assert prices(node) == [before]
        until(lambda: mine_without(node) > before)
        mine(node)
        assert sent.result(PATIENCE).fee > before * 21_000


def mine_without(node: AnvilNode) -> int:
    """Mine a block that has no room, and give the sender a moment; what it offers then."""
    limit = node.rpc("eth_getBlockByNumber", "latest", False)["gasLimit"]
    node.rpc("evm_setBlockGasLimit", hex(20_000))
    mine(node)
    node.rpc("evm_setBlockGasLimit", limit)
    time.sleep(0.5)
    return max(prices(node))


def prices(node: AnvilNode) -> list[int]:
    """What the transactions that wait offer."""
    waiting = node.rpc("eth_getBlockByNumber", "pending", True)["transactions"]
    return [int(t["gasPrice"], 16) for t in waiting]


# ---------------------------------------------------------------------- nonces


def test_sends_from_many_threads_are_all_mined(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key)
    before = received(node)
    sends = [account.sends(value) for value in range(1, 13)]
    account.waits(12)
    mine(node)
    receipts = [sent.result(PATIENCE) for sent in sends]
    assert len({receipt.transaction for receipt in receipts}) == 12
    assert received(node) - before == sum(range(1, 13))
    assert account.nonce() == 12


@pytest.mark.parametrize("fee", [2 * GWEI, 20 * GWEI])
def test_what_a_killed_process_left_waiting_is_replaced(
    node: AnvilNode, key: LocalSigner, fee: int
) -> None:
    account = Account(node, key)
    before = received(node)
    account.leave_waiting(1000, fee)
    sent = account.sends(5)
    until(lambda: waiting_values(node) == [5])
    mine(node)
    sent.result(PATIENCE)
    assert received(node) - before == 5
    assert account.nonce() == account.nonce("pending") == 1


def waiting_values(node: AnvilNode) -> list[int]:
    pending = node.rpc("eth_getBlockByNumber", "pending", True)
    return [int(t["value"], 16) for t in pending["transactions"]]


def test_what_cannot_be_replaced_is_reported(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key, max_fee_per_gas=10 * GWEI)
    account.leave_waiting(1000, 10 * GWEI)
    with pytest.raises(RequestRefused, match="underpriced"):
        account.sender.send(transfer(5))


def test_the_same_transaction_again_is_not_refused(node: AnvilNode, key: LocalSigner) -> None:
    """A process is killed after sending, and another one decides and sends the same."""
    account = Account(node, key)
    first, second = account.sends(5), None
    account.waits()
    second = Account(node, key).sends(5)
    time.sleep(0.5)
    before = received(node)
    mine(node)
    assert first.result(PATIENCE).transaction == second.result(PATIENCE).transaction
    assert received(node) - before == 5


def test_a_node_that_is_a_block_behind_is_asked_again(node: AnvilNode, key: LocalSigner) -> None:
    """As those behind one address may be: it names a nonce that another of them has seen mined."""
    with rpc_endpoint() as line, mining(node):
        line.forwards_to = node.url
        account = Account(node, key, url=line.url)
        account.sender.send(transfer(1))
        line.outdated["eth_getTransactionCount"] = stale = ["0x0", "0x0"]
        account.sender.send(transfer(1))
        assert not stale
        assert account.nonce() == 2


def test_independent_calls_are_sent_together_and_mined_in_one_block(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key)
    threads = ThreadPoolExecutor(1)
    sent = threads.submit(account.sender.send_together, [transfer(v) for v in range(1, 6)])
    until(lambda: account.nonce("pending") == 5)
    mine(node)
    receipts = sent.result(PATIENCE)
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    assert len({r.block_number for r in receipts if isinstance(r, Receipt)}) == 1
    # None of them is counted as on its way any more.
    assert account.sends().done() is False
    account.waits()
    mine(node)


def test_calls_that_are_started_are_not_waited_for(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key)
    flight = account.sender.start([transfer(v) for v in range(1, 4)])
    assert (flight.done, flight.collect(), flight.waiting) == (False, [], 3)
    mine(node)
    assert [type(outcome) for outcome in flight.collect()] == [Receipt] * 3
    assert (flight.done, flight.collect()) == (True, [])


def test_what_was_started_and_is_forgotten_does_not_hold_up_what_is_sent_after_it(
    node: AnvilNode, key: LocalSigner
) -> None:
    """Its fee is below the chain's: nobody but the sender of the next call offers more for it."""
    account = Account(node, key, bump_after=0.2)
    flight = account.sender.start([transfer(1), transfer(2)])
    node.rpc("anvil_setNextBlockBaseFeePerGas", hex(5 * GWEI))
    mine(node)
    sent = account.sends(3)
    deadline = time.monotonic() + PATIENCE
    while not sent.done() and time.monotonic() < deadline:
        mine(node)
        time.sleep(0.2)
    assert sent.result(0).label == "transfer"
    assert [type(outcome) for outcome in flight.collect()] == [Receipt] * 2


def test_what_is_sent_together_fits_into_one_block(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key)
    limit = node.rpc("eth_getBlockByNumber", "latest", False)["gasLimit"]
    node.rpc("evm_setBlockGasLimit", hex(100_000))
    try:
        mine(node)
        with mining(node):
            receipts = account.sender.send_together([transfer(1)] * 10)
    finally:
        node.rpc("evm_setBlockGasLimit", limit)
    assert len(receipts) == 4


def test_a_call_that_reverts_does_not_stop_those_sent_with_it(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key)
    # Code that always reverts: PUSH1 0 PUSH1 0 REVERT.
    reverting = Web3.to_checksum_address("0x" + "88" * 20)
    node.rpc("anvil_setCode", reverting, "0x60006000fd")
    calls = [transfer(1), Call(reverting, b"", 0, "refused"), transfer(2)]
    with mining(node):
        first, refused, last = account.sender.send_together(calls)
    assert isinstance(first, Receipt)
    assert isinstance(refused, ContractReverted)
    assert isinstance(last, Receipt)


def test_a_budget_ends_what_is_sent_together_and_loses_nothing(
    node: AnvilNode, key: LocalSigner, tmp_path: Path
) -> None:
    budget = Budget(tmp_path / "budget.json", value_per_day=12)
    account = Account(node, key, budget=budget)
    with mining(node):
        receipts = account.sender.send_together([transfer(5)] * 4)
        assert [type(receipt) for receipt in receipts] == [Receipt, Receipt]
        with pytest.raises(BudgetExceeded):
            account.sender.send_together([transfer(5)])
    assert budget.spent_today()[1] == 10


def test_the_margin_for_gas_never_exceeds_the_blocks_limit(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key)
    limit = int(node.rpc("eth_getBlockByNumber", "latest", False)["gasLimit"], 16)
    # A loop that takes four fifths of a block, 26 gas a turn.
    turns = (limit * 4 // 5 // 26).to_bytes(4, "big").hex()
    spender = Web3.to_checksum_address("0x" + "99" * 20)
    node.rpc("anvil_setCode", spender, f"0x63{turns}5b6001900380600557")
    with mining(node):
        receipt = account.sender.send(Call(spender, b"", 0, "spend"))
    sent = account.web3.eth.get_transaction(receipt.transaction)  # type: ignore[arg-type]
    assert limit * 3 // 4 < receipt.gas_used <= sent["gas"] <= limit


def test_whoever_loses_the_race_for_a_nonce_is_told(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key)
    sent = account.sends(5)
    account.waits()
    account.leave_waiting(7, 30 * GWEI, nonce=0)
    mine(node)
    with pytest.raises(TransactionDropped, match="was mined in the place of transfer"):
        sent.result(PATIENCE)


# ---------------------------------------------------------------------- confirmations and forks


def test_a_transaction_is_done_with_so_many_blocks_on_top(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key, confirmations=3)
    sent = account.sends()
    account.waits()
    mine(node, 3)
    time.sleep(1.5)
    assert not sent.done()
    mine(node)
    receipt = sent.result(PATIENCE)
    assert account.web3.eth.block_number - receipt.block_number == 3


def test_a_chain_that_stands_still_confirms_nothing(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key, confirmations=3, timeout=1)
    sent = account.sends()
    account.waits()
    mine(node)
    with pytest.raises(TransactionFailed, match="was not confirmed within 1 s"):
        sent.result(PATIENCE)


def test_a_transaction_that_a_fork_drops_is_sent_again(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key, confirmations=2)
    before = received(node)
    sent = account.sends(5)
    account.waits()
    mine(node)
    until(lambda: account.nonce() == 1)
    time.sleep(0.3)
    node.rpc("anvil_reorg", 1, [])
    assert account.nonce() == 0
    account.waits()
    mine(node, 3)
    receipt = sent.result(PATIENCE)
    assert received(node) - before == 5
    assert account.nonce() == account.nonce("pending") == 1
    block = account.web3.eth.get_transaction_receipt(receipt.transaction)["blockNumber"]  # type: ignore[arg-type]
    assert block == receipt.block_number


def test_a_transaction_that_a_node_has_forgotten_is_sent_again(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key)
    sent = account.sends(5)
    account.waits()
    node.rpc("anvil_dropAllTransactions")
    with mining(node):
        receipt = sent.result(PATIENCE)
    assert (account.nonce(), receipt.label) == (1, "transfer")


def test_a_transaction_that_a_fork_makes_impossible_is_reported(
    node: AnvilNode, key: LocalSigner
) -> None:
    """A contract refuses money once somebody else has some, which on the other branch is so."""
    rich, other = signer("rich"), signer("other")
    node.give(rich.address)
    node.rpc("anvil_setCode", TARGET, reverts_when_rich(other.address))
    mine(node)
    account = Account(node, key, confirmations=2)
    sent = account.sends(5)
    account.waits()
    mine(node)
    time.sleep(0.5)
    node.rpc("anvil_reorg", 1, [[signed(node, rich, to=other.address), 0]])
    with pytest.raises(TransactionDropped, match="removed transfer, and it is no longer possible"):
        sent.result(PATIENCE)
    with pytest.raises(ContractReverted):
        account.sender.send(transfer(5))


def reverts_when_rich(address: str) -> str:
    """Code: PUSH20 address BALANCE PUSH1 26 JUMPI STOP JUMPDEST PUSH1 0 PUSH1 0 REVERT."""
    return "0x73" + address[2:].lower() + "31601a57005b60006000fd"


def signed(node: AnvilNode, key: LocalSigner, *, to: str = TARGET) -> str:
    """A raw transaction that pays 1 wei, and is an account's first."""
    fields = {"gas": 40_000, "to": to, "value": 1, "data": b"", "nonce": 0}
    fees = {"maxFeePerGas": 9 * GWEI, "maxPriorityFeePerGas": GWEI}
    chain_id = int(node.rpc("eth_chainId"), 16)
    return "0x" + key.sign_transaction({**fields, **fees, "chainId": chain_id}).hex()


def test_another_transaction_in_its_place_after_a_fork_is_reported(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key, confirmations=2)
    sent = account.sends(5)
    account.waits()
    mine(node)
    time.sleep(0.5)
    node.rpc("anvil_reorg", 1, [[signed(node, key), 0]])
    with pytest.raises(TransactionDropped, match="was mined in the place of transfer"):
        sent.result(PATIENCE)


def test_a_transaction_whose_forerunner_a_fork_drops_is_not_waited_for(
    node: AnvilNode, key: LocalSigner
) -> None:
    account = Account(node, key)
    first = account.sends(5)
    account.waits()
    mine(node)
    first.result(PATIENCE)
    second = account.sends(6)
    account.waits()
    # Of the account's first transaction its sender has forgotten already.
    node.rpc("anvil_reorg", 1, [])
    with mining(node), pytest.raises(TransactionDropped, match="transfer cannot be mined"):
        second.result(PATIENCE)
    with mining(node):
        assert account.sends(7).result(PATIENCE).block_number > 0


# ---------------------------------------------------------------------- bad lines


def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_sent_twice(
    node: AnvilNode, key: LocalSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_TIMEOUT_SECONDS", 1.0)
    before = received(node)
    with held_node(node.url) as held:
        account = Account(node, key, url=f"{held.url},{node.url}")
        held.hold("after")
        sent = account.sends(5)
        held.wait()
        account.waits()
        mine(node)
        sent.result(PATIENCE)
    assert received(node) - before == 5


@pytest.mark.parametrize("fault", ["dropped", "garbage", "huge"])
def test_another_endpoint_takes_over_in_the_middle(
    node: AnvilNode, key: LocalSigner, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_MAX_ANSWER_BYTES", 1 << 20)
    with rpc_endpoint() as line:
        line.forwards_to = node.url
        account = Account(node, key, url=f"{line.url},{node.url}")
        sent = account.sends(5)
        account.waits()
        line.body = b"<html>"
        line.status = 502 if fault == "dropped" else 200
        line.endless = b" " * (1 << 16) if fault == "huge" else b""
        line.forwards_to = ""
        mine(node)
        assert sent.result(PATIENCE).gas_used == 21_000
        assert line.sent_bytes < 64 << 20


def test_an_endpoint_of_another_chain_does_not_take_over(
    node: AnvilNode, key: LocalSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_FIRST_PAUSE_SECONDS", 0.01)
    with rpc_endpoint() as line, rpc_endpoint() as foreign:
        line.forwards_to = node.url
        foreign.serves(1, eth_blockNumber="0xffff")
        account = Account(node, key, url=f"{line.url},{foreign.url}")
        sent = account.sends(5)
        account.waits()
        line.forwards_to, line.status = "", 502
        until(lambda: foreign.requests > 4)
        assert not sent.done()
        mine(node)
        line.forwards_to = node.url
        assert sent.result(PATIENCE).gas_used == 21_000


def test_an_outage_is_waited_for(
    node: AnvilNode, key: LocalSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_FIRST_PAUSE_SECONDS", 0.01)
    with rpc_endpoint() as line:
        line.forwards_to = node.url
        account = Account(node, key, url=line.url)
        sent = account.sends(5)
        account.waits()
        line.forwards_to, line.status = "", 503
        before = line.requests
        until(lambda: line.requests > before + 8)
        assert not sent.done()
        mine(node)
        line.forwards_to = node.url
        assert sent.result(PATIENCE).gas_used == 21_000


# ---------------------------------------------------------------------- the budget


def test_a_day_that_is_spent_stops_the_sending(
    node: AnvilNode, key: LocalSigner, tmp_path: Path
) -> None:
    budget = Budget(tmp_path / "budget.json", gas_per_day=500_000 * GWEI, value_per_day=100)
    account = Account(node, key, budget=budget)
    with pytest.raises(BudgetExceeded, match="of value"):
        account.sender.send(transfer(101))
    fees: list[int] = []
    with mining(node), suppress(BudgetExceeded):
        while len(fees) < 100:
            fees.append(account.sender.send(transfer(1)).fee)
    sent = len(fees)
    assert 2 < sent < 100
    assert budget.spent_today() == (sum(fees), sent)
    with pytest.raises(BudgetExceeded, match="of gas"):
        account.sender.send(transfer(1))
    with pytest.raises(BudgetExceeded):
        account.sender.check(transfer(1))
    again = Account(node, key, budget=Budget(budget.path, 500_000 * GWEI))
    with pytest.raises(BudgetExceeded):
        again.sender.send(transfer(1))
    assert account.nonce("pending") == sent


def test_a_fee_is_not_raised_beyond_the_budget(
    node: AnvilNode, key: LocalSigner, tmp_path: Path
) -> None:
    budget = Budget(tmp_path / "budget.json", gas_per_day=31_500 * 3 * GWEI)
    account = Account(node, key, budget=budget, bump_after=0.2, timeout=3)
    sent = account.sends()
    account.waits()
    with mining(node, base_fee=8 * GWEI), pytest.raises(TransactionFailed, match="was not mined"):
        sent.result(PATIENCE)
    # It may still be mined, so it stays charged; what takes its nonce costs nothing on top.
    assert budget.spent_today()[0] == 31_500 * 3 * GWEI
    with mining(node, base_fee=GWEI // 2):
        until(lambda: account.web3.eth.get_block("latest")["baseFeePerGas"] < GWEI)
        receipt = account.sender.send(transfer(1))
    assert budget.spent_today()[0] == receipt.fee


class Answers(Disputes):
    """What answers take of a federation that is not there."""

    def params(self) -> Params:
        raise AssertionError("no answer depends on them")


def test_an_answer_that_is_not_mined_yet_is_seen(node: AnvilNode, key: LocalSigner) -> None:
    account = Account(node, key)
    disputes = Answers(account.web3, TARGET, load_artifact("Federation"))
    assert disputes.pending_answers() == frozenset()
    answers = [dataclasses.replace(disputes.answer(n, b"node", b""), gas=100_000) for n in (7, 9)]
    elsewhere = dataclasses.replace(answers[0], to=Web3.to_checksum_address(key.address))
    for nonce, call in enumerate((*answers, elsewhere)):
        signed = key.sign_transaction(
            {
                "to": call.to,
                "data": call.data,
                "value": 0,
                "gas": 100_000,
                "nonce": nonce,
                "chainId": disputes.chain_id,
                "maxFeePerGas": 3 * GWEI,
                "maxPriorityFeePerGas": GWEI,
                "type": 2,
            }
        )
        account.web3.eth.send_raw_transaction(signed)
    assert disputes.pending_answers() == frozenset({7, 9})
    mine(node)
    assert disputes.pending_answers() == frozenset()
