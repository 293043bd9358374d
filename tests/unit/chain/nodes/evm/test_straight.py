"""A development chain's virtual machine and py-evm's own run the same programs and chains alike."""

from typing import Any

import pytest
from eth.vm import opcode_values as op
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.stack import to_int
from eth_typing import Address
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.federation import signer

from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.units import ETHER

ALICE = signer("alice")
WHERE, WHO = Address(b"\x11" * 20), Address(b"\x22" * 20)
GWEI = 10**9


def push(value: int) -> bytes:
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([op.PUSH0 + size]) + value.to_bytes(size, "big")


_JUST_OPCODES = (
    *range(op.ADD, op.SIGNEXTEND + 1),
    *range(op.LT, op.SAR + 1),
    *(op.SHA3, op.ADDRESS, op.CALLER, op.CALLDATALOAD, op.CALLDATASIZE, op.CODESIZE, op.GAS),
    *(op.CALLVALUE, op.TIMESTAMP, op.NUMBER, op.CHAINID, op.ORIGIN, op.SELFBALANCE, op.EXTCODEHASH),
    *(op.MLOAD, op.MSTORE, op.MSTORE8, op.MSIZE, op.MCOPY, op.PC, op.POP, op.JUMPDEST, op.PUSH0),
    *(op.SLOAD, op.SSTORE, op.TLOAD, op.TSTORE, op.CALLDATACOPY, op.CODECOPY, op.RETURNDATASIZE),
    *(op.LOG0, op.LOG2, op.CALL, op.STATICCALL, op.DELEGATECALL, op.CREATE, op.CREATE2),
    *(op.RETURN, op.REVERT, op.STOP, op.SELFDESTRUCT, 0xFE, op.JUMP, op.JUMPI),
)
_SMALL = st.integers(0, 300)
_WORDS = st.one_of(
    _SMALL,
    st.integers(2**256 - 300, 2**256 - 1),
    st.integers(2**255 - 2, 2**255 + 2),
    st.integers(0, 2**256 - 1),
    st.just(int.from_bytes(WHERE, "big")),
)
_PIECES = st.one_of(
    _WORDS.map(push),
    _SMALL.map(push),
    st.sampled_from(_JUST_OPCODES).map(lambda code: bytes([code])),
    st.integers(op.DUP1, op.SWAP16).map(lambda code: bytes([code])),
    st.tuples(_SMALL, st.sampled_from([op.MLOAD, op.MSTORE, op.JUMP, op.JUMPI])).map(
        lambda both: push(both[0]) + bytes([both[1]])
    ),
    # A jump to the JUMPDEST that is right behind it.
    st.just(bytes([op.PC, op.PUSH1, 4, op.ADD, op.JUMP, op.JUMPDEST])),
    st.binary(max_size=3),
)
# With some words to begin with, so that not each program ends at its first opcode.
_PROGRAMS = st.tuples(
    st.lists(_WORDS.map(push), min_size=6, max_size=20), st.lists(_PIECES, max_size=60)
).map(lambda both: b"".join([*both[0], *both[1]]))
# Enough for some steps, for many, and for a call of a call of a call.
_GAS = st.one_of(st.integers(0, 300), st.integers(0, 5_000), st.integers(0, 60_000))


def machine(code: bytes, *, plain: bool) -> Any:
    """A virtual machine whose account `WHERE` has this code."""
    chain = DevelopmentChain({ALICE.address: ETHER}, plain=plain)._backend.chain
    vm: Any = chain.get_vm()
    assert (type(vm) is PragueVM) is plain
    vm.state.set_code(WHERE, code)
    vm.state.set_balance(WHERE, 7)
    vm.state.lock_changes()
    return vm


def outcome(computation: Any) -> dict[str, Any]:
    """All that a computation says, with that of the calls in it."""
    return {
        "error": repr(getattr(computation, "_error", None)),
        "gas": computation._gas_meter.gas_remaining,
        "refund": computation._gas_meter.gas_refunded,
        "output": bytes(computation._output),
        "returned": bytes(computation.return_data),
        "stack": [to_int(value) for value in computation._stack.values],
        "memory": bytes(computation._memory._bytes),
        "logs": computation.get_raw_log_entries(),
        "deleted": computation.accounts_to_delete,
        "at": computation.code.program_counter,
        "calls": [outcome(child) for child in computation.children],
    }


def run(code: bytes, gas: int, data: bytes, *, plain: bool = False) -> tuple[Any, bytes]:
    vm = machine(code, plain=plain)
    done = vm.execute_bytecode(WHO, 1, gas, WHERE, WHO, 0, data, code)
    return outcome(done), vm.state.make_state_root()


LOOP = bytes([op.JUMPDEST, *push(1), op.ADD, *push(0), op.JUMP])
AWAY = push(2) + bytes([op.JUMP])
DEEP = bytes([op.JUMPDEST, *push(1), *push(0), op.JUMP])
GROWS = push(7) + push(0) + b"\x52" + push(9) + push(2_000) + b"\x52" + push(64) + b"\x51" + b"\x59"


