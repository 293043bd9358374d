"""The chunk tree against the one with every chunk materialised, and its proofs."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors import trees

from fl_orchestrator.model.chunk_tree import (
    TreeHasher,
    chunk,
    root_from_proof,
    tree_of,
    verify,
)
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import Layout, minimal_depth
from fl_orchestrator.model.vector_file import in_blocks

sizes = st.lists(st.one_of(st.integers(0, 3), st.integers(250, 520)), min_size=1, max_size=5)


def layout_of(tensor_sizes: list[int], depth: int | None = None, *, packed: bool = False) -> Layout:
    tensors = ((str(i), [size], 0) for i, size in enumerate(tensor_sizes))
    return Layout.of(tensors, depth, packed=packed)


def vector_of(layout: Layout, dtype: str, seed: int = 0) -> NDArray[np.signedinteger]:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max + 1, layout.parameters, dtype)


def materialised(layout: Layout, vector: NDArray[np.signedinteger]) -> list[bytes]:
    tensors = [vector[t.start : t.stop].tolist() for t in layout.tensors]
    bits = vector.dtype.itemsize * 8
    return trees.chunks(bits, tensors, layout.depth, packed=layout.packed)


@given(sizes, st.integers(0, 2), st.sampled_from(["int16", "int32"]), st.booleans(), st.data())
def test_the_tree_is_that_of_all_chunks(
    tensor_sizes: list[int], spare: int, dtype: str, packed: bool, data: st.DataObject
) -> None:
    layout = layout_of(tensor_sizes, packed=packed)
    layout = layout_of(tensor_sizes, layout.depth + spare, packed=packed)
    vector = vector_of(layout, dtype, seed=sum(tensor_sizes))
    cuts = data.draw(st.lists(st.integers(0, layout.parameters), max_size=6).map(sorted))
    hasher = TreeHasher(layout, dtype)
    for block in np.split(vector, cuts):
        hasher.update(block)
    tree = hasher.finish()
    leaves = materialised(layout, vector)
    for height, row in enumerate(trees.levels(leaves)):
        assert [tree.node(height, i) for i in range(len(row))] == row
    for index, leaf in enumerate(leaves):
        assert chunk(layout, vector, index) == leaf
        assert verify(tree.root, layout.depth, index, leaf, tree.proof(index))


@pytest.mark.parametrize(
    "tensor_sizes",
    [[3] * 300, [40_000, 1, 13_000], [256 * 48, 256 * 47, 256 * 49 + 1], [1, 256 * 200]],
    ids=str,
)
@pytest.mark.parametrize("block", [1000, 12_289, 33_000, 10**6])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_short_and_long_pieces_of_a_vector_are_hashed_in_order(
    tensor_sizes: list[int], block: int, packed: bool
) -> None:
    layout = layout_of(tensor_sizes, packed=packed)
    vector = vector_of(layout, "int16")
    hasher = TreeHasher(layout, "int16")
    for part in in_blocks(vector, block):
        hasher.update(part)
    tree = hasher.finish()
    for height, row in enumerate(trees.levels(materialised(layout, vector))):
        assert [tree.node(height, i) for i in range(len(row))] == row


def test_the_deepest_tree_of_a_small_model_takes_no_time() -> None:
    layout = layout_of([10], depth=21)
    vector = vector_of(layout, "int16")
    start = time.process_time()
    tree = tree_of(layout, vector)
    assert time.process_time() - start < 0.1
    last = 2**21 - 1
    assert len(tree.proof(last)) == 21
    assert verify(tree.root, 21, last, bytes(512), tree.proof(last))
    assert verify(tree.root, 21, 0, chunk(layout, vector, 0), tree.proof(0))


@given(st.integers(0, 599), st.integers(1, 2**16 - 1))
def test_any_other_value_gives_another_root(position: int, change: int) -> None:
    layout = layout_of([300, 300])
    vector = vector_of(layout, "int16")
    changed = vector.copy()
    changed.view(np.uint16)[position] ^= np.uint16(change)
    assert tree_of(layout, vector).root != tree_of(layout, changed).root


def test_a_value_moved_across_a_tensor_boundary_gives_another_root() -> None:
    vector = np.arange(1, 21, dtype=np.int16)
    assert tree_of(layout_of([10, 10]), vector).root != tree_of(layout_of([11, 9]), vector).root


def test_memory_order_and_byte_order_do_not_matter() -> None:
    layout = layout_of([700])
    vector = vector_of(layout, "int32")
    strided = np.repeat(vector, 2)[::2]
    assert tree_of(layout, strided).root == tree_of(layout, vector).root
    assert tree_of(layout, vector.astype(">i4")).root == tree_of(layout, vector).root


def test_a_proof_holds_for_its_own_chunk_place_and_root_only() -> None:
    layout = layout_of([256 * 5], depth=3)
    vector = vector_of(layout, "int16")
    tree = tree_of(layout, vector)
    data, proof = chunk(layout, vector, 2), tree.proof(2)
    assert verify(tree.root, 3, 2, data, proof)
    assert not verify(tree.root, 3, 3, data, proof)
    assert not verify(tree.root, 3, 2, data[:-1] + bytes([data[-1] ^ 1]), proof)
    assert not verify(tree.root, 3, 2, data, proof[::-1])
    assert not verify(keccak256(b""), 3, 2, data, proof)
    # Outside of the tree: an index whose low bits are right, and paths of another length.
    assert not verify(tree.root, 3, 2 + 8, data, proof)
    assert not verify(tree.root, 3, -6, data, proof)
    assert not verify(tree.root, 2, 2, data, proof[:2])
    inner = tree.node(1, 1)
    assert root_from_proof(inner, 1, proof[1:]) == tree.root
    assert not verify(tree.root, 3, 1, inner, proof[1:])


@pytest.mark.parametrize(("height", "index"), [(4, 0), (-1, 0), (0, 8), (3, 1), (0, -1)])
def test_there_is_no_node_outside_of_the_tree(height: int, index: int) -> None:
    tree = tree_of(layout_of([10], depth=3), np.zeros(10, np.int16))
    with pytest.raises(IndexError):
        tree.node(height, index)


@pytest.mark.parametrize("index", [-1, 8])
def test_there_is_no_proof_or_chunk_outside_of_the_tree(index: int) -> None:
    layout, vector = layout_of([10], depth=3), np.zeros(10, np.int16)
    with pytest.raises(IndexError):
        tree_of(layout, vector).proof(index)
    with pytest.raises(IndexError):
        chunk(layout, vector, index)


def test_a_vector_of_another_size_or_type_is_refused() -> None:
    layout = layout_of([300, 0, 10])
    with pytest.raises(ValueError, match="fewer"):
        tree_of(layout, np.zeros(309, np.int16))
    with pytest.raises(ValueError, match="more"):
        tree_of(layout, np.zeros(311, np.int16))
    hasher = TreeHasher(layout, np.int16)
    for dtype in (np.int32, np.uint16, np.float16):
        with pytest.raises(ValueError, match="int16"):
            hasher.update(np.zeros(310, dtype))


def test_a_model_too_large_for_its_depth_has_no_tree() -> None:
    with pytest.raises(ValueError, match="depth of 1"):
        tree_of(layout_of([257, 257], depth=1), np.zeros(514, np.int16))


def test_watching_passes_the_blocks_through() -> None:
    layout = layout_of([700])
    vector = vector_of(layout, "int16")
    hasher = TreeHasher(layout, np.int16)
    passed = list(hasher.watch([vector[:300], vector[300:]]))
    assert np.array_equal(np.concatenate(passed), vector)
    assert hasher.finish().root == tree_of(layout, vector).root


@given(sizes, st.booleans())
def test_coordinates_and_positions_agree(tensor_sizes: list[int], packed: bool) -> None:
    layout = layout_of(tensor_sizes, packed=packed)
    assert layout.chunks <= 2**layout.depth
    assert minimal_depth(layout.chunks) == layout.depth
    found = {}
    for coordinate in range(layout.padded_size):
        located = layout.locate(coordinate)
        if located is not None:
            found[coordinate] = located
    assert [layout.coordinate(p) for p in range(layout.parameters)] == list(found)
    wanted = [(str(i), (j,)) for i, size in enumerate(tensor_sizes) for j in range(size)]
    assert list(found.values()) == wanted
    assert layout.locate(-1) is None
    assert layout.locate(layout.padded_size) is None


def test_a_coordinate_is_located_in_its_tensors_shape() -> None:
    layout = Layout.of([("a", [3, 100], 0), ("scalar", [], 0)])
    assert layout.locate(205) == ("a", (2, 5))
    assert layout.locate(512) == ("scalar", ())
    assert [view.shape for view in layout.split(np.zeros(301))] == [(3, 100), ()]


@given(sizes)
def test_in_a_packed_layout_every_coordinate_below_the_number_of_values_is_a_value(
    tensor_sizes: list[int],
) -> None:
    layout = layout_of(tensor_sizes, packed=True)
    assert [layout.coordinate(p) for p in range(layout.parameters)] == list(
        range(layout.parameters)
    )
    assert layout.padded_size - layout.parameters < 256
    whole = layout_of([sum(tensor_sizes)])
    vector = vector_of(layout, "int16")
    assert tree_of(layout, vector).root == tree_of(whole, vector).root


@given(st.integers(0, 2000), st.integers(0, 2), st.data())
def test_the_tree_of_masked_values_has_chunks_of_64(
    size: int, spare: int, data: st.DataObject
) -> None:
    layout = layout_of([size], layout_of([size]).depth + spare, packed=True)
    vector = np.random.default_rng(size).integers(0, 2**32, size, np.uint32)
    cuts = data.draw(st.lists(st.integers(0, size), max_size=6).map(sorted))
    hasher = TreeHasher(layout, np.uint32)
    for block in np.split(vector, cuts):
        hasher.update(block)
    tree = hasher.finish()
    leaves = trees.masked_chunks(vector.tolist(), layout.depth)
    for height, row in enumerate(trees.levels(leaves)):
        assert [tree.node(height, i) for i in range(len(row))] == row
    assert [chunk(layout, vector, i) for i in range(len(leaves))] == leaves
    with pytest.raises(IndexError):
        chunk(layout, vector, len(leaves))
