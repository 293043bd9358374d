"""The state of a federation with momentum: two vectors, in one file and in one tree."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import arithmetic

from fl_orchestrator.model.chunk_tree import (
    chunk,
    chunk_slice,
    root_from_proof,
    tree_depth,
    tree_of,
    verify,
)
from fl_orchestrator.model.disputes.proof import prove_chunk, read_chunk
from fl_orchestrator.model.fixed_point import (
    float_view,
    genesis_state,
    next_with_momentum,
    saturated_tensors,
)
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind, ServerStep
from fl_orchestrator.model.vector_file import (
    Defect,
    VectorFileError,
    VectorMeta,
    VectorReader,
    in_blocks,
    read_vector,
    write_vector,
)

PLACES = [("body", (300,), 0), ("tail", (7,), 2)]
MODEL = Layout.of(PLACES, 3)
LAYOUT = Layout.of(PLACES, 3, momentum=True)
SIZE = LAYOUT.parameters
META = VectorMeta.genesis()
INT32 = st.integers(-(2**31), 2**31 - 1)


def state() -> np.ndarray:
    return np.random.default_rng(5).integers(-(2**31), 2**31, 2 * SIZE).astype(np.int32)


def file_of(vector: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    write_vector(stream, LAYOUT, META, in_blocks(vector, 100))
    stream.seek(0)
    return stream


def test_its_tree_stands_on_those_of_model_and_momentum() -> None:
    tree, halves = tree_of(LAYOUT, state()), np.split(state(), 2)
    roots = [tree_of(MODEL, half).root for half in halves]
    assert tree.root == keccak256(b"".join(roots))
    assert tree.depth == tree_depth(LAYOUT, np.int32) == MODEL.depth + 1
    assert [tree.node(3, 0), tree.node(3, 1)] == roots


def test_an_update_has_the_tree_that_it_has_without_momentum() -> None:
    update = state()[:SIZE].astype(np.int16)
    assert tree_of(LAYOUT, update) == tree_of(MODEL, update)
    assert tree_depth(LAYOUT, np.int16) == MODEL.depth


@pytest.mark.parametrize("index", range(16))
def test_every_chunk_is_proven_and_read_also_from_a_file(index: int) -> None:
    tree, data = tree_of(LAYOUT, state()), chunk(LAYOUT, state(), index)
    assert verify(tree.root, 4, index, data, tree.proof(index))
    proof = prove_chunk(file_of(state()), LAYOUT, META, index)
    assert (proof.chunk, proof.siblings, proof.root) == (data, tree.proof(index), tree.root)
    assert read_chunk(file_of(state()), LAYOUT, META, index) == data
    assert root_from_proof(keccak256(data), index, tree.proof(index)) == tree.root


@pytest.mark.parametrize("position", [0, 299, 300, 306, 307, 606, 613])
def test_a_position_is_where_its_coordinate_says(position: int) -> None:
    coordinate = LAYOUT.coordinate(position)
    held = chunk_slice(LAYOUT, coordinate // CHUNK_VALUES)
    assert held.start + coordinate % CHUNK_VALUES == position
    moving = position >= SIZE
    assert LAYOUT.step_coordinate(coordinate) == MODEL.coordinate(position % SIZE)
    found, of_model = LAYOUT.locate(coordinate), MODEL.locate(MODEL.coordinate(position % SIZE))
    assert found is not None
    assert of_model is not None
    assert found == ("momentum of " * moving + of_model[0], of_model[1])
    index = coordinate // CHUNK_VALUES
    assert LAYOUT.base_chunks(index) == ((index,) if moving else (index, index + 8))


@pytest.mark.parametrize("coordinate", [310, 600, 2047, 2048 + 310, 4095, 4096, 10_000])
def test_beyond_the_tensors_is_padding(coordinate: int) -> None:
    assert LAYOUT.locate(coordinate) is None


@pytest.mark.parametrize("index", [-1, 16])
def test_outside_of_the_tree_is_no_node(index: int) -> None:
    tree = tree_of(LAYOUT, state())
    for height, number in ((0, index), (5, 0), (4, 1)):
        with pytest.raises(IndexError):
            tree.node(height, number)
    with pytest.raises(IndexError):
        chunk_slice(LAYOUT, index)


def test_a_file_has_the_model_and_then_the_momentum_as_one_tensor() -> None:
    meta, found = read_vector(file_of(state()), LAYOUT, META)
    assert (meta, found.tolist()) == (META, state().tolist())
    blocks = list(VectorReader(file_of(state()), LAYOUT, META).blocks(200))
    assert [block.size for block in blocks] == [200, 107, 200, 107]
    length = int.from_bytes(file_of(state()).read(8), "little")
    header = file_of(state()).getvalue()[8 : 8 + length]
    assert b'"__momentum__":{"dtype":"I32","shape":[307],"data_offsets":[1228,2456]}' in header


def test_a_file_without_momentum_is_refused_and_so_is_one_that_is_cut() -> None:
    plain = io.BytesIO()
    write_vector(plain, MODEL, META, in_blocks(state()[:SIZE]))
    plain.seek(0)
    with pytest.raises(VectorFileError) as refusal:
        read_vector(plain, LAYOUT, META)
    assert refusal.value.defect is Defect.NAMES
    with pytest.raises(VectorFileError) as refusal:
        read_vector(io.BytesIO(file_of(state()).getvalue()[:-4]), LAYOUT, META)
    assert refusal.value.defect is Defect.TRUNCATED


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE - 1, 2 * SIZE + 1])
def test_a_state_of_another_size_has_no_tree_and_no_view(size: int) -> None:
    with pytest.raises(ValueError, match="values"):
        tree_of(LAYOUT, np.zeros(size, np.int32))
    with pytest.raises(ValueError, match="flat vector of a state"):
        float_view(LAYOUT, np.zeros(size, np.int32))


def test_genesis_has_no_momentum_and_the_view_is_that_of_the_model() -> None:
    weights = [np.full(300, 0.5, np.float32), np.full(7, -1.0, np.float32)]
    genesis = genesis_state(LAYOUT, weights)
    assert genesis[:SIZE].tolist() == genesis_state(MODEL, weights).tolist()
    assert genesis[SIZE:].tolist() == [0] * SIZE
    genesis[SIZE:] = 9
    for view, weight in zip(float_view(LAYOUT, genesis), weights, strict=True):
        assert view.tolist() == weight.tolist()


def test_a_tensor_whose_momentum_is_at_the_limit_is_named() -> None:
    vector = np.zeros(2 * SIZE, np.int32)
    vector[SIZE + 302] = -(2**31)
    assert saturated_tensors(LAYOUT, vector) == ("tail",)


@given(
    INT32,
    INT32,
    st.integers(-(2**15), 2**15 - 1),
    st.integers(0, 24),
    st.integers(1, 1_000_000),
    st.integers(1, 9_999),
)
def test_a_step_moves_model_and_momentum_as_the_reference_says(
    base: int, momentum: int, step: int, bits: int, rate: int, beta: int
) -> None:
    found = next_with_momentum(
        np.array([base], np.int32),
        np.array([momentum], np.int32),
        np.array([step], np.int16),
        bits,
        ServerStep(rate, beta),
    )
    wanted = arithmetic.server_step(base, momentum, step, bits, rate, beta)
    assert tuple(int(values[0]) for values in found) == wanted


def test_a_rule_says_what_the_server_does_in_one_way() -> None:
    plain = RuleSpec.of(RuleKind.MEDIAN, server_learning_rate_bps=10_000, server_momentum_bps=0)
    assert plain == RuleSpec(kind=RuleKind.MEDIAN)
    moving = RuleSpec.of(RuleKind.MEDIAN, server_learning_rate_bps=500, server_momentum_bps=9_000)
    assert moving.server == ServerStep(500, 9_000)
    assert str(moving) == "median (server learning rate 0.05, server momentum 0.9)"
    for field, value in (("server_learning_rate_bps", 10_000), ("server_momentum_bps", 0)):
        with pytest.raises(ValueError, match="server"):
            RuleSpec.model_validate({"kind": RuleKind.MEDIAN, field: value})
