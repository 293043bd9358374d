"""A deterministic in-process EVM: its state depends only on the genesis and the transactions.

It is eth-tester over py-evm with fixed genesis, block times and ``mixHash``, so that block hashes,
and with them every draw, are the same in every run. Roles do not use it directly: they use a
``Web3``. Only the code that drives a simulation mines blocks and advances time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eth_hash.auto import keccak
from eth_hash.backends import pysha3
from eth_utils.address import to_canonical_address
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import ContractLogicError

from fl_orchestrator.errors import ToolchainError, install_hint

try:
    from eth.exceptions import HeaderNotFound
    from eth.exceptions import TransactionNotFound as EthTransactionNotFound
    from eth.vm.forks.prague.state import PragueTransactionExecutor
    from eth.vm.message import Message
    from eth.vm.spoof import SpoofTransaction
    from eth_tester import EthereumTester, PyEVMBackend
    from eth_tester.backends.pyevm.serializers import serialize_transaction_receipt

    from fl_orchestrator.chain.nodes.evm.straight import straight_vm
    from fl_orchestrator.chain.nodes.in_process import Answers
except ModuleNotFoundError as error:
    raise ToolchainError(
        f"A chain in this process needs the Python package {error.name}, which is not installed.",
        install_hint("simulation"),
    ) from error

GENESIS_TIME: Final = 1_700_000_000
BLOCK_SECONDS: Final = 1
BLOCK_GAS_LIMIT: Final = 30_000_000
# The answers to so many calls of a block are kept.
_MOST_ANSWERS: Final = 1_024


@dataclass(frozen=True, slots=True)
class RecordedBlock:
    """A mined block: its timestamp in seconds, its hash, and its raw signed transactions."""

    timestamp: int
    hash: bytes
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Latest:
    """A block's hash, the state after it, and the answers to calls of it by their questions."""

    block: bytes
    state: Any
    answers: dict[tuple[Any, ...], bytes] = field(default_factory=dict)