EDGES = (0, 1, 2, 7, 31, 32, 255, 256, 257, 2**128, 2**255 - 1, 2**255, 2**255 + 1, 2**256 - 1)


@pytest.mark.parametrize("opcode", [*range(op.ADD, op.SIGNEXTEND + 1), *range(op.LT, op.SAR + 1)])
def test_an_opcode_does_the_same_on_both_to_all_edges(opcode: int) -> None:
    # Each result stays on the stack; three words, because two opcodes take so many.
    code = b"".join(
        push(5) + push(second) + push(first) + bytes([opcode])
        for first in EDGES
        for second in EDGES
    )
    mine = run(code, 100_000, b"")
    assert mine == run(code, 100_000, b"", plain=True)
    assert len(mine[0]["stack"]) >= len(EDGES) ** 2


@pytest.mark.parametrize("source", [op.ORIGIN, op.COINBASE, op.MLOAD, op.SLOAD, op.SHA3])
@pytest.mark.parametrize("opcode", [op.ADD, op.NOT, op.ISZERO, op.EQ, op.MSTORE, op.DUP1, op.JUMPI])
def test_words_that_py_evm_makes_can_be_used(source: int, opcode: int) -> None:
    code = push(4) + push(1) + bytes([source, opcode])
    assert run(code, 9_000, b"\1" * 64) == run(code, 9_000, b"\1" * 64, plain=True)


@settings(max_examples=400, deadline=None)
@given(_PROGRAMS, _GAS, st.binary(max_size=70))
@example(LOOP, 5_000, b"")
@example(push(0) + LOOP, 5_000, b"")
@example(DEEP, 60_000, b"")
@example(push(5) * 1_024 + bytes([op.DUP1]), 60_000, b"")
@example(push(5) * 1_023 + bytes([op.DUP1, op.POP]), 60_000, b"")
@example(bytes([op.PUSH32]) + b"\x5b", 100, b"")
@example(push(2) + bytes([op.JUMP, op.JUMPDEST]), 100, b"")
@example(push(4) + bytes([op.JUMP, op.PUSH1, op.JUMPDEST, op.STOP]), 100, b"")
@example(push(2**256 - 1) + bytes([op.MLOAD]), 60_000, b"")
def test_a_program_does_the_same_on_both(code: bytes, gas: int, data: bytes) -> None:
    assert run(code, gas, data) == run(code, gas, data, plain=True)


@pytest.mark.parametrize("code", [GROWS, push(1) + push(0) + b"\x55" + GROWS, LOOP, DEEP, AWAY])
def test_a_program_does_the_same_on_both_wherever_its_gas_ends(code: bytes) -> None:
    for gas in range(500):
        assert run(code, gas, b"") == run(code, gas, b"", plain=True), gas


def test_most_opcodes_do_not_reach_py_evm(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    vm = machine(LOOP, plain=False)

    class Seen(dict[int, Any]):
        def __getitem__(self, code: int) -> Any:
            seen.append(code)
            return super().__getitem__(code)

    monkeypatch.setattr(vm.state.computation_class, "opcodes", Seen(PRAGUE_OPCODES))
    done = vm.execute_bytecode(WHO, 1, 10_000, WHERE, WHO, 0, b"", push(0) + LOOP)
    # py-evm is asked only for what the last gas is not enough for.
    assert done.is_error
    assert 0 < len(seen) <= 5


def test_a_code_that_jumps_to_each_of_its_positions_costs_little_memory() -> None:
    from fl_orchestrator.chain.nodes.evm import straight

    program = straight._program(bytes([op.JUMPDEST]) * 24_000)
    assert all(len(program.stretch(first).steps) <= 256 for first in range(0, 24_000, 1_000))


def send(chain: DevelopmentChain, codes: list[tuple[bytes, int]]) -> bytes:
    """Send a transaction for each code and its gas, and return the hash of the last block."""
    for nonce, (code, gas) in enumerate(codes):
        raw = ALICE.sign_transaction(
            {
                "chainId": chain.web3.eth.chain_id,
                "nonce": nonce,
                "gas": 53_000 + 500 + 16 * len(code) + gas,
                "maxFeePerGas": 2 * GWEI,
                "maxPriorityFeePerGas": GWEI,
                "value": 0,
                "data": code,
            }
        )
        chain.web3.eth.send_raw_transaction(raw)
    return chain.head_hash()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_PROGRAMS, st.integers(5_000, 60_000)), min_size=1, max_size=4))
def test_transactions_make_the_same_blocks_on_both(codes: list[tuple[bytes, int]]) -> None:
    """A block's hash has the roots of the state and of the receipts, the gas and the logs."""
    balances = {ALICE.address: ETHER}
    plain = DevelopmentChain(balances, plain=True)
    assert send(DevelopmentChain(balances), codes) == send(plain, codes)
    # A record of one is replayed on the other.
    again = DevelopmentChain(balances)
    for block in plain.recorded():
        again.replay(block)
    assert again.head_hash() == plain.head_hash()
