"""Sending: what it costs is known and what fails has a name before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth.vm.forks.berlin import BerlinVM
from eth_account import Account
from eth_tester import EthereumTester, PyEVMBackend
from eth_utils.crypto import keccak
from support.disputes import right_result, submit_updates, vector_federation
from support.federation import SmallFederation, signer
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import Web3RPCError

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted, RequestRefused, RevertDecoder
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending import send
from fl_orchestrator.chain.sending.send import (
    InsufficientFunds,
    Receipt,
    Sender,
    SendPolicy,
    TransactionFailed,
)
from fl_orchestrator.chain.signing.http_signer import SignerUnavailable
from fl_orchestrator.chain.types import Phase, Role
from fl_orchestrator.units import ETHER

RICH, POOR = signer("rich"), signer("poor")
REVERTS = RevertDecoder.of_artifact("Federation")


@pytest.fixture
def chain() -> DevelopmentChain:
    return DevelopmentChain({RICH.address: 10 * ETHER, POOR.address: 10**13})


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    return SmallFederation(tmp_path_factory.mktemp("federation"), register=False)


def transfer(value: int) -> Call:
    return Call(Web3.to_checksum_address(POOR.address), b"", value, "transfer")


def balance(chain: DevelopmentChain, key: Any = RICH) -> int:
    return int(chain.web3.eth.get_balance(key.address))


class Hooked:
    """A signer that lets something happen, and keeps what it signed."""

    address = RICH.address
    sign_typed_data = RICH.sign_typed_data

    def __init__(self, hook: Callable[[], Any] = lambda: None) -> None:
        self.signed: list[dict[str, Any]] = []
        self._hook = hook

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        self.signed.append(transaction)
        self._hook()
        return RICH.sign_transaction(transaction)


def test_a_receipt_says_what_was_mined_where_and_for_how_much(chain: DevelopmentChain) -> None:
    seen: list[Receipt] = []
    receipt = Sender(chain.web3, RICH, REVERTS, on_receipt=seen.append).send(transfer(5))
    assert (receipt.label, receipt.block_number, receipt.gas_used) == ("transfer", 1, 21_000)
    assert receipt.contract_address is None
    assert seen == [receipt]
    assert balance(chain, POOR) == 10**13 + 5
    mined = chain.web3.eth.get_transaction(receipt.transaction)  # type: ignore[arg-type]
    assert mined["blockNumber"] == 1


def test_a_deployment_has_an_address(chain: DevelopmentChain) -> None:
    code = bytes.fromhex("6001600c60003960016000f300")
    receipt = Sender(chain.web3, RICH, REVERTS).send(Call(None, code, 0, "deploy"))
    assert receipt.contract_address is not None
    assert bytes(chain.web3.eth.get_code(receipt.contract_address)) == b"\0"  # type: ignore[arg-type]


def test_several_calls_are_sent_one_after_the_other(chain: DevelopmentChain) -> None:
    sender = Sender(chain.web3, RICH, REVERTS)
    assert [sender.send(transfer(1)).block_number for _ in range(3)] == [1, 2, 3]
    assert chain.web3.eth.get_transaction_count(RICH.address) == 3  # type: ignore[arg-type]


def test_fees_follow_the_base_fee_where_there_is_one(chain: DevelopmentChain) -> None:
    hooked = Hooked()
    Sender(chain.web3, hooked, REVERTS).send(transfer(1))
    base = chain.web3.eth.get_block(0)["baseFeePerGas"]
    (transaction,) = hooked.signed
    tip = transaction["maxPriorityFeePerGas"]
    assert transaction["maxFeePerGas"] == 2 * base + tip
    assert "gasPrice" not in transaction


@pytest.fixture
def legacy_chain() -> Web3:
    """A chain under the rules of before London, as some consortium chains have them."""
    account = {"balance": 10 * ETHER, "nonce": 0, "code": b"", "storage": {}}
    backend = PyEVMBackend(
        genesis_state={bytes.fromhex(RICH.address[2:]): account},
        vm_configuration=((0, BerlinVM),),
    )
    return Web3(EthereumTesterProvider(EthereumTester(backend)))


def test_a_chain_without_a_base_fee_gets_a_legacy_transaction(
    legacy_chain: Web3, monkeypatch: pytest.MonkeyPatch
) -> None:
    # eth-tester estimates with the fees of later rules only.
    monkeypatch.setattr(legacy_chain.eth, "estimate_gas", lambda _: 21_000)
    hooked = Hooked()
    receipt = Sender(legacy_chain, hooked, REVERTS).send(transfer(5))
    (transaction,) = hooked.signed
    assert transaction["gasPrice"] == legacy_chain.eth.gas_price
    assert not {"maxFeePerGas", "maxPriorityFeePerGas"} & transaction.keys()
    assert legacy_chain.eth.get_transaction(receipt.transaction)["type"] == 0  # type: ignore[arg-type]
    assert legacy_chain.eth.get_balance(POOR.address) == 5  # type: ignore[arg-type]


def test_a_chain_where_gas_is_free_is_served(
    chain: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
    monkeypatch.setattr(send, "market_fees", lambda *_: free)
    monkeypatch.setattr(chain.web3.eth, "send_raw_transaction", lambda raw: keccak(raw))
    with pytest.raises(TransactionFailed):
        Sender(chain.web3, POOR, REVERTS, SendPolicy(timeout=0.05)).send(transfer(10**13))


def test_a_value_that_is_not_there_is_refused_before_anything_is_sent(
    chain: DevelopmentChain,
) -> None:
    with pytest.raises(InsufficientFunds, match=r"has 10 ETH and transfer needs up to 11 ETH"):
        Sender(chain.web3, RICH, REVERTS).send(transfer(11 * ETHER))
    assert chain.now == chain.genesis_time


def test_gas_that_cannot_be_paid_is_refused_before_anything_is_sent(
    chain: DevelopmentChain,
) -> None:
    with pytest.raises(InsufficientFunds, match=r"has 0\.00001 ETH and transfer needs") as refusal:
        Sender(chain.web3, POOR, REVERTS).send(transfer(1))
    assert refusal.value.hint == "Send coin to the account first."
    assert chain.now == chain.genesis_time


def test_a_check_says_what_is_missing_too(chain: DevelopmentChain) -> None:
    with pytest.raises(InsufficientFunds):
        Sender(chain.web3, RICH, REVERTS).check(transfer(11 * ETHER))


def test_a_call_that_would_revert_is_named_before_anything_is_spent(
    federation: SmallFederation,
) -> None:
    chain, outsider = federation.chain, federation.outsider
    before = balance(chain, outsider), chain.now
    call = federation.federation.register(Role.PARTY, outsider.address, ETHER)
    sender = federation.sender(outsider)
    for attempt in (sender.send, sender.check):
        with pytest.raises(ContractReverted, match="has not admitted this account") as refusal:
            attempt(call)
        assert refusal.value.error is ContractError.NotAdmitted
    assert (balance(chain, outsider), chain.now) == before
    assert sender.check(federation.federation.fund_rewards(1)) > 21_000


def test_a_call_that_reverts_although_it_was_checked_is_reported(
    federation: SmallFederation,
) -> None:
    """Two keepers at the same moment: the second one's transaction comes too late."""
    admit = federation.federation.admit([federation.owner.address], Role.PARTY)
    register = federation.federation.register(Role.PARTY, federation.owner.address, ETHER)
    federation.send(federation.owner, admit)
    count = federation.chain.web3.eth.get_transaction_count

    class Late:
        address = federation.owner.address
        sign_typed_data = federation.owner.sign_typed_data

        def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
            federation.send(federation.owner, register)
            nonce = count(self.address)  # type: ignore[arg-type]
            return federation.owner.sign_transaction({**transaction, "nonce": nonce})

    with pytest.raises(TransactionFailed, match=r"register reverted in block \d+"):
        Sender(federation.chain.web3, Late(), REVERTS).send(register)


