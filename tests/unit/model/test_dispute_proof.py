"""What disputes show of a vector, against the trees and the chunks that it is taken from."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl_orchestrator.model.chunk_tree import Tree, chunk, root_from_proof, tree_of
from fl_orchestrator.model.disputes.answers import (
    Answer,
    first_wrong_node,
    levels_shown,
    nodes_below,
    path_above,
)
from fl_orchestrator.model.disputes.proof import (
    ChunkProof,
    first_wrong_coordinate,
    proof_from_answers,
    prove_chunk,
    wrong_coordinate_of_chunk,
)
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.vector_file import (
    VectorFileError,
    VectorKind,
    VectorMeta,
    in_blocks,
    write_vector,
)

FEDERATION = "0x" + "ab" * 20
sizes = st.lists(st.one_of(st.integers(0, 3), st.integers(250, 520)), min_size=1, max_size=5)
kinds = st.sampled_from([VectorKind.GLOBAL, VectorKind.UPDATE])


def layout_of(tensor_sizes: list[int], spare: int = 0, *, packed: bool = False) -> Layout:
    tensors = [(str(i), [size], 0) for i, size in enumerate(tensor_sizes)]
    depth = Layout.of(tensors, packed=packed).depth + spare
    return Layout.of(tensors, depth, packed=packed)


def vector_of(layout: Layout, kind: VectorKind, seed: int = 0) -> NDArray[np.signedinteger]:
    limits = np.iinfo(kind.dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max + 1, layout.parameters, kind.dtype)


def meta_of(kind: VectorKind) -> VectorMeta:
    return VectorMeta(kind, 1, FEDERATION, 3)


def file_of(layout: Layout, kind: VectorKind, vector: NDArray[np.signedinteger]) -> io.BytesIO:
    stream = io.BytesIO()
    write_vector(stream, layout, meta_of(kind), in_blocks(vector))
    stream.seek(0)
    return stream


@given(sizes, st.integers(0, 2), kinds, st.booleans(), st.data())
def test_a_chunk_of_a_file_is_proven_against_its_root(
    tensor_sizes: list[int], spare: int, kind: VectorKind, packed: bool, data: st.DataObject
) -> None:
    layout = layout_of(tensor_sizes, spare, packed=packed)
    vector = vector_of(layout, kind, seed=sum(tensor_sizes))
    index = data.draw(st.integers(0, (1 << layout.depth) - 1))
    proof = prove_chunk(file_of(layout, kind, vector), layout, meta_of(kind), index)
    tree = tree_of(layout, vector)
    assert proof == ChunkProof(index, chunk(layout, vector, index), tree.proof(index))
    assert proof.root == tree.root
    width = CHUNK_VALUES * kind.dtype.itemsize
    assert proof.packed() == proof.chunk + b"".join(proof.siblings)
    assert len(proof.packed()) == width + 32 * layout.depth


def test_a_chunk_outside_of_the_tree_is_not_proven() -> None:
    layout = layout_of([300])
    stream = file_of(layout, VectorKind.UPDATE, vector_of(layout, VectorKind.UPDATE))
    with pytest.raises(IndexError):
        prove_chunk(stream, layout, meta_of(VectorKind.UPDATE), 2)


def test_nothing_is_proven_of_a_malformed_file() -> None:
    layout = layout_of([300])
    stream = file_of(layout, VectorKind.UPDATE, vector_of(layout, VectorKind.UPDATE))
    with pytest.raises(VectorFileError):
        prove_chunk(io.BytesIO(stream.read()[:-1]), layout, meta_of(VectorKind.UPDATE), 0)


@given(sizes, st.data())
def test_the_first_wrong_coordinate_is_found_among_many(
    tensor_sizes: list[int], data: st.DataObject
) -> None:
    layout = layout_of(tensor_sizes)
    right = vector_of(layout, VectorKind.GLOBAL)
    claimed = right.copy()
    positions = st.integers(0, max(layout.parameters - 1, 0))
    wrong = data.draw(st.sets(positions, max_size=3)) if layout.parameters else set()
    for position in wrong:
        claimed[position] ^= 1 << data.draw(st.integers(0, 30))
    size = data.draw(st.integers(1, 300))
    found = first_wrong_coordinate(layout, in_blocks(claimed, size), in_blocks(right, size))
    assert found == (layout.coordinate(min(wrong)) if wrong else None)


def test_the_wrong_coordinate_of_a_chunk_counts_from_the_models_start() -> None:
    right = ChunkProof(3, bytes(1024), ())
    wrong = ChunkProof(3, bytes(1023) + b"\x80", ())
    assert wrong_coordinate_of_chunk(wrong, right) == 4 * CHUNK_VALUES - 1
    assert wrong_coordinate_of_chunk(right, right) is None


def deep_tree(depth: int, seed: int = 0, changed: int | None = None) -> tuple[Tree, Layout]:
    """A tree of 2^depth chunks of random values, one of them changed."""
    layout = layout_of([CHUNK_VALUES << depth])
    vector = vector_of(layout, VectorKind.GLOBAL, seed)
    if changed is not None:
        vector[changed] ^= 1
    return tree_of(layout, vector), layout


@pytest.mark.parametrize("level", range(9))
def test_an_answer_shows_the_nodes_six_levels_below_and_the_path_above(level: int) -> None:
    tree, _ = deep_tree(8)
    for index in {0, (1 << 8 - level) - 1, (1 << 8 - level) // 2}:
        node = tree.node(level, index)
        path = path_above(tree, level, index)
        siblings = [path[i : i + 32] for i in range(0, len(path), 32)]
        assert len(siblings) == 8 - level
        assert root_from_proof(node, index, siblings) == tree.root
        if level:
            shown = nodes_below(tree, level, index)
            row = [shown[i : i + 32] for i in range(0, len(shown), 32)]
            assert len(row) == 1 << min(6, level)
            while len(row) > 1:
                row = [keccak256(a + b) for a, b in zip(row[::2], row[1::2], strict=True)]
            assert row == [node]


@given(st.integers(0, 9), st.data())
def test_a_descent_ends_at_the_wrong_chunk_with_its_proof(depth: int, data: st.DataObject) -> None:
    changed = data.draw(st.integers(0, (CHUNK_VALUES << depth) - 1))
    right, layout = deep_tree(depth)
    claimed, _ = deep_tree(depth, changed=changed)
    vector = vector_of(layout, VectorKind.GLOBAL)
    vector[changed] ^= 1

    level, index, answers = depth, 0, []
    while level:
        answer = Answer(level, index, nodes_below(claimed, level, index))
        answers.append(answer)
        assert first_wrong_node(right, Answer(level, index, nodes_below(right, level, index))) is (
            None
        )
        found = first_wrong_node(right, answer)
        assert found is not None
        level, index = level - levels_shown(level), found
    answers.append(Answer(0, index, chunk(layout, vector, index)))

    proof = proof_from_answers(answers)
    assert proof.root == claimed.root
    assert proof.siblings == claimed.proof(index)
    honest = ChunkProof(index, chunk(layout, vector_of(layout, VectorKind.GLOBAL), index), ())
    assert wrong_coordinate_of_chunk(proof, honest) == changed


def test_proving_a_chunk_does_not_read_the_file_into_memory(tmp_path: Path) -> None:
    layout, path = layout_of([1 << 22]), tmp_path / "update"
    with path.open("wb") as stream:
        blocks = (np.zeros(1 << 15, np.int16) for _ in range(1 << 7))
        write_vector(stream, layout, meta_of(VectorKind.UPDATE), blocks)
    tracemalloc.start()
    try:
        with path.open("rb") as stream:
            prove_chunk(stream, layout, meta_of(VectorKind.UPDATE), 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2
