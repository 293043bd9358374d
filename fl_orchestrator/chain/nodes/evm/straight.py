"""py-evm with a faster way through the opcodes that touch only the stack and the memory.

They are 99 of 100 opcodes of our contracts, and py-evm calls some ten functions for each of them.
Here a code is cut into stretches of such opcodes, and a stretch is entered only if there is gas for
all of it, and its stack is neither too low nor too high. py-evm itself runs everything else, one
opcode at a time: the opcodes that touch the state or other contracts, and those that fail. So it
alone decides about errors, and the prices are its own. A test runs random programs on both.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from eth._utils.address import force_bytes_to_address
from eth.abc import MessageAPI, StateAPI, TransactionContextAPI
from eth.constants import GAS_ECRECOVER
from eth.precompiles.ecrecover import ecrecover
from eth.vm import opcode_values as op
from eth.vm.code_stream import CodeStream
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.forks.prague.state import PragueState
from lru import LRU

from fl_orchestrator.chain.nodes.evm.steps import OPCODES, Leave, Opcode, Step, StepMemory, pushed
from fl_orchestrator.chain.nodes.evm.storage_trie import account_db

_MOST_VALUES: Final = 1024
# The code of a deployment is run once, that of a contract very often.
_MOST_PROGRAMS: Final = 64
# A stretch is shorter than this, so that no code makes a long one from each of its positions.
_MOST_STEPS: Final = 256
_MOST_SIGNERS: Final = 1 << 12
_ECRECOVER: Final = force_bytes_to_address(b"\x01")
# How many values a jump takes.
_JUMPS: Final = {op.JUMP: 1, op.JUMPI: 2}


class _Stretch(NamedTuple):
    """Opcodes that follow each other, with what makes all of them possible.

    ``jump`` is the opcode at the ``end`` if that is a jump, and else None; ``gas``, and the least
    and the most values on the stack include it.
    """

    # Each with its position, and the gas of all before it.
    steps: tuple[tuple[Step, int, int], ...]
    gas: int
    least: int
    most: int
    end: int
    jump: int | None


def _price(opcode: int) -> int:
    """The gas of an opcode, in py-evm's own table."""
    known: Any = PRAGUE_OPCODES[opcode]
    return int(known.gas_cost)


def _size(opcode: int) -> int:
    """The bytes of an opcode, with those that a PUSH has behind it."""
    return 1 + max(0, opcode - op.PUSH0) if opcode <= op.PUSH32 else 1


@dataclass(slots=True)
class _Program:
    """A code, and its stretches by their first positions, which are made as they are needed."""

    code: bytes
    destinations: frozenset[int]
    stretches: dict[int, _Stretch] = field(default_factory=dict)

    def stretch(self, first: int) -> _Stretch:
        """The stretch from a position on; it has no step if py-evm does the first opcode."""
        steps: list[tuple[Step, int, int]] = []
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

    def _opcode(self, at: int) -> Opcode | None:
        code = self.code[at]
        if not op.PUSH1 <= code <= op.PUSH32:
            return OPCODES.get(code)
        size = code - op.PUSH0
        # Behind the end of a code there are zeros.
        value = self.code[at + 1 : at + 1 + size].ljust(size, b"\0")
        return pushed(int.from_bytes(value, "big"))


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
            except Leave:
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


# What `ecrecover` returned for its data: the estimate of a transaction's gas checks the same
# signatures as the transaction.
_signers: LRU[bytes, bytes] = LRU(_MOST_SIGNERS)


def _recover(computation: Any) -> Any:
    data = computation.msg.data_as_bytes
    if data in _signers:
        computation.consume_gas(GAS_ECRECOVER, reason="ecrecover")
        computation.output = _signers[data]
    else:
        ecrecover(computation)
        _signers[data] = computation.output
    return computation


class _Computation(PragueComputation):
    _precompiles = {**PragueComputation.get_precompiles(), _ECRECOVER: _recover}  # noqa: RUF012

    def __init__(
        self,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
    ) -> None:
        super().__init__(state, message, transaction_context)
        if not self.logger.show_debug2:  # py-evm's log has every opcode
            self._memory = StepMemory(state, message)
            self.code = _Straight(self)


def straight_vm() -> type[PragueVM]:
    """The rules of Prague for one chain: what `PragueVM` does, in a fraction of the time."""

    class _State(PragueState):
        computation_class = _Computation
        account_db_class = account_db()

    class _StraightVM(PragueVM):
        _state_class = _State

    return _StraightVM