class _Backend(PyEVMBackend):  # type: ignore[misc]
    """eth-tester's py-evm backend without its randomness, and with revert data as from a node."""

    replayed_timestamp: int | None = None
    _seen: _Latest | None = None

    def run_straight(self) -> None:
        """Let another virtual machine run the transactions and calls from now on, faster."""
        # eth-tester makes a class for each chain, so this is this chain's only.
        type(self.chain).vm_configuration = ((0, straight_vm()),)

    def mine_blocks(self, num_blocks: int = 1, coinbase: bytes = b"\x00" * 20) -> tuple[bytes, ...]:
        hashes = []
        for _ in range(num_blocks):
            # Replace the mixHash (prevrandao), which eth-tester takes from the system's randomness.
            parent = self.chain.header.parent_hash
            block = self.chain.mine_block(
                coinbase=coinbase, mix_hash=hashlib.sha256(parent).digest(), blob_gas_used=0
            )
            hashes.append(block.hash)
        return tuple(hashes)

    def set_next_timestamp(self, timestamp: int) -> None:
        """Set the time of the block being built, which py-evm would take from the system clock."""
        self.chain.header = self.chain.header.copy(timestamp=timestamp)

    def send_raw_transaction(self, raw_transaction: bytes) -> Any:
        if self.replayed_timestamp is not None:
            self.set_next_timestamp(self.replayed_timestamp)
        else:
            self.set_next_timestamp(self.chain.get_canonical_head().timestamp + BLOCK_SECONDS)
        return super().send_raw_transaction(raw_transaction)

    def get_transaction_receipt(self, transaction_hash: bytes) -> Any:
        """Return the receipt without eth-tester's scan of all blocks for each transaction.

        A search for events needs every receipt, so the scans would take quadratic time.
        """
        place = self.place(transaction_hash)
        if place is None:
            return super().get_transaction_receipt(transaction_hash)
        block, index = place
        receipts, transaction = block.get_receipts(self.chain.chaindb), block.transactions[index]
        return serialize_transaction_receipt(
            block, receipts, transaction, index, False, self.chain.get_vm()
        )

    def place(self, transaction_hash: bytes) -> tuple[Any, int] | None:
        """The block of a transaction, and its number there; None if it is in no block."""
        try:
            number, index = self.chain.get_canonical_transaction_index(transaction_hash)
            block = self.chain.get_canonical_block_by_number(number)
            found = block.transactions[index].hash == transaction_hash
        except (EthTransactionNotFound, HeaderNotFound, IndexError):
            return None
        return (block, index) if found else None

    def _latest(self) -> _Latest:
        """The latest block, as calls see it."""
        head = self.chain.get_canonical_head()
        if self._seen is None or self._seen.block != head.hash:
            vm = self.chain.get_vm(head)
            # Use the time of the latest block, as nodes do; py-evm would use the system clock.
            header = head.copy(base_fee_per_gas=0)
            state = vm.build_state(vm.chaindb.db, header, vm.chain_context, vm.previous_hashes)
            self._seen = _Latest(head.hash, state)
        return self._seen

    def get_nonce(self, account: bytes, block_number: Any = "latest") -> int:
        if block_number != "latest":
            return int(super().get_nonce(account, block_number))
        return int(self._latest().state.get_nonce(account))

    def get_balance(self, account: bytes, block_number: Any = "latest") -> int:
        if block_number != "latest":
            return int(super().get_balance(account, block_number))
        return int(self._latest().state.get_balance(account))

    def _try(self, execute: Callable[[Any], Any], block_number: Any) -> Any:
        """Execute something on the state after the latest block, of which nothing is left."""
        if block_number not in ("latest", "pending"):
            raise NotImplementedError("only the latest state can be called")
        state = self._latest().state
        snapshot = state.snapshot()
        try:
            computation = execute(state)
        finally:
            # Neither changes nor what was touched, so the next one is as the first one. What is
            # left is what was read from the tries, which takes longest.
            state.revert(snapshot)
        if computation.is_error:
            data = computation.output
            raise ContractLogicError("execution reverted", data="0x" + bytes(data).hex())
        return computation

    def _view(self, call: dict[str, Any], block_number: Any) -> bytes:
        """What a call of a contract returns. It costs nothing, also an account without coin."""

        def execute(state: Any) -> Any:
            message = Message(
                gas=call.get("gas", BLOCK_GAS_LIMIT),
                to=call["to"],
                sender=call["from"],
                value=call.get("value", 0),
                data=call.get("data", b""),
                code=state.get_code(call["to"]),
            )
            context = state.get_transaction_context_class()(gas_price=0, origin=call["from"])
            computation = state.computation_class.apply_message(state, message, context)
            state.clear_transient_storage()
            return computation

        return bytes(self._try(execute, block_number).output)

    def call(self, transaction: dict[str, Any], block_number: Any = "latest") -> bytes:
        answers = self._latest().answers
        # Several roles ask the same of a block, and only the block decides about the answer.
        question = tuple(sorted(transaction.items()))
        if question not in answers:
            if len(answers) == _MOST_ANSWERS:
                answers.clear()
            answers[question] = self._view(transaction, block_number)
        return answers[question]

    def estimate_gas(self, transaction: dict[str, Any], block_number: Any = "latest") -> int:
        """Gas before refunds, from one execution instead of eth-tester's binary search."""
        limited = {**transaction, "gas": BLOCK_GAS_LIMIT}
        unsigned = self._get_normalized_and_unsigned_evm_transaction(limited, "latest")
        free = {"gas_price": 0, "max_fee_per_gas": 0, "max_priority_fee_per_gas": 0}
        spoofed = SpoofTransaction(unsigned, from_=transaction["from"], **free)
        done = self._try(lambda state: state.apply_transaction(spoofed), block_number)
        used = BLOCK_GAS_LIMIT - int(done.get_gas_remaining())
        # Apply the minimum price of calldata (EIP-7623), which py-evm applies only when it mines.
        return used + int(PragueTransactionExecutor.calc_data_floor_gas(unsigned, used, 0))


