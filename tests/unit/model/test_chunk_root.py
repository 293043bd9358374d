"""The root that is computed without a tree is that of the tree."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.model.chunk_root import RootHasher
from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.keccak import hash_rows
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import in_blocks

# A group of leaves that is folded at once has 2,048 chunks of 256 values.
GROUP = 2048 * 256


def root_of(layout: Layout, vector: np.ndarray, block: int) -> bytes:
    hasher = RootHasher(layout, vector.dtype)
    for part in in_blocks(vector, block):
        hasher.update(part)
    return hasher.finish()


def random_vector(size: int, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(size).integers(limits.min, limits.max + 1, size, dtype)


@given(
    st.lists(st.one_of(st.integers(0, 3), st.integers(250, 520)), min_size=1, max_size=5),
    st.integers(0, 13),
    st.sampled_from(["int16", "int32", "uint32"]),
    st.integers(1, 2000),
)
def test_the_root_of_a_small_vector_is_its_trees(
    sizes: list[int], spare: int, dtype: str, block: int
) -> None:
    tensors = [(str(i), [size], 0) for i, size in enumerate(sizes)]
    layout = Layout.of(tensors, packed=True)
    layout = Layout.of(tensors, layout.depth + spare, packed=True)
    vector = random_vector(layout.parameters, dtype)
    assert root_of(layout, vector, block) == tree_of(layout, vector).root


@pytest.mark.parametrize("size", [GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 3 * GROUP + 300])
@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("dtype", ["int16", "uint32"])
def test_the_root_of_several_groups_is_their_trees(size: int, spare: int, dtype: str) -> None:
    layout = Layout.of([("w", [size], 0)], packed=True)
    layout = Layout.of([("w", [size], 0)], layout.depth + spare, packed=True)
    vector = random_vector(size, dtype)
    for block in (1 << 15, 100_001, 10**7):
        assert root_of(layout, vector, block) == tree_of(layout, vector).root


@pytest.mark.parametrize("block", [7, 300, 1000, 10**6])
def test_the_root_of_a_state_with_momentum_is_that_of_both_halves(block: int) -> None:
    layout = Layout.of([("w", [300], 0), ("b", [7], 0)], momentum=True)
    state = random_vector(2 * layout.parameters, "int32")
    assert root_of(layout, state, block) == tree_of(layout, state).root


@pytest.mark.parametrize("momentum", [False, True])
def test_missing_values_and_more_values_are_refused(momentum: bool) -> None:
    layout = Layout.of([("w", [300], 0)], momentum=momentum)
    size = layout.halves * layout.parameters
    hasher = RootHasher(layout, np.int32)
    hasher.update(np.zeros(size - 1, np.int32))
    with pytest.raises(ValueError, match="fewer than 300"):
        hasher.finish()
    with pytest.raises(ValueError, match="more than 300"):
        hasher.update(np.zeros(2, np.int32))


def test_memory_does_not_grow_with_the_vector() -> None:
    layout = Layout.of([("w", [64 << 20], 0)])
    block = np.zeros(1 << 20, np.int16)
    hash_rows(np.zeros((1, 64), np.uint8), total=1 << 20)  # loads the compiled code
    tracemalloc.start()
    hasher = RootHasher(layout, np.int16)
    for _ in range(64):
        hasher.update(block)
    hasher.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The leaves of its tree would have 8 MB.
    assert peak < 1_000_000
