"""py-evm with a faster way through the opcodes that touch only the stack and the memory.

They are 97 of 100 opcodes of our contracts, and py-evm calls some ten functions for each of them.
Here a code is cut into stretches of such opcodes, and a stretch is entered only if there is gas for
all of it, and its stack is neither too low nor too high. py-evm itself runs everything else, one
opcode at a time: the opcodes that touch the state, other contracts or the block, and those that
fail. So it alone decides about errors, and the prices are its own. A test runs random programs on
both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import and_, eq, gt, lt, or_, xor
from typing import Any, Final, NamedTuple

from eth._utils.numeric import ceil32
from eth.abc import MessageAPI, StateAPI, TransactionContextAPI
from eth.vm import opcode_values as op
from eth.vm.code_stream import CodeStream
from eth.vm.computation import memory_gas_cost
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.forks.prague.state import PragueState
from eth.vm.memory import Memory

from fl_orchestrator.chain.nodes.storage_trie import account_db

_Stack = list[int]

_EVM_WORD: Final = 32
_CEILING: Final = 1 << 256
_MAX: Final = _CEILING - 1
_SIGN: Final = 1 << 255
_MOST_VALUES: Final = 1024
# The code of a deployment is run once, that of a contract very often.
_MOST_PROGRAMS: Final = 64
# A stretch is shorter than this, so that no code makes a long one from each of its positions.
_MOST_STEPS: Final = 256


class _Leave(Exception):
    """A step that py-evm has to do; nothing of it is done yet."""


class _Memory(Memory):
    """py-evm's memory; ``spare`` is the gas that the stretch that is being run does not need."""

    spare = 0

    def until(self, end: int) -> bytearray:
        """The bytes, with room up to ``end``. Raises _Leave if they cannot grow so far."""
        data: bytearray = self._bytes
        if end > len(data):
            size = ceil32(end)
            more = memory_gas_cost(size) - memory_gas_cost(len(data))
            if more > self.spare:
                raise _Leave
            try:
                data.extend(bytes(size - len(data)))
            except BufferError:  # something still looks at them
                raise _Leave from None
            self.spare -= more
        return data


# Does one opcode to a stack and a memory.
_Step = Callable[[_Stack, _Memory], None]


class _Opcode(NamedTuple):
    step: _Step
    takes: int
    leaves: int


class _Stretch(NamedTuple):
    """Opcodes that follow each other, with what makes all of them possible.

    ``jump`` is the opcode at the ``end`` if that is a jump, and else None; ``gas``, and the least
    and the most values on the stack include it.
    """

    # Each with its position, and the gas of all before it.
    steps: tuple[tuple[_Step, int, int], ...]
    gas: int
    least: int
    most: int
    end: int
    jump: int | None


# ---------------------------------------------------------------------- opcodes


def _word(function: Callable[[int, int], int]) -> _Opcode:
    def step(stack: _Stack, _memory: _Memory) -> None:
        top = stack.pop()
        stack[-1] = function(top, stack[-1]) & _MAX

    return _Opcode(step, 2, 1)


def _test(function: Callable[[int, int], bool]) -> _Opcode:
    def step(stack: _Stack, _memory: _Memory) -> None:
        top = stack.pop()
        stack[-1] = 1 if function(top, stack[-1]) else 0

    return _Opcode(step, 2, 1)


def _add(stack: _Stack, _memory: _Memory) -> None:
    top = stack.pop()
    stack[-1] = (top + stack[-1]) & _MAX


def _sub(stack: _Stack, _memory: _Memory) -> None:
    top = stack.pop()
    stack[-1] = (top - stack[-1]) & _MAX


def _is_zero(stack: _Stack, _memory: _Memory) -> None:
    stack[-1] = 0 if stack[-1] else 1


def _not(stack: _Stack, _memory: _Memory) -> None:
    stack[-1] ^= _MAX


def _pop(stack: _Stack, _memory: _Memory) -> None:
    stack.pop()


def _nothing(_stack: _Stack, _memory: _Memory) -> None:
    pass


def _load(stack: _Stack, memory: _Memory) -> None:
    at = stack[-1]
    stack[-1] = int.from_bytes(memory.until(at + _EVM_WORD)[at : at + _EVM_WORD], "big")


def _store(stack: _Stack, memory: _Memory) -> None:
    at = stack[-1]
    memory.until(at + _EVM_WORD)[at : at + _EVM_WORD] = stack[-2].to_bytes(_EVM_WORD, "big")
    del stack[-2:]


def _push(value: int) -> _Step:
    def step(stack: _Stack, _memory: _Memory) -> None:
        stack.append(value)

    return step


def _dup(place: int) -> _Opcode:
    def step(stack: _Stack, _memory: _Memory) -> None:
        stack.append(stack[place])

    return _Opcode(step, -place, 1 - place)


def _swap(place: int) -> _Opcode:
    def step(stack: _Stack, _memory: _Memory) -> None:
        stack[-1], stack[place] = stack[place], stack[-1]

    return _Opcode(step, -place, -place)


def _signed(value: int) -> int:
    return value - _CEILING if value & _SIGN else value


