"""Files of masked updates: values, then a seal whose length the reader knows beforehand."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.model.chunk_root import read_masked
from fl_orchestrator.model.chunk_tree import chunk, root_from_proof, tree_of
from fl_orchestrator.model.disputes.proof import prove_chunk
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import (
    Defect,
    VectorFileError,
    VectorKind,
    VectorMeta,
    VectorReader,
    in_blocks,
    max_file_bytes,
    read_tree,
    write_vector,
)

ADDRESS = "0x" + "ab" * 20
LAYOUT = Layout.of([("w", [300, 4], 0), ("none", [0], 0), ("b", [7], 3)], 4, packed=True)
MASKED = VectorMeta(VectorKind.MASKED, 31337, ADDRESS, 5)
UPDATE = VectorMeta(VectorKind.UPDATE, 31337, ADDRESS, 5)
SEAL = np.random.default_rng(1).bytes(1234)
VALUES = np.random.default_rng(2).integers(0, 2**32, LAYOUT.parameters, np.uint32)


def file_of(seal: bytes = SEAL) -> bytes:
    stream = io.BytesIO()
    write_vector(stream, LAYOUT, MASKED, in_blocks(VALUES), seal)
    return stream.getvalue()


def read(data: bytes, seal_bytes: int = len(SEAL)) -> Any:
    return read_masked(io.BytesIO(data), LAYOUT, MASKED, seal_bytes)


def defect_of(data: bytes, seal_bytes: int = len(SEAL)) -> Defect:
    with pytest.raises(VectorFileError) as caught:
        read(data, seal_bytes)
    return caught.value.defect


def test_values_and_seal_are_read_back() -> None:
    data = file_of()
    assert len(data) <= max_file_bytes(LAYOUT, VectorKind.MASKED, len(SEAL))
    assert tree_of(LAYOUT, VALUES).depth == LAYOUT.depth + 2
    assert read(data) == (tree_of(LAYOUT, VALUES).root, SEAL)
    reader = VectorReader(io.BytesIO(data), LAYOUT, MASKED, seal_bytes=len(SEAL))
    assert np.array_equal(np.concatenate(list(reader.blocks(100))), VALUES)
    assert reader.seal == SEAL


def test_the_safetensors_library_reads_masked_files() -> None:
    tensors = safetensors.numpy.load(file_of())
    assert sorted(tensors) == ["masked", "seal"]
    assert np.array_equal(tensors["masked"], VALUES)
    assert tensors["seal"].tobytes() == SEAL
    assert tensors["seal"].dtype == np.uint8


def test_the_seal_is_not_in_the_tree() -> None:
    assert read(file_of(b"x" * len(SEAL)))[0] == read(file_of())[0]


@pytest.mark.parametrize("length", [0, 7, 100, len(file_of()) - len(SEAL), len(file_of()) - 1])
def test_a_truncated_masked_file_is_refused(length: int) -> None:
    assert defect_of(file_of()[:length]) is Defect.TRUNCATED


def test_bytes_behind_the_seal_are_refused() -> None:
    assert defect_of(file_of() + b"\0") is Defect.OVERSIZED


@pytest.mark.parametrize("seal_bytes", [1, len(SEAL) - 1, len(SEAL) + 1, 2**40])
def test_a_seal_of_another_length_is_refused_before_it_is_read(seal_bytes: int) -> None:
    assert defect_of(file_of(), seal_bytes) is Defect.SHAPE


def test_the_last_values_are_held_back_until_the_seal_is_whole() -> None:
    reader = VectorReader(io.BytesIO(file_of()[:-1]), LAYOUT, MASKED, seal_bytes=len(SEAL))
    blocks = reader.blocks(LAYOUT.parameters)
    with pytest.raises(VectorFileError):
        next(blocks)


def test_a_masked_file_is_not_taken_for_another_kind_nor_another_for_it() -> None:
    with pytest.raises(VectorFileError):
        read_tree(io.BytesIO(file_of()), LAYOUT)
    stream = io.BytesIO()
    write_vector(stream, LAYOUT, UPDATE, in_blocks(VALUES.astype(np.int16)))
    assert defect_of(stream.getvalue()) is Defect.METADATA
    assert defect_of(stream.getvalue(), 0) is Defect.METADATA


@given(st.integers(0, 400), st.integers(1, 255))
def test_any_changed_byte_of_a_masked_header_is_refused(position: int, change: int) -> None:
    data = bytearray(file_of())
    position %= len(data) - len(SEAL) - 4 * LAYOUT.parameters
    data[position] ^= change
    with pytest.raises(VectorFileError):
        read(bytes(data))


def test_only_a_masked_update_is_written_with_a_seal() -> None:
    for meta, seal in ((MASKED, b""), (UPDATE, SEAL)):
        stream = io.BytesIO()
        with pytest.raises(ValueError, match="seal"):
            write_vector(stream, LAYOUT, meta, in_blocks(VALUES), seal)
        assert stream.getvalue() == b""


def test_masked_values_have_no_tree_in_a_padded_layout() -> None:
    padded = Layout.of([("w", [300], 0)])
    with pytest.raises(ValueError, match="packed"):
        tree_of(padded, VALUES[:300])


@given(st.integers(0, (1 << LAYOUT.depth + 2) - 1))
def test_masked_values_are_proven_against_values_and_seal(index: int) -> None:
    stream = io.BytesIO(file_of())
    proof = prove_chunk(stream, LAYOUT, MASKED, index, len(SEAL))
    assert proof.chunk == chunk(LAYOUT, VALUES, index)
    assert len(proof.chunk) == 256
    assert len(proof.siblings) == LAYOUT.depth + 2
    assert proof.root == tree_of(LAYOUT, VALUES).root
    # The hash of the seal is one more sibling, on the right.
    seal_hash = keccak256(SEAL)
    whole = root_from_proof(keccak256(proof.chunk), index, (*proof.siblings, seal_hash))
    assert whole == keccak256(proof.root + seal_hash)


def test_masked_files_are_read_in_blocks_of_memory() -> None:
    layout = Layout.of([("w", [4_000_000], 0)], packed=True)
    stream = io.BytesIO()
    write_vector(stream, layout, MASKED, in_blocks(np.zeros(4_000_000, np.uint32)), SEAL)
    stream.seek(0)
    tracemalloc.start()
    read_masked(stream, layout, MASKED, len(SEAL))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The tree would have 4 MB. The values are 16 MB.
    assert peak < 1_000_000
