"""EVM code as stretches of opcodes that touch only the stack and the memory, written as Python.

Within a stretch the words that PUSH, DUP, SWAP and POP move around are names, which cost nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from eth.vm import opcode_values as op
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES

_MAX: Final = hex((1 << 256) - 1)
_SIGN: Final = hex(1 << 255)
_MOST_VALUES: Final = 1024
# The code of a deployment is run once, that of a contract very often.
_MOST_PROGRAMS: Final = 64
# A stretch is shorter than this, so that no code makes a long one from each of its positions.
_MOST_STEPS: Final = 256

#: How many values a jump takes.
JUMPS: Final = {op.JUMP: 1, op.JUMPI: 2}

# What an opcode makes of the top of the stack (a) and of the value below it (b).
_UNARY: Final = {op.ISZERO: "0 if {a} else 1", op.NOT: f"{{a}} ^ {_MAX}"}
_BINARY: Final = {
    op.ADD: f"({{a}} + {{b}}) & {_MAX}",
    op.SUB: f"({{a}} - {{b}}) & {_MAX}",
    op.MUL: f"({{a}} * {{b}}) & {_MAX}",
    op.DIV: "{a} // {b} if {b} else 0",
    op.MOD: "{a} % {b} if {b} else 0",
    op.AND: "{a} & {b}",
    op.OR: "{a} | {b}",
    op.XOR: "{a} ^ {b}",
    op.SHL: f"({{b}} << {{a}}) & {_MAX} if {{a}} < 256 else 0",
    op.SHR: "{b} >> {a} if {a} < 256 else 0",
    op.LT: "1 if {a} < {b} else 0",
    op.GT: "1 if {a} > {b} else 0",
    op.EQ: "1 if {a} == {b} else 0",
    # With their signs turned, words have the order of signed numbers.
    op.SLT: f"1 if ({{a}} ^ {_SIGN}) < ({{b}} ^ {_SIGN}) else 0",
    op.SGT: f"1 if ({{a}} ^ {_SIGN}) > ({{b}} ^ {_SIGN}) else 0",
}
_OTHERS: Final = frozenset((op.POP, op.JUMPDEST, op.MLOAD, op.MSTORE))

# Runs a stretch on a stack and a memory, which the last argument makes grow up to an end, if it
# can. The answer is None, or the position of an opcode that is left to py-evm, and the gas of those
# before it; nothing of that opcode is done then.
_Run = Callable[[list[int], bytearray, Callable[[int], bool]], "tuple[int, int] | None"]


class Stretch(NamedTuple):
    """Opcodes that follow each other, with what makes all of them possible.

    ``jump`` is the opcode at the ``end`` if that is a jump, and else None; ``gas``, and the least
    and the most values on the stack include it. ``run`` is None where there is nothing to do.
    """

    run: _Run | None
    gas: int
    least: int
    most: int
    end: int
    jump: int | None


def price(opcode: int) -> int:
    """The gas of an opcode, in py-evm's own table."""
    known: Any = PRAGUE_OPCODES[opcode]
    return int(known.gas_cost)