#: All but PUSH1 to PUSH32 and the jumps.
_OPCODES: Final[dict[int, _Opcode]] = {
    op.ADD: _Opcode(_add, 2, 1),
    op.SUB: _Opcode(_sub, 2, 1),
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
    op.ISZERO: _Opcode(_is_zero, 1, 1),
    op.NOT: _Opcode(_not, 1, 1),
    op.POP: _Opcode(_pop, 1, 0),
    op.JUMPDEST: _Opcode(_nothing, 0, 0),
    op.MLOAD: _Opcode(_load, 1, 1),
    op.MSTORE: _Opcode(_store, 2, 0),
    op.PUSH0: _Opcode(_push(0), 0, 1),
    **{op.DUP1 + number: _dup(-1 - number) for number in range(16)},
    **{op.SWAP1 + number: _swap(-2 - number) for number in range(16)},
}
# How many values a jump takes.
_JUMPS: Final = {op.JUMP: 1, op.JUMPI: 2}


def _price(opcode: int) -> int:
    """The gas of an opcode, in py-evm's own table."""
    known: Any = PRAGUE_OPCODES[opcode]
    return int(known.gas_cost)


def _size(opcode: int) -> int:
    """The bytes of an opcode, with those that a PUSH has behind it."""
    return 1 + max(0, opcode - op.PUSH0) if opcode <= op.PUSH32 else 1


# ---------------------------------------------------------------------- programs


@dataclass(slots=True)
class _Program:
    """A code, and its stretches by their first positions, which are made as they are needed."""

    code: bytes
    destinations: frozenset[int]
    stretches: dict[int, _Stretch] = field(default_factory=dict)

    def stretch(self, first: int) -> _Stretch:
        """The stretch from a position on; it has no step if py-evm does the first opcode."""
        steps: list[tuple[_Step, int, int]] = []
        at, gas, height, least, highest = first, 0, 0, 0, 0
        jump = None
        while at < len(self.code) and len(steps) < _MOST_STEPS:
            code = self.code[at]
            if code in _JUMPS:
                jump = code
                gas += _price(code)
                least = max(least, _JUMPS[code] - height)
                break
            known = self._opcode(at)
            if known is None:
                break
            steps.append((known.step, at, gas))
            gas += _price(code)
            least = max(least, known.takes - height)
            height += known.leaves - known.takes
            highest = max(highest, height)
            at += _size(code)
        most = _MOST_VALUES - highest
        made = _Stretch(tuple(steps), gas, least, most, at, jump)
        self.stretches[first] = made
        return made

    def _opcode(self, at: int) -> _Opcode | None:
        code = self.code[at]
        if not op.PUSH1 <= code <= op.PUSH32:
            return _OPCODES.get(code)
        size = code - op.PUSH0
        # Behind the end of a code there are zeros.
        value = self.code[at + 1 : at + 1 + size].ljust(size, b"\0")
        return _Opcode(_push(int.from_bytes(value, "big")), 0, 1)


@functools.lru_cache(_MOST_PROGRAMS)
def _program(code: bytes) -> _Program:
    destinations = []
    at = 0
    while at < len(code):
        if code[at] == op.JUMPDEST:
            destinations.append(at)
        at += _size(code[at])
    return _Program(code, frozenset(destinations))


class _Straight(CodeStream):
    """The opcodes that py-evm has to run; running to the next one runs the stretches in between."""

    def __init__(self, computation: Any) -> None:
        super().__init__(computation.msg.code)
        self._values: list[Any] = computation._stack.values
        self._meter = computation._gas_meter
        self._memory = computation._memory

    def __iter__(self) -> Iterator[int]:
        program, values = _program(self._raw_code_bytes), self._values
        while True:
            # py-evm pushes some words as bytes, one at a time; it takes both, and steps take ints.
            if values and isinstance(values[-1], bytes):
                values[-1] = int.from_bytes(values[-1], "big")
            at = self._forward(program, self.program_counter)
            inside = at < len(program.code)
            self.program_counter = at + inside
            yield program.code[at] if inside else op.STOP

    def _forward(self, program: _Program, at: int) -> int:
        """Run all stretches from a position on, and return that of the opcode after them."""
        values, gas, memory = self._values, self._meter.gas_remaining, self._memory
        made = program.stretches
        while True:
            stretch = made.get(at) or program.stretch(at)
            if gas < stretch.gas or not stretch.least <= len(values) <= stretch.most:
                break
            memory.spare = gas - stretch.gas
            try:
                for step in stretch.steps:
                    step[0](values, memory)
            except _Leave:
                _, at, before = step
                gas = memory.spare + stretch.gas - before
                break
            gas, at = memory.spare, stretch.end
            if stretch.jump is None:
                break
            jumps = stretch.jump == op.JUMP or values[-2] != 0
            if jumps and values[-1] not in program.destinations:
                gas += _price(stretch.jump)  # py-evm takes it
                break
            at = values[-1] if jumps else at + 1
            del values[-_JUMPS[stretch.jump] :]
        self._meter.gas_remaining = gas
        return at


# ---------------------------------------------------------------------- the virtual machine


class _Computation(PragueComputation):
    def __init__(
        self,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
    ) -> None:
        super().__init__(state, message, transaction_context)
        if not self.logger.show_debug2:  # py-evm's log has every opcode
            self._memory = _Memory()
            self.code = _Straight(self)


def straight_vm() -> type[PragueVM]:
    """The rules of Prague for one chain: what `PragueVM` does, in a fraction of the time."""

    class _State(PragueState):
        computation_class = _Computation
        account_db_class = account_db()

    class _StraightVM(PragueVM):
        _state_class = _State

    return _StraightVM
