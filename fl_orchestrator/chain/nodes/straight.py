"""py-evm with a faster way through the opcodes that touch only the stack and the memory.

They are 97 of 100 opcodes of our contracts, and py-evm calls some ten functions for each of them.
Here a code is cut into stretches of such opcodes, and a stretch is entered only if there is gas for
all of it, and its stack is neither too low nor too high. py-evm itself runs everything else, one
opcode at a time: the opcodes that touch the state, other contracts or the block, and those that
fail. So it alone decides about errors, and the prices are its own. A test runs random programs on
both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eth._utils.numeric import ceil32
from eth.abc import MessageAPI, StateAPI, TransactionContextAPI
from eth.vm import opcode_values as op
from eth.vm.code_stream import CodeStream
from eth.vm.computation import memory_gas_cost
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.memory import Memory

from fl_orchestrator.chain.nodes.stretches import JUMPS, Program, price, program


class _Memory(Memory):
    """py-evm's memory; ``spare`` is the gas that the stretch that is being run does not need."""

    spare = 0

    def grow(self, end: int) -> bool:
        """Make room up to ``end``, and pay for it; False if that cannot be, or py-evm has to."""
        size = ceil32(end)
        more = memory_gas_cost(size) - memory_gas_cost(len(self._bytes))
        if more > self.spare:
            return False
        try:
            self._bytes.extend(bytes(size - len(self._bytes)))
        except BufferError:  # something still looks at them
            return False
        self.spare -= more
        return True


class _Straight(CodeStream):
    """The opcodes that py-evm has to run; running to the next one runs the stretches in between."""

    def __init__(self, computation: Any) -> None:
        super().__init__(computation.msg.code)
        self._values: list[Any] = computation._stack.values
        self._meter = computation._gas_meter
        self._memory = computation._memory

    def __iter__(self) -> Iterator[int]:
        code, values = program(self._raw_code_bytes), self._values
        while True:
            # py-evm pushes some words as bytes, one at a time; it takes both, and stretches ints.
            if values and isinstance(values[-1], bytes):
                values[-1] = int.from_bytes(values[-1], "big")
            at = self._forward(code, self.program_counter)
            inside = at < len(code.code)
            self.program_counter = at + inside
            yield code.code[at] if inside else op.STOP

    def _forward(self, code: Program, at: int) -> int:
        """Run all stretches from a position on, and return that of the opcode after them."""
        values, gas, memory = self._values, self._meter.gas_remaining, self._memory
        made, data = code.stretches, memory._bytes
        while True:
            run, cost, least, most, end, jump = made.get(at) or code.stretch(at)
            if gas < cost or not least <= len(values) <= most:
                break
            memory.spare = gas - cost
            left = None if run is None else run(values, data, memory.grow)
            if left is not None:
                at, before = left
                gas = memory.spare + cost - before
                break
            gas, at = memory.spare, end
            if jump is None:
                break
            jumps = jump == op.JUMP or values[-2] != 0
            if jumps and values[-1] not in code.destinations:
                gas += price(jump)  # py-evm takes it
                break
            at = values[-1] if jumps else at + 1
            del values[-JUMPS[jump] :]
        self._meter.gas_remaining = gas
        return at


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


class _State(PragueState):
    computation_class = _Computation


class StraightVM(PragueVM):
    """The rules of Prague: what `PragueVM` does, in a fraction of the time."""

    _state_class = _State
