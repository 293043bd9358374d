"""Canonical files: one spelling of each vector, and everything else refused."""

import io
import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.model.chunk_tree import tree_of
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
    read_vector,
    write_vector,
)

ADDRESS = "0x" + "Ab" * 20
LAYOUT = Layout.of([("w", [300, 4], 0), ('é\n/../"', [], 0), ("none", [0, 2], 0), ("b", [7], 3)], 4)
UPDATE = VectorMeta(VectorKind.UPDATE, 31337, ADDRESS, 5)
GLOBAL = VectorMeta(VectorKind.GLOBAL, 31337, ADDRESS, 5)


def vector(meta: VectorMeta = UPDATE) -> np.ndarray:
    limits = np.iinfo(meta.kind.dtype)
    rng = np.random.default_rng(0)
    return rng.integers(limits.min, limits.max + 1, LAYOUT.parameters).astype(meta.kind.dtype)


def file_of(meta: VectorMeta = UPDATE) -> bytes:
    stream = io.BytesIO()
    write_vector(stream, LAYOUT, meta, in_blocks(vector(meta)))
    return stream.getvalue()


def header_of(data: bytes) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def with_header(header: Any, data: bytes, *, ascii_only: bool = False) -> bytes:
    """The file's values behind another header, padded as the canonical one."""
    body = data[8 + int.from_bytes(data[:8], "little") :]
    text = json.dumps(header, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize("meta", [UPDATE, GLOBAL, VectorMeta.genesis()], ids=str)
def test_a_file_is_read_back(meta: VectorMeta) -> None:
    data = file_of(meta)
    assert len(data) <= max_file_bytes(LAYOUT, meta.kind)
    read_meta, read = read_vector(io.BytesIO(data), LAYOUT, expected=meta)
    assert read_meta == meta
    assert read.dtype == meta.kind.dtype
    assert np.array_equal(read, vector(meta))
    assert read_tree(io.BytesIO(data), LAYOUT).root == tree_of(LAYOUT, vector(meta)).root


def test_the_safetensors_library_reads_our_files() -> None:
    tensors = safetensors.numpy.load(file_of())
    for tensor, wanted in zip(LAYOUT.tensors, LAYOUT.split(vector()), strict=True):
        assert np.array_equal(tensors[tensor.name], wanted)
        assert tensors[tensor.name].shape == tensor.shape


@given(st.lists(st.integers(0, LAYOUT.parameters), max_size=5).map(sorted), st.integers(1, 2000))
def test_the_cut_into_blocks_does_not_matter(cuts: list[int], size: int) -> None:
    stream = io.BytesIO()
    tree = write_vector(stream, LAYOUT, UPDATE, np.split(vector(), cuts))
    assert stream.getvalue() == file_of()
    assert tree.root == tree_of(LAYOUT, vector()).root
    stream.seek(0)
    blocks = list(VectorReader(stream, LAYOUT).blocks(size))
    assert all(block.size == size for block in blocks[:-1])
    assert np.array_equal(np.concatenate(blocks), vector())


WRITE = """
import sys, numpy as np
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, in_blocks, write_vector
layout = Layout.of([(f"tensor {i}", [3, i], 0) for i in range(50)])
meta = VectorMeta(VectorKind.UPDATE, 1, "0x" + "ab" * 20, 2)
vector = np.arange(layout.parameters, dtype=np.int16)
write_vector(sys.stdout.buffer, layout, meta, in_blocks(vector))
"""


def test_two_processes_write_the_same_file() -> None:
    files = [
        subprocess.run(
            [sys.executable, "-c", WRITE],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 50 * 49 * 3


class Dribble(io.RawIOBase):
    """A stream that gives at most three bytes at a time, as a socket may."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, 3))


def test_short_reads_are_put_together() -> None:
    stream: Any = Dribble(file_of())
    assert np.array_equal(read_vector(stream, LAYOUT)[1], vector())


def refusal(data: bytes, expected: VectorMeta | None = None) -> Defect:
    with pytest.raises(VectorFileError) as caught:
        read_vector(io.BytesIO(data), LAYOUT, expected)
    with pytest.raises(VectorFileError):
        read_tree(io.BytesIO(data), LAYOUT, expected)
    return caught.value.defect


@given(st.integers(0, len(file_of()) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    assert refusal(file_of()[:length]) is Defect.TRUNCATED


@pytest.mark.parametrize("extra", [b"\0", b" " * 5000])
def test_an_oversized_file_is_refused(extra: bytes) -> None:
    assert refusal(file_of() + extra) is Defect.OVERSIZED


def test_a_file_of_another_round_or_federation_is_refused() -> None:
    for other in (
        VectorMeta(VectorKind.UPDATE, 31337, ADDRESS, 6),
        VectorMeta(VectorKind.UPDATE, 1, ADDRESS, 5),
        VectorMeta(VectorKind.UPDATE, 31337, "0x" + "cd" * 20, 5),
        GLOBAL,
    ):
        assert refusal(file_of(), expected=other) is Defect.METADATA


@given(st.integers(0, len(file_of()) - 1 - 2 * LAYOUT.parameters), st.integers(1, 255))
def test_any_changed_byte_of_the_header_is_refused_or_seen(position: int, change: int) -> None:
    data = bytearray(file_of())
    data[position] ^= change
    with pytest.raises(VectorFileError):
        read_vector(io.BytesIO(bytes(data)), LAYOUT, expected=UPDATE)


def change_tensor(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header[name].update(changes)

    return change


def rename(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        entries = [(new if key == old else key, value) for key, value in header.items()]
        header.clear()
        header.update(entries)

    return change


def change_meta(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        for key, value in changes.items():
            header["__metadata__"].pop(key)
            if value is not None:
                header["__metadata__"][key] = value

    return change


def swap_first_two(header: dict[str, Any]) -> None:
    entries = list(header.items())
    entries[1:3] = reversed(entries[1:3])
    header.clear()
    header.update(entries)


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], Any], Defect]] = {
    "another name": (rename("w", "v"), Defect.NAMES),
    "a path for a name": (rename("w", "../../etc/passwd"), Defect.NAMES),
    "a missing tensor": (lambda h: h.pop("b"), Defect.NAMES),
    "one tensor more": (lambda h: h.update(x=h["b"]), Defect.NAMES),
    "another order": (swap_first_two, Defect.NAMES),
    "float values": (change_tensor("w", dtype="F16"), Defect.DTYPE),
    "unsigned values": (change_tensor("w", dtype="U16"), Defect.DTYPE),
    "wider values": (change_tensor("w", dtype="I32"), Defect.DTYPE),
    "a list for a dtype": (change_tensor("w", dtype=["I16"]), Defect.DTYPE),
    "a transposed shape": (change_tensor("w", shape=[4, 300]), Defect.SHAPE),
    "a flat shape": (change_tensor("w", shape=[1200]), Defect.SHAPE),
    "a huge shape": (change_tensor("w", shape=[10**30]), Defect.SHAPE),
    "a negative shape": (change_tensor("w", shape=[-300, -4]), Defect.SHAPE),
    "overlapping tensors": (change_tensor("b", data_offsets=[0, 14]), Defect.OFFSETS),
    "offsets beyond the file": (change_tensor("b", data_offsets=[2402, 10**18]), Defect.OFFSETS),
    "a gap": (change_tensor("b", data_offsets=[2404, 2418]), Defect.OFFSETS),
    "a key more": (change_tensor("b", pickled=True), Defect.NOT_CANONICAL),
    "a float for a dimension": (change_tensor("b", shape=[7.0]), Defect.NOT_CANONICAL),
    "a list for a tensor": (lambda h: h.update(w=[]), Defect.DTYPE),
    "no metadata": (lambda h: h.pop("__metadata__"), Defect.METADATA),
    "a list for metadata": (lambda h: h.update(__metadata__=[]), Defect.METADATA),
    "another kind": (change_meta(kind="gradient"), Defect.METADATA),
    "no round": (change_meta(round=None), Defect.METADATA),
    "a number for a round": (change_meta(round=5), Defect.METADATA),
    "a signed round": (change_meta(round="+5"), Defect.METADATA),
    "a round with zeros": (change_meta(round="05"), Defect.METADATA),
    "a round in other digits": (change_meta(round="٥"), Defect.METADATA),
    "a round beyond uint64": (change_meta(round=str(2**64)), Defect.METADATA),
    "a chain id beyond uint256": (change_meta(chainId=str(2**256)), Defect.METADATA),
    "a federation in upper case": (change_meta(federation=ADDRESS), Defect.NOT_CANONICAL),
    "a federation that is none": (change_meta(federation="0x12"), Defect.METADATA),
    "metadata in another order": (change_meta(chainId="31337"), Defect.NOT_CANONICAL),
    "one more metadata value": (lambda h: h["__metadata__"].update(a=""), Defect.NOT_CANONICAL),
}


@pytest.mark.parametrize("case", HEADERS)
def test_another_header_is_refused(case: str) -> None:
    change, defect = HEADERS[case]
    header = header_of(file_of())
    change(header)
    assert refusal(with_header(header, file_of())) is defect


def test_the_same_header_is_not_refused_by_the_same_road() -> None:
    assert with_header(header_of(file_of()), file_of()) == file_of()


def test_another_spelling_of_the_header_is_refused() -> None:
    escaped = with_header(header_of(file_of()), file_of(), ascii_only=True)
    assert refusal(escaped) is Defect.NOT_CANONICAL
    padded = file_of()
    size = int.from_bytes(padded[:8], "little") + 8
    padded = size.to_bytes(8, "little") + padded[8:size] + b" " * 8 + padded[size:]
    assert refusal(padded) is Defect.NOT_CANONICAL


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    """The limit as libraries raise it (py-evm does on import): no protection of the C stack."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"7", b"{", b"null", b"\xff" * 8, b"[" * 200_000, b'{"a":' * 20_000, b"9" * 9000],
    ids=["nothing", "list", "number", "open", "null", "bytes", "deep list", "deep", "huge number"],
)
@pytest.mark.usefixtures("deep_recursion")
def test_a_header_that_is_not_an_object_is_refused(text: bytes) -> None:
    many = Layout.of([(f"{i:0200}", [1], 0) for i in range(1000)])
    data = len(text).to_bytes(8, "little") + text + bytes(10_000)
    with pytest.raises(VectorFileError) as caught:
        VectorReader(io.BytesIO(data), many)
    assert caught.value.defect is Defect.HEADER


@pytest.mark.parametrize("length", [10**4, 2**31, 2**63, 2**64 - 1])
def test_a_header_that_claims_a_huge_size_is_refused_before_it_is_read(length: int) -> None:
    class Endless(io.RawIOBase):
        """Fails the test when it is asked for more than the length field."""

        def read(self, size: int = -1) -> bytes:
            assert size == 8
            return length.to_bytes(8, "little")

    stream: Any = Endless()
    with pytest.raises(VectorFileError) as caught:
        VectorReader(stream, LAYOUT)
    assert caught.value.defect is Defect.HEADER_LENGTH


def test_other_formats_are_refused() -> None:
    floats = safetensors.numpy.save({"w": np.full((300, 4), np.nan, np.float32)})
    archive = io.BytesIO()
    np.savez(archive, w=vector())
    for data in (floats, archive.getvalue(), pickle.dumps({"w": vector()}), b"", bytes(100)):
        refusal(data)


def test_the_last_block_is_held_back_until_the_file_ends_well() -> None:
    blocks = VectorReader(io.BytesIO(file_of() + b"x"), LAYOUT).blocks(1000)
    assert next(blocks).size == 1000
    with pytest.raises(VectorFileError):
        next(blocks)


def test_reading_takes_blocks_of_memory_not_models() -> None:
    layout = Layout.of([("w", [4_000_000], 0)])
    stream: BinaryIO = io.BytesIO()
    write_vector(stream, layout, UPDATE, in_blocks(np.zeros(4_000_000, np.int16)))
    stream.seek(0)
    tracemalloc.start()
    total = sum(block.size for block in VectorReader(stream, layout).blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 4_000_000
    assert peak < 500_000


def test_a_vector_of_another_size_or_type_is_not_written() -> None:
    for blocks in ([vector()[:-1]], [vector(), vector()[:1]], [vector().astype(np.int32)]):
        with pytest.raises(ValueError, match=r"values|int16"):
            write_vector(io.BytesIO(), LAYOUT, UPDATE, blocks)


@pytest.mark.parametrize(
    "fields",
    [
        ("gradient", 1, ADDRESS, 1),
        (VectorKind.UPDATE, -1, ADDRESS, 1),
        (VectorKind.UPDATE, 2**256, ADDRESS, 1),
        (VectorKind.UPDATE, 1, ADDRESS[2:], 1),
        (VectorKind.UPDATE, 1, ADDRESS + "\n", 1),
        (VectorKind.UPDATE, 1, ADDRESS, -1),
        (VectorKind.UPDATE, 1, ADDRESS, 2**64),
    ],
)
def test_metadata_out_of_range_cannot_be_made(fields: tuple[Any, int, str, int]) -> None:
    with pytest.raises(ValueError, match=r"address|range|gradient"):
        VectorMeta(*fields)


def test_the_longest_metadata_fits_the_size_limit() -> None:
    meta = VectorMeta(VectorKind.GLOBAL, 2**256 - 1, ADDRESS, 2**64 - 1)
    data = file_of(meta)
    assert len(data) == max_file_bytes(LAYOUT, VectorKind.GLOBAL)
    assert read_vector(io.BytesIO(data), LAYOUT)[0] == meta
