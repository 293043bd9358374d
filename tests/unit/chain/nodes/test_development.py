"""The development chain is a function of its genesis and of what was sent to it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.federation import SmallFederation, signer
from support.reorg import Fork
from web3 import Web3
from web3.exceptions import ContractLogicError

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.nodes.development import (
    BLOCK_SECONDS,
    GENESIS_TIME,
    DevelopmentChain,
    RecordedBlock,
)
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.units import ETHER

ALICE, BOB = signer("alice"), signer("bob")
REVERTS = RevertDecoder.of_artifact("Federation")


def new_chain(**changes: Any) -> DevelopmentChain:
    return DevelopmentChain({ALICE.address: 10 * ETHER, BOB.address: 0}, **changes)


def live(chain: DevelopmentChain) -> None:
    """Some blocks with and without transactions."""
    sender = Sender(chain.web3, ALICE, REVERTS)
    sender.send(Call(Web3.to_checksum_address(BOB.address), b"", 5, "transfer"))
    chain.mine(100)
    sender.send(Call(None, bytes.fromhex("6001600c60003960016000f300"), 0, "deploy"))
    chain.mine()


def test_two_chains_with_the_same_transactions_have_the_same_blocks() -> None:
    one, two = new_chain(), new_chain()
    live(one)
    live(two)
    assert one.head_hash() == two.head_hash()
    assert list(one.recorded()) == list(two.recorded())


def test_the_genesis_is_part_of_every_block_hash() -> None:
    other_balance = DevelopmentChain({ALICE.address: 11 * ETHER, BOB.address: 0})
    hashes = {
        chain.head_hash()
        for chain in (new_chain(), new_chain(genesis_time=GENESIS_TIME + 1), other_balance)
    }
    assert len(hashes) == 3


def test_every_block_has_a_time_of_its_own() -> None:
    chain = new_chain()
    live(chain)
    first, second, third, fourth = (block.timestamp for block in chain.recorded())
    assert first == GENESIS_TIME + BLOCK_SECONDS
    assert second == first + 100
    assert third == second + BLOCK_SECONDS
    assert fourth == third + BLOCK_SECONDS == chain.now


def test_a_recorded_chain_is_replayed_to_the_same_hash() -> None:
    chain, again = new_chain(), new_chain()
    live(chain)
    blocks = list(chain.recorded())
    assert [len(block.transactions) for block in blocks] == [1, 0, 1, 0]
    for block in blocks:
        again.replay(block)
        assert again.head_hash() == block.hash
    assert again.head_hash() == chain.head_hash()
    assert list(chain.recorded(from_block=3)) == blocks[2:]


@pytest.mark.parametrize(("number", "seconds"), [(1, -1), (1, -99), (3, 1)])
def test_a_block_replayed_at_another_time_has_another_hash(number: int, seconds: int) -> None:
    chain, again = new_chain(), new_chain()
    live(chain)
    blocks = list(chain.recorded())
    changed = blocks[number].timestamp + seconds
    blocks[number] = dataclasses.replace(blocks[number], timestamp=changed)
    for block in blocks:
        again.replay(block)
    assert again.head_hash() != chain.head_hash()


def test_a_block_of_two_transactions_is_not_of_this_chain() -> None:
    with pytest.raises(ValueError, match="block of its own"):
        new_chain().replay(RecordedBlock(GENESIS_TIME + 1, bytes(32), (b"a", b"b")))


def test_the_chain_goes_on_after_a_replay() -> None:
    chain, again = new_chain(), new_chain()
    live(chain)
    for block in chain.recorded():
        again.replay(block)
    for each in (chain, again):
        live(each)
    assert again.head_hash() == chain.head_hash()


def test_looking_at_the_chain_is_free_and_changes_nothing() -> None:
    chain = new_chain()
    before = chain.head_hash()
    call = {"from": BOB.address, "to": ALICE.address, "value": 0}
    assert chain.web3.eth.call(call) == b""  # type: ignore[arg-type]
    assert chain.web3.eth.estimate_gas(call) == 21_000  # type: ignore[arg-type]
    assert chain.head_hash() == before


@pytest.mark.parametrize("data", [b"\1" * 5_000, bytes(5_000), b"\0\1" * 500, b""])
def test_an_estimate_is_what_a_transaction_takes_however_much_data_it_has(data: bytes) -> None:
    sender = Sender(new_chain().web3, ALICE, REVERTS)
    call = Call(Web3.to_checksum_address(BOB.address), data, 0, "data")
    assert sender.check(call) == sender.send(call).gas_used


def test_a_call_sees_the_time_of_the_latest_block() -> None:
    chain = new_chain()
    # TIMESTAMP, MSTORE at 0, RETURN 32 bytes.
    code = bytes.fromhex("6009600c60003960096000f3" + "4260005260206000f3")
    address = Sender(chain.web3, ALICE, REVERTS).send(Call(None, code, 0, "clock")).contract_address
    chain.mine(1000)
    seen = chain.web3.eth.call({"to": address})  # type: ignore[typeddict-item]
    assert int.from_bytes(seen, "big") == chain.now == GENESIS_TIME + BLOCK_SECONDS + 1000


# Counts the calls of it in a slot, and returns the count and the gas that is left.
COUNTER = bytes.fromhex("6000546001018060005560005260" + "205a905260406000f3")


def deployed(chain: DevelopmentChain, code: bytes) -> Any:
    constructor = bytes.fromhex(f"60{len(code):02x}600c60003960{len(code):02x}6000f3")
    receipt = Sender(chain.web3, ALICE, REVERTS).send(Call(None, constructor + code, 0, "deploy"))
    return receipt.contract_address


def test_a_call_leaves_nothing_behind_that_the_next_one_could_see() -> None:
    chain = new_chain()
    address = deployed(chain, COUNTER)
    call: Any = {"from": ALICE.address, "to": address}
    gas = chain.web3.eth.estimate_gas(call)
    node = Node.of(chain.web3)
    # None of them is answered from what is known; the slot is cold each time.
    answers = {node.call(address, bytes([number])) for number in (4, 5, 6)}
    assert [answer[:32] for answer in answers] == [bytes(31) + b"\1"]
    assert chain.web3.eth.estimate_gas(call) == gas
    sent = Sender(chain.web3, ALICE, REVERTS).send(Call(address, b"", 0, "count"))
    assert sent.gas_used == gas
    assert node.call(address, b"\4")[:32] == bytes(31) + b"\2"


def test_a_call_of_a_block_is_run_once_and_again_after_the_next_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = new_chain()
    address = deployed(chain, COUNTER)
    run: list[Any] = []
    execute = chain._backend._try

    def counted(transaction: Any, block: Any) -> Any:
        run.append(transaction)
        return execute(transaction, block)

    monkeypatch.setattr(chain._backend, "_try", counted)
    node = Node.of(chain.web3)
    answers = [node.call(address, data) for data in (b"", b"", b"\1", b"")]
    assert len(run) == 2
    Sender(chain.web3, ALICE, REVERTS).send(Call(address, b"", 0, "count"))
    run.clear()
    assert node.call(address, b"")[:32] == bytes(31) + b"\2" != answers[0][:32]
    assert len(run) == 1


def test_a_revert_carries_its_data_as_nodes_give_it() -> None:
    chain = new_chain()
    # MSTORE8 0xab at 0, REVERT 1 byte.
    code = bytes.fromhex("600a600c600039600a6000f3" + "60ab60005360016000fd")
    address = Sender(chain.web3, ALICE, REVERTS).send(Call(None, code, 0, "revert"))
    with pytest.raises(ContractLogicError) as revert:
        chain.web3.eth.call({"to": address.contract_address})  # type: ignore[typeddict-item]
    assert revert.value.data == "0xab"


def test_blocks_are_answered_as_web3_has_them_and_not_after_a_reorg_removed_them() -> None:
    chain = new_chain()
    live(chain)
    fork = Fork(chain)
    chain.mine()
    provider: Any = chain.web3.provider

    def asked(method: str, place: str) -> Any:
        return provider.raw_request(method, [place, False])

    removed = asked("eth_getBlockByNumber", "latest")
    known = chain.web3.eth.get_block("latest")
    assert removed["hash"] == known["hash"].to_0x_hex()
    assert removed["parentHash"] == known["parentHash"].to_0x_hex()
    assert int(removed["logsBloom"], 16) == int(known["logsBloom"].hex(), 16)
    assert int(removed["timestamp"], 16) == known["timestamp"]
    assert asked("eth_getBlockByHash", removed["hash"]) == removed
    fork.reorganise()
    assert asked("eth_getBlockByNumber", removed["number"]) is None
    assert asked("eth_getBlockByHash", removed["hash"]) is None
    assert asked("eth_getBlockByNumber", "latest")["hash"] == removed["parentHash"]
    chain.mine(7)
    assert asked("eth_getBlockByHash", removed["hash"]) is None
    assert asked("eth_getBlockByNumber", removed["number"])["hash"] != removed["hash"]


def test_a_search_for_events_is_answered_as_web3_answers_it(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, 1, 1)
    chain, seen = federation.chain, federation.federation
    provider: Any = chain.web3.provider
    head = chain.web3.eth.block_number

    def found(first: int, last: int, topics: list[Any]) -> list[Any]:
        wanted = {"address": seen.address, "topics": topics}
        places = {"fromBlock": hex(first), "toBlock": hex(last)}
        return [
            (log["blockNumber"], log["logIndex"], log["topics"], log["data"], log["blockHash"])
            for log in provider.raw_request("eth_getLogs", [{**wanted, **places}])
        ]

    def known(first: int, last: int, topics: list[Any]) -> list[Any]:
        wanted = {"address": seen.address, "topics": topics, "fromBlock": first, "toBlock": last}
        return [
            (
                hex(log["blockNumber"]),
                hex(log["logIndex"]),
                [topic.to_0x_hex() for topic in log["topics"]],
                log["data"].to_0x_hex(),
                log["blockHash"].to_0x_hex(),
            )
            for log in chain.web3.eth.get_logs(wanted)  # type: ignore[arg-type]
        ]

    everything = found(0, head, [])
    assert len(everything) >= 4
    assert everything == known(0, head, [])
    assert found(0, head + 100, []) == everything  # what is not there yet has no events
    one = everything[-1][2][0]
    assert 0 < len(found(0, head, [[one]])) < len(everything)
    assert found(0, head, [[one]]) == known(0, head, [[one]])
    assert found(head, head, []) == known(head, head, [])
    assert found(2, 1, []) == []


def test_receipts_and_nonces_are_answered_as_web3_has_them(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, 1, 1)
    chain, eth = federation.chain, federation.chain.web3.eth
    node, blocks = Node.of(chain.web3), list(federation.chain.recorded())
    mined = [Web3.keccak(raw) for block in blocks for raw in block.transactions]
    created = 0
    for transaction in mined:
        found, known = node.receipt(bytes(transaction)), eth.get_transaction_receipt(transaction)
        if known["contractAddress"] is not None:
            created += 1  # they go through web3
            continue
        numbers = ("blockNumber", "gasUsed", "cumulativeGasUsed", "effectiveGasPrice", "status")
        assert [int(found[name], 16) for name in numbers] == [known[name] for name in numbers]  # type: ignore[literal-required]
        assert found["blockHash"] == known["blockHash"].to_0x_hex()
        assert found["transactionHash"] == known["transactionHash"].to_0x_hex()
        assert (found["from"], found["to"]) == (known["from"].lower(), known["to"].lower())
        assert found["contractAddress"] is None
        logs = [log["data"].to_0x_hex() for log in known["logs"]]
        assert [log["data"] for log in found["logs"]] == logs
    assert 0 < created < len(mined)
    assert node.receipt(bytes(32)) is None
    sender = Web3.to_checksum_address(found["from"])
    assert node.nonce(sender) == eth.get_transaction_count(sender, "latest") > 0


def test_a_search_after_a_reorganisation_finds_what_the_chain_has_now(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, 1, 1)
    fork = Fork(federation.chain)

    def opened() -> list[Any]:
        return federation.federation.history(federation.deployment.block).opened

    assert opened() == []
    federation.open_round()
    (removed,) = opened()
    fork.reorganise()
    for seconds in (77, *[1] * 8):  # to beyond the height of before
        federation.chain.mine(seconds)
    assert opened() == []
    federation.open_round()
    (found,) = opened()
    assert found != removed