class _Writer:
    """Writes the function of a stretch."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        # The words on top of what is left of the stack, the topmost last: numbers and names.
        self.words: list[str] = []
        # How many values of the stack these stand for, and the most that the stack grows meanwhile.
        self.taken = self.highest = 0
        self._made = 0

    def write(self, code: bytes, at: int, gas: int) -> bool:
        """Write the opcode at a position; False if it is not one of these."""
        opcode = code[at]
        if op.PUSH0 <= opcode <= op.PUSH32:
            size = opcode - op.PUSH0
            # Behind the end of a code there are zeros.
            value = code[at + 1 : at + 1 + size].ljust(size, b"\0")
            self.words.append(hex(int.from_bytes(value, "big")))
        elif op.DUP1 <= opcode <= op.DUP16:
            place = opcode - op.DUP1 + 1
            self._need(place)
            self.words.append(self.words[-place])
        elif op.SWAP1 <= opcode <= op.SWAP16:
            place = opcode - op.SWAP1 + 2
            self._need(place)
            self.words[-1], self.words[-place] = self.words[-place], self.words[-1]
        elif opcode in _UNARY:
            self._put(_UNARY[opcode].format(a=self._pop()))
        elif opcode in _BINARY:
            self._put(_BINARY[opcode].format(a=self._pop(), b=self._pop()))
        elif opcode in _OTHERS:
            self._other(opcode, at, gas)
        else:
            return False
        self.highest = max(self.highest, len(self.words) - self.taken)
        return True

    def function(self) -> _Run | None:
        """What was written, compiled."""
        if not self.lines and not self.words:
            return None
        lines = ["def run(stack, data, grow):", *self.lines, f" {self._settled()}"]
        made: dict[str, Any] = {}
        # It has only what stands here, numbers, and names that are made here.
        exec(compile("\n".join(lines), "<stretch>", "exec"), made)  # noqa: S102
        run: _Run = made["run"]
        return run

    def _other(self, opcode: int, at: int, gas: int) -> None:
        if opcode == op.JUMPDEST:
            return
        if opcode == op.POP:
            self._pop()
            return
        self._need(1 if opcode == op.MLOAD else 2)
        start = self.words[-1]
        self.lines += [
            f" end = {start} + 32",
            " if end > len(data) and not grow(end):",
            f"  {self._settled()}",
            f"  return {at}, {gas}",
        ]
        self._pop()
        if opcode == op.MLOAD:
            self._put(f"int.from_bytes(data[{start}:end], 'big')")
        else:
            self.lines.append(f" data[{start}:end] = ({self._pop()}).to_bytes(32, 'big')")

    def _need(self, depth: int) -> None:
        while len(self.words) < depth:
            self.taken += 1
            self.lines.append(f" s{self.taken} = stack[-{self.taken}]")
            self.words.insert(0, f"s{self.taken}")

    def _pop(self) -> str:
        self._need(1)
        return self.words.pop()

    def _put(self, expression: str) -> None:
        self._made += 1
        self.lines.append(f" v{self._made} = {expression}")
        self.words.append(f"v{self._made}")

    def _settled(self) -> str:
        """The statement that makes the stack what it is by now."""
        words = "".join(f"{word}, " for word in self.words)
        return f"stack[len(stack) - {self.taken}:] = ({words})"


@dataclass(slots=True)
class Program:
    """A code, and its stretches by their first positions, which are made as they are needed."""

    code: bytes
    destinations: frozenset[int]
    stretches: dict[int, Stretch] = field(default_factory=dict)

    def stretch(self, first: int) -> Stretch:
        """The stretch from a position on; it is empty if py-evm does the first opcode."""
        writer = _Writer()
        at, gas, least = first, 0, 0
        jump = None
        for _ in range(_MOST_STEPS):
            if at >= len(self.code):
                break
            opcode = self.code[at]
            if opcode in JUMPS:
                jump = opcode
                gas += price(opcode)
                least = JUMPS[opcode] + writer.taken - len(writer.words)
                break
            if not writer.write(self.code, at, gas):
                break
            gas += price(opcode)
            at += _size(opcode)
        least, most = max(least, writer.taken), _MOST_VALUES - writer.highest
        made = Stretch(writer.function(), gas, least, most, at, jump)
        self.stretches[first] = made
        return made


def _size(opcode: int) -> int:
    """The bytes of an opcode, with those that a PUSH has behind it."""
    return 1 + max(0, opcode - op.PUSH0) if opcode <= op.PUSH32 else 1


@functools.lru_cache(_MOST_PROGRAMS)
def program(code: bytes) -> Program:
    """The program that this code is."""
    destinations = []
    at = 0
    while at < len(code):
        if code[at] == op.JUMPDEST:
            destinations.append(at)
        at += _size(code[at])
    return Program(code, frozenset(destinations))