class _Provider(EthereumTesterProvider):
    """Answers one request at a time: eth-tester is not made for several threads."""

    def __init__(self, tester: EthereumTester, answers: Answers, lock: Any) -> None:
        super().__init__(tester)
        self._answers = answers
        self._lock = lock

    def make_request(self, method: Any, params: Any) -> Any:
        with self._lock:
            return super().make_request(method, params)

    def raw_request(self, method: str, params: Sequence[Any]) -> Any:
        """What a node would answer to the requests that `Answers` knows."""
        with self._lock:
            return self._answers.answer(method, params)


def _hash_fast() -> None:
    """Let py-evm hash with the package that the models' trees use; its default takes ten times as
    long for a short text, and a block has thousands of them."""
    fast: Any = pysha3.backend
    keccak.hasher, keccak.preimage = fast.keccak256, fast.preimage


class DevelopmentChain:
    """A deterministic chain in this process. ``balances`` are in wei, by address.

    Several threads may use ``web3``; one of them drives the chain. With ``plain``, py-evm runs
    every opcode in its own way, which takes several times as long: for those who check a record.
    """

    def __init__(
        self,
        balances: Mapping[str, int],
        genesis_time: int = GENESIS_TIME,
        *,
        plain: bool = False,
    ) -> None:
        _hash_fast()
        self.balances = dict(balances)
        self.genesis_time = genesis_time
        state = {
            to_canonical_address(address): {
                "balance": balance,
                "nonce": 0,
                "code": b"",
                "storage": {},
            }
            for address, balance in sorted(self.balances.items())
        }
        genesis = PyEVMBackend.generate_genesis_params(
            {"timestamp": genesis_time, "gas_limit": BLOCK_GAS_LIMIT}
        )
        self._backend = _Backend(genesis_parameters=genesis, genesis_state=state)
        if not plain:
            self._backend.run_straight()
        self._tester = EthereumTester(self._backend)
        self._lock: Any = threading.RLock()
        self.web3 = Web3(_Provider(self._tester, Answers(self._backend), self._lock))
        # This chain has no names, and checks a transaction's chain id itself.
        for unused in ("ens_name_to_address", "validation"):
            self.web3.middleware_onion.remove(unused)

    @property
    def now(self) -> int:
        """The latest block's timestamp, in seconds."""
        return int(self._backend.chain.get_canonical_head().timestamp)

    def mine(self, seconds: int = BLOCK_SECONDS) -> None:
        """Mine an empty block ``seconds`` after the latest one."""
        with self._lock:
            self._backend.set_next_timestamp(self.now + seconds)
            self._tester.mine_block()

    def recorded(self, from_block: int = 1) -> Iterator[RecordedBlock]:
        """Yield the blocks from ``from_block`` on, in the form that ``replay`` takes."""
        chain = self._backend.chain
        for number in range(from_block, chain.get_canonical_head().block_number + 1):
            block = chain.get_canonical_block_by_number(number)
            raw = tuple(bytes(transaction.encode()) for transaction in block.transactions)
            yield RecordedBlock(block.header.timestamp, bytes(block.hash), raw)

    def replay(self, block: RecordedBlock) -> None:
        """Mine a block with the recorded transaction and timestamp.

        Raises ValueError for a block with more than one transaction.
        """
        if len(block.transactions) > 1:
            raise ValueError("this chain mines every transaction in a block of its own")
        if not block.transactions:
            self._backend.set_next_timestamp(block.timestamp)
            self._tester.mine_block()
            return
        self._backend.replayed_timestamp = block.timestamp
        try:
            self.web3.eth.send_raw_transaction(block.transactions[0])
        finally:
            self._backend.replayed_timestamp = None

    def head_hash(self) -> bytes:
        return bytes(self._backend.chain.get_canonical_head().hash)
