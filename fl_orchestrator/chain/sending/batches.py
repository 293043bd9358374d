"""Splits a list of items into batches that each fit into one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from fl_orchestrator.chain.sending.send import Sender

T = TypeVar("T")

# The most gas that one item of a batch takes (benchmarks/gas.py), rounded up.
ADMISSION_GAS: Final = 30_000
ANSWER_GAS: Final = 160_000
COMMIT_GAS: Final = 60_000
REVEAL_GAS: Final = 90_000
SIGNATURE_GAS: Final = 40_000

# A batch uses at most 1/2 of a block: others send in the same block, and the estimate has a margin.
_SHARE_OF_A_BLOCK: Final = 2


def batch_size(sender: Sender, gas_each: int) -> int:
    """How many items that take ``gas_each`` fit into half a block; at least one."""
    return max(1, sender.block_gas() // _SHARE_OF_A_BLOCK // gas_each)


def batches(sender: Sender, items: Sequence[T], gas_each: int) -> Iterator[Sequence[T]]:
    """Yield the items in their order, in lists that each fit into half a block."""
    size = batch_size(sender, gas_each)
    for start in range(0, len(items), size):
        yield items[start : start + size]