def test_a_signature_that_completes_a_quorum_unexpectedly_has_gas_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = vector_federation(tmp_path, updates=2, aggregators=4)
    submit_updates(federation)
    contract, result = federation.federation, right_result(federation)

    def attest(number: int) -> Call:
        key = federation.aggregators[number]
        return contract.attest(result, [contract.sign_result(key, result)])

    federation.send(federation.aggregators[0], attest(0))
    sender = federation.sender(federation.aggregators[2])
    before = sender.check(attest(2))
    federation.send(federation.aggregators[1], attest(1))
    assert sender.check(attest(2)) > 2 * before
    # The other signature was mined after the estimate.
    monkeypatch.setattr(federation.chain.web3.eth, "estimate_gas", lambda _: before)
    assert sender.send(attest(2)).gas_used > 2 * before
    assert federation.observe().current.phase is Phase.ACCEPTED


def test_a_transaction_that_is_not_mined_in_time_is_reported(
    chain: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain.web3.eth, "send_raw_transaction", lambda raw: keccak(raw))
    with pytest.raises(TransactionFailed, match="was not mined within 0 s") as failure:
        Sender(chain.web3, RICH, REVERTS, SendPolicy(timeout=0.05)).send(transfer(1))
    assert failure.value.hint is not None
    assert "may still be" in failure.value.hint


