"""Lists that go into one call are cut to what a block has room for."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.chain.sending.batches import batch_size, batches
from fl_orchestrator.chain.sending.send import Sender


class BlockGas:
    """A sender that knows nothing but the gas of a block."""

    def __init__(self, gas: int) -> None:
        self._gas = gas

    def block_gas(self) -> int:
        return self._gas


def sender(gas: int) -> Sender:
    return cast(Sender, BlockGas(gas))


@given(st.lists(st.integers(), max_size=300), st.integers(1, 10**7), st.integers(0, 10**8))
def test_the_batches_are_the_list_and_each_fits_into_half_a_block(
    items: list[int], gas_each: int, block_gas: int
) -> None:
    cut = list(batches(sender(block_gas), items, gas_each))
    assert [item for batch in cut for item in batch] == items
    assert all(len(batch) == 1 or len(batch) * gas_each * 2 <= block_gas for batch in cut)


@pytest.mark.parametrize(("block_gas", "size"), [(30_000_000, 500), (59_999, 1), (0, 1)])
def test_a_batch_has_at_least_one_item(block_gas: int, size: int) -> None:
    assert batch_size(sender(block_gas), 30_000) == size
