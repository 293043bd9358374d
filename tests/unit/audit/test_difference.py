"""What was changed in a vector file is named by its first wrong coordinate."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl_orchestrator.audit import difference as module
from fl_orchestrator.audit.difference import describe, first_difference, flipped_bit
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, in_blocks, write_vector

# The kernel ends within its second chunk, the bias within its first; "none" has no value.
LAYOUT = Layout.of([("kernel", (20, 15), 0), ("none", (0,), 0), ("bias", (3,), 0)])
FEDERATION = "0x" + "ab" * 20
KINDS = [VectorKind.GLOBAL, VectorKind.UPDATE]
on_one_directory = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def meta_of(kind: VectorKind) -> VectorMeta:
    return VectorMeta(kind, 5, FEDERATION, 3)


def write(path: Path, kind: VectorKind) -> bytes:
    """Write a canonical file; return its root."""
    vector = np.arange(LAYOUT.parameters).astype(kind.dtype)
    with path.open("wb") as file:
        return write_vector(file, LAYOUT, meta_of(kind), in_blocks(vector)).root


@pytest.fixture
def right(tmp_path: Path) -> Path:
    return tmp_path / "right"


@pytest.fixture
def found(tmp_path: Path) -> Path:
    return tmp_path / "found"


def data_start(path: Path, kind: VectorKind) -> int:
    return path.stat().st_size - LAYOUT.parameters * kind.dtype.itemsize


def flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_files_differ_nowhere(right: Path, found: Path, kind: VectorKind) -> None:
    write(right, kind)
    write(found, kind)
    assert first_difference(LAYOUT, kind, found, right) == "no coordinate differs"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("position", "words"),
    [
        (0, "0 (kernel[0, 0])"),
        (16, "16 (kernel[1, 1])"),
        (299, "299 (kernel[19, 14])"),
        # The kernel is padded to two chunks.
        (300, "512 (bias[0])"),
        (302, "514 (bias[2])"),
    ],
)
def test_the_first_wrong_value_is_named(
    right: Path, found: Path, kind: VectorKind, position: int, words: str
) -> None:
    write(right, kind)
    write(found, kind)
    start, width = data_start(right, kind), kind.dtype.itemsize
    flip(found, start + position * width + width - 1)
    flip(found, found.stat().st_size - 1, bit=7)
    assert first_difference(LAYOUT, kind, found, right) == (
        f"the first wrong coordinate is {words}"
    )


@on_one_directory
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_any_changed_byte_of_the_data_is_found(
    right: Path, found: Path, kind: VectorKind, data: st.DataObject
) -> None:
    write(right, kind)
    write(found, kind)
    start, width = data_start(right, kind), kind.dtype.itemsize
    byte = data.draw(st.integers(0, LAYOUT.parameters * width - 1))
    flip(found, start + byte, bit=data.draw(st.integers(0, 7)))
    expected = describe(LAYOUT, LAYOUT.coordinate(byte // width))
    assert first_difference(LAYOUT, kind, found, right).endswith(f"coordinate is {expected}")


@pytest.mark.parametrize("byte", [0, 8, 30])
def test_a_changed_header_is_no_coordinate(right: Path, found: Path, byte: int) -> None:
    write(right, VectorKind.GLOBAL)
    write(found, VectorKind.GLOBAL)
    flip(found, byte)
    assert first_difference(LAYOUT, VectorKind.GLOBAL, found, right) == (
        f"the first wrong byte is byte {byte} of the file's header, no coordinate"
    )


def test_the_last_byte_of_the_header_is_still_the_header(right: Path, found: Path) -> None:
    write(right, VectorKind.GLOBAL)
    write(found, VectorKind.GLOBAL)
    flip(found, data_start(right, VectorKind.GLOBAL) - 1)
    assert "of the file's header" in first_difference(LAYOUT, VectorKind.GLOBAL, found, right)


def test_a_truncated_file_ends_at_its_first_missing_coordinate(right: Path, found: Path) -> None:
    write(right, VectorKind.UPDATE)
    found.write_bytes(right.read_bytes()[:-3])
    assert first_difference(LAYOUT, VectorKind.UPDATE, found, right) == (
        "the first wrong coordinate is 513 (bias[1])"
    )


def test_an_empty_file_has_no_header(right: Path, found: Path) -> None:
    write(right, VectorKind.UPDATE)
    found.touch()
    assert "byte 0 of the file's header" in first_difference(
        LAYOUT, VectorKind.UPDATE, found, right
    )


def test_a_longer_file_goes_on_after_the_last_coordinate(right: Path, found: Path) -> None:
    write(right, VectorKind.UPDATE)
    found.write_bytes(right.read_bytes() + b"\0")
    assert first_difference(LAYOUT, VectorKind.UPDATE, found, right) == (
        "bytes follow the last coordinate"
    )


def test_a_difference_beyond_the_first_block_is_found(
    right: Path, found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 64)
    write(right, VectorKind.UPDATE)
    write(found, VectorKind.UPDATE)
    flip(found, found.stat().st_size - 1)
    assert first_difference(LAYOUT, VectorKind.UPDATE, found, right) == (
        "the first wrong coordinate is 514 (bias[2])"
    )
    found.write_bytes(right.read_bytes()[: data_start(right, VectorKind.UPDATE) // 64 * 64 + 64])
    assert "the first wrong coordinate is" in first_difference(
        LAYOUT, VectorKind.UPDATE, found, right
    )


@pytest.mark.parametrize(
    ("coordinate", "words"),
    [
        (0, "0 (kernel[0, 0])"),
        (299, "299 (kernel[19, 14])"),
        (300, "300 (padding)"),
        (511, "511 (padding)"),
        (512, "512 (bias[0])"),
        (515, "515 (padding)"),
        (767, "767 (padding)"),
        (10_000, "10000 (padding)"),
    ],
)
def test_a_coordinate_is_described_up_to_the_edges_of_its_tensor(
    coordinate: int, words: str
) -> None:
    assert describe(LAYOUT, coordinate) == words


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [0, 255, 256, 299, 300, 302])
def test_a_flipped_bit_is_found_from_the_root_alone(
    found: Path, kind: VectorKind, position: int
) -> None:
    root = write(found, kind)
    width = kind.dtype.itemsize
    bit = position % (8 * width)
    flip(found, data_start(found, kind) + position * width + bit // 8, bit=bit % 8)
    expected = describe(LAYOUT, LAYOUT.coordinate(position))
    assert flipped_bit(LAYOUT, meta_of(kind), found, root) == (
        f"the first wrong coordinate is {expected}"
    )


def test_two_flipped_bits_are_not_explained_by_one(found: Path) -> None:
    root = write(found, VectorKind.UPDATE)
    flip(found, found.stat().st_size - 1)
    flip(found, found.stat().st_size - 2)
    assert flipped_bit(LAYOUT, meta_of(VectorKind.UPDATE), found, root) == (
        "more than one of its bits differ"
    )


def test_right_numbers_under_a_wrong_cid_are_called_right(found: Path) -> None:
    root = write(found, VectorKind.UPDATE)
    assert flipped_bit(LAYOUT, meta_of(VectorKind.UPDATE), found, root) == (
        "its numbers are right, but its CID is another"
    )


@pytest.mark.parametrize("byte", [0, 3, 8, 20, 60])
def test_a_flipped_bit_in_the_header_is_called_that(found: Path, byte: int) -> None:
    root = write(found, VectorKind.UPDATE)
    flip(found, byte)
    assert "the file's header is wrong, no coordinate" in flipped_bit(
        LAYOUT, meta_of(VectorKind.UPDATE), found, root
    )


@pytest.mark.parametrize(("cut", "words"), [(-1, "truncated"), (5, "truncated")])
def test_a_truncated_file_is_not_searched(found: Path, cut: int, words: str) -> None:
    root = write(found, VectorKind.UPDATE)
    found.write_bytes(found.read_bytes()[:cut])
    assert words in flipped_bit(LAYOUT, meta_of(VectorKind.UPDATE), found, root)


def test_a_model_too_large_to_be_searched_is_not(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(found, VectorKind.UPDATE)
    flip(found, found.stat().st_size - 1)
    monkeypatch.setattr(module, "_MAX_SEARCHED_CHUNKS", LAYOUT.chunks - 1)
    assert flipped_bit(LAYOUT, meta_of(VectorKind.UPDATE), found, root) == (
        "the model is too large to search for the coordinate"
    )
    assert LAYOUT.chunks * CHUNK_VALUES == 768


def test_in_a_packed_model_a_value_is_named_by_its_position(
    right: Path, found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = Layout.of(((t.name, t.shape, 0) for t in LAYOUT.tensors), packed=True)
    monkeypatch.setitem(globals(), "LAYOUT", packed)
    root = write(right, VectorKind.UPDATE)
    write(found, VectorKind.UPDATE)
    flip(found, data_start(found, VectorKind.UPDATE) + 2 * 301)
    words = "the first wrong coordinate is 301 (bias[1])"
    assert first_difference(packed, VectorKind.UPDATE, found, right) == words
    assert flipped_bit(packed, meta_of(VectorKind.UPDATE), found, root) == words
    assert describe(packed, 303) == "303 (padding)"