def test_a_signer_that_is_away_does_not_end_the_waiting(
    chain: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over: list[Any] = []
    take = chain.web3.eth.send_raw_transaction

    def take_the_second(raw: Any) -> bytes:
        handed_over.append(raw)
        return take(raw) if len(handed_over) == 2 else keccak(raw)

    def leave() -> None:
        if len(away.signed) > 1:
            raise SignerUnavailable("The signer does not answer.")

    away = Hooked(leave)
    monkeypatch.setattr(chain.web3.eth, "send_raw_transaction", take_the_second)
    monkeypatch.setattr(chain.web3.eth, "get_transaction", lambda _: {})
    monkeypatch.setattr("time.sleep", lambda _: chain.mine())
    receipt = Sender(chain.web3, away, REVERTS, SendPolicy(bump_after=0)).send(transfer(1))
    assert len(away.signed) == 2
    assert handed_over == handed_over[:1] * 2
    assert receipt.transaction == keccak(handed_over[0])


def test_a_receipt_that_lacks_something_is_refused(
    chain: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Node.receipt
    monkeypatch.setattr(
        Node,
        "receipt",
        lambda node, mined: {k: v for k, v in whole(node, mined).items() if k != "contractAddress"},
    )
    with pytest.raises(RequestRefused, match="not what the request asked for"):
        Sender(chain.web3, RICH, REVERTS).send(transfer(1))


def test_a_node_that_refuses_a_transaction_is_quoted(
    chain: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: bytes) -> bytes:
        response: Any = {"error": {"code": -32000, "message": "replacement underpriced"}}
        raise Web3RPCError(str(response["error"]), rpc_response=response)

    monkeypatch.setattr(chain.web3.eth, "send_raw_transaction", refuse)
    with pytest.raises(RequestRefused, match="refused a request: replacement underpriced"):
        Sender(chain.web3, RICH, REVERTS).send(transfer(1))


def test_the_sender_is_the_signers_account(chain: DevelopmentChain, tmp_path: Path) -> None:
    receipt = Sender(chain.web3, RICH, REVERTS).send(transfer(1))
    mined = chain.web3.eth.get_transaction(receipt.transaction)  # type: ignore[arg-type]
    assert mined["from"] == RICH.address
    assert mined["chainId"] == chain.web3.eth.chain_id
    raw = next(iter(chain.recorded())).transactions[0]
    assert Account.recover_transaction(raw) == RICH.address
