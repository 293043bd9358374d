"""The opcodes that need only the stack, the memory, and what does not change while a code runs."""

from __future__ import annotations

from collections.abc import Callable
from operator import and_, eq, gt, lt, or_, xor
from typing import Any, Final, NamedTuple

from eth._utils.numeric import ceil32
from eth.constants import GAS_SHA3WORD
from eth.vm import opcode_values as op
from eth.vm.computation import memory_gas_cost
from eth.vm.memory import Memory
from eth_hash.auto import keccak

Stack = list[int]

EVM_WORD: Final = 32
_CEILING: Final = 1 << 256
_MAX: Final = _CEILING - 1
_SIGN: Final = 1 << 255


class Leave(Exception):
    """A step that py-evm has to do; nothing of it is done yet."""


class StepMemory(Memory):
    """py-evm's memory, with what else the steps of a computation need.

    ``spare`` is the gas that the stretch that is being run does not need for its fixed prices.
    """

    __slots__ = ("code_size", "data", "message", "spare", "state")

    def __init__(self, state: Any, message: Any) -> None:
        super().__init__()
        self.spare = 0
        self.state = state
        self.message = message
        self.data: bytes = message.data_as_bytes
        self.code_size = len(message.code)

    def until(self, end: int) -> bytearray:
        """The bytes, with room up to ``end``. Raises Leave if they cannot grow so far."""
        content: bytearray = self._bytes
        if end > len(content):
            size = ceil32(end)
            more = memory_gas_cost(size) - memory_gas_cost(len(content))
            if more > self.spare:
                raise Leave
            try:
                content.extend(bytes(size - len(content)))
            except BufferError:  # something still looks at them
                raise Leave from None
            self.spare -= more
        return content


# Does one opcode to a stack and a memory.
Step = Callable[[Stack, StepMemory], None]


class Opcode(NamedTuple):
    """A step, and how many values it takes from the stack and leaves there."""

    step: Step
    takes: int
    leaves: int


def _word(function: Callable[[int, int], int]) -> Opcode:
    def step(stack: Stack, _memory: StepMemory) -> None:
        top = stack.pop()
        stack[-1] = function(top, stack[-1]) & _MAX

    return Opcode(step, 2, 1)


def _test(function: Callable[[int, int], bool]) -> Opcode:
    def step(stack: Stack, _memory: StepMemory) -> None:
        top = stack.pop()
        stack[-1] = 1 if function(top, stack[-1]) else 0

    return Opcode(step, 2, 1)


def _known(value: Callable[[StepMemory], int]) -> Opcode:
    def step(stack: Stack, memory: StepMemory) -> None:
        stack.append(value(memory))

    return Opcode(step, 0, 1)


def _add(stack: Stack, _memory: StepMemory) -> None:
    top = stack.pop()
    stack[-1] = (top + stack[-1]) & _MAX


def _sub(stack: Stack, _memory: StepMemory) -> None:
    top = stack.pop()
    stack[-1] = (top - stack[-1]) & _MAX


def _is_zero(stack: Stack, _memory: StepMemory) -> None:
    stack[-1] = 0 if stack[-1] else 1


def _not(stack: Stack, _memory: StepMemory) -> None:
    stack[-1] ^= _MAX


def _pop(stack: Stack, _memory: StepMemory) -> None:
    stack.pop()


def _nothing(_stack: Stack, _memory: StepMemory) -> None:
    pass


def _load(stack: Stack, memory: StepMemory) -> None:
    at = stack[-1]
    stack[-1] = int.from_bytes(memory.until(at + EVM_WORD)[at : at + EVM_WORD], "big")


def _store(stack: Stack, memory: StepMemory) -> None:
    at = stack[-1]
    memory.until(at + EVM_WORD)[at : at + EVM_WORD] = stack[-2].to_bytes(EVM_WORD, "big")
    del stack[-2:]


def _hash(stack: Stack, memory: StepMemory) -> None:
    at, size = stack[-1], stack[-2]
    price = GAS_SHA3WORD * (ceil32(size) // EVM_WORD)
    if price > memory.spare:
        raise Leave
    memory.spare -= price
    try:
        text = bytes(memory.until(at + size)[at : at + size]) if size else b""
    except Leave:
        memory.spare += price
        raise
    stack.pop()
    stack[-1] = int.from_bytes(keccak(text), "big")


def _load_data(stack: Stack, memory: StepMemory) -> None:
    at = stack[-1]
    # Behind the end of the data there are zeros.
    stack[-1] = int.from_bytes(memory.data[at : at + EVM_WORD].ljust(EVM_WORD, b"\0"), "big")


def pushed(value: int) -> Opcode:
    """A PUSH of a value."""

    def step(stack: Stack, _memory: StepMemory) -> None:
        stack.append(value)

    return Opcode(step, 0, 1)


def _dup(place: int) -> Opcode:
    def step(stack: Stack, _memory: StepMemory) -> None:
        stack.append(stack[place])

    return Opcode(step, -place, 1 - place)


def _swap(place: int) -> Opcode:
    def step(stack: Stack, _memory: StepMemory) -> None:
        stack[-1], stack[place] = stack[place], stack[-1]

    return Opcode(step, -place, -place)


def _signed(value: int) -> int:
    return value - _CEILING if value & _SIGN else value


#: All but PUSH1 to PUSH32 and the jumps.
OPCODES: Final[dict[int, Opcode]] = {
    op.ADD: Opcode(_add, 2, 1),
    op.SUB: Opcode(_sub, 2, 1),
    op.MUL: _word(lambda a, b: a * b),
    op.DIV: _word(lambda a, b: a // b if b else 0),
    op.MOD: _word(lambda a, b: a % b if b else 0),
    op.AND: _word(and_),
    op.OR: _word(or_),
    op.XOR: _word(xor),
    op.SHL: _word(lambda a, b: b << a if a < 256 else 0),
    op.SHR: _word(lambda a, b: b >> a if a < 256 else 0),
    op.LT: _test(lt),
    op.GT: _test(gt),
    op.EQ: _test(eq),
    op.SLT: _test(lambda a, b: _signed(a) < _signed(b)),
    op.SGT: _test(lambda a, b: _signed(a) > _signed(b)),
    op.ISZERO: Opcode(_is_zero, 1, 1),
    op.NOT: Opcode(_not, 1, 1),
    op.POP: Opcode(_pop, 1, 0),
    op.JUMPDEST: Opcode(_nothing, 0, 0),
    op.MLOAD: Opcode(_load, 1, 1),
    op.MSTORE: Opcode(_store, 2, 0),
    op.SHA3: Opcode(_hash, 2, 1),
    op.CALLDATALOAD: Opcode(_load_data, 1, 1),
    op.CALLDATASIZE: _known(lambda memory: len(memory.data)),
    op.CODESIZE: _known(lambda memory: memory.code_size),
    op.ADDRESS: _known(lambda memory: int.from_bytes(memory.message.storage_address, "big")),
    op.CALLER: _known(lambda memory: int.from_bytes(memory.message.sender, "big")),
    op.CALLVALUE: _known(lambda memory: int(memory.message.value)),
    op.TIMESTAMP: _known(lambda memory: int(memory.state.timestamp)),
    op.NUMBER: _known(lambda memory: int(memory.state.block_number)),
    op.CHAINID: _known(lambda memory: int(memory.state.execution_context.chain_id)),
    op.PUSH0: pushed(0),
    **{op.DUP1 + number: _dup(-1 - number) for number in range(16)},
    **{op.SWAP1 + number: _swap(-2 - number) for number in range(16)},
}
