"""Many hashes at once against those of another library, one by one; and the streams of seeds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors.encoding import keccak, some

from fl_orchestrator.model.keccak import add_streams, hash_pairs, hash_rows, keccak256, stream

MANY = 1 << 19
LENGTHS = (0, 1, 7, 8, 64, 128, 129, 134, 135, 136, 137, 256, 271, 272, 273, 512, 1024)
COUNTS = (0, 1, 2, 63, 64, 65, 127, 200)


@pytest.fixture(scope="module", params=["compiled", "one by one"])
def total(request: pytest.FixtureRequest) -> Iterator[int | None]:
    """What the caller announces, so that compiled code is used, or is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "fl_orchestrator.compiled", raising=False)
        yield MANY if request.param == "compiled" else None


def random_bytes(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(shape).integers(0, 256, shape, np.uint8)


def numbers(seed: bytes, first: int, count: int) -> list[int]:
    """The stream as docs/protocol.md, section 12, defines it."""
    found = []
    for n in range(first, first + count):
        block = keccak(seed + (n // 8).to_bytes(32, "big"))
        found.append(int.from_bytes(block[n % 8 * 4 : n % 8 * 4 + 4], "big"))
    return found


@pytest.mark.parametrize("length", LENGTHS)
def test_every_row_has_the_hash_of_another_library(length: int, total: int | None) -> None:
    for count in COUNTS:
        rows = random_bytes(count, length)
        wanted = [keccak(row.tobytes()) for row in rows]
        assert [row.tobytes() for row in hash_rows(rows, total=total)] == wanted, count
        assert [keccak256(row.tobytes()) for row in rows] == wanted


@given(st.integers(0, 1100), st.integers(0, 140), st.integers(0, 7))
def test_rows_of_any_length_at_any_address_are_hashed(
    total: int | None, length: int, count: int, offset: int
) -> None:
    data = random_bytes(offset + count * length).tobytes()
    rows = np.frombuffer(data, np.uint8, offset=offset).reshape(count, length)
    wanted = [keccak(row.tobytes()) for row in rows]
    assert [row.tobytes() for row in hash_rows(rows, total=total)] == wanted


def test_rows_and_hashes_can_be_parts_of_larger_arrays(total: int | None) -> None:
    rows = random_bytes(300, 600)[::2, 40:552]
    out = np.zeros((200, 32), np.uint8)
    hash_rows(rows, out[25:175], total=total)
    assert [row.tobytes() for row in out[25:175]] == [keccak(row.tobytes()) for row in rows]
    assert not out[:25].any()
    assert not out[175:].any()


def test_a_pair_of_nodes_has_the_hash_of_both_together(total: int | None) -> None:
    nodes = random_bytes(2 * 77, 32)
    data = nodes.tobytes()
    wanted = [keccak(data[i : i + 64]) for i in range(0, len(data), 64)]
    assert [row.tobytes() for row in hash_pairs(nodes, total=total)] == wanted


def test_hashes_do_not_go_where_they_do_not_fit(total: int | None) -> None:
    rows = random_bytes(3, 64)
    read_only = np.zeros((3, 32), np.uint8)
    read_only.flags.writeable = False
    wrong: tuple[NDArray[Any], ...] = (
        np.zeros((2, 32), np.uint8),
        np.zeros((3, 32), np.int8),
        np.zeros((3, 64), np.uint8)[:, ::2],
        read_only,
    )
    for out in wrong:
        with pytest.raises(ValueError, match="C-contiguous"):
            hash_rows(rows, out, total=total)


@given(
    st.one_of(st.integers(0, 20), st.integers(500, 1100)),
    st.one_of(st.integers(0, 9), st.integers(2**32 - 9, 2**32 + 9), st.integers(0, 2**40)),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_streams_are_added_and_subtracted_modulo_2_to_the_32(
    total: int | None, count: int, first: int, added: int, subtracted: int
) -> None:
    seeds = [some(f"seed {i}") for i in range(added + subtracted)]
    values = random_bytes(count, 4).view(np.uint32).ravel()
    wanted = values.astype(object)
    for i, seed in enumerate(seeds):
        part = np.array(numbers(seed, first, count), object)
        wanted = wanted + part if i < added else wanted - part
    add_streams(values, seeds[:added], seeds[added:], first=first, total=total)
    assert values.tolist() == [value % 2**32 for value in wanted]


def test_a_stream_starts_at_any_of_its_numbers() -> None:
    seed = some("seed")
    wanted = numbers(seed, 0, 1000)
    for first in (0, 1, 7, 8, 9, 511, 512, 513):
        assert stream(seed, 1000 - first, first).tolist() == wanted[first:]


def test_threads_add_streams_to_parts_of_one_array(total: int | None) -> None:
    seeds = [some(f"seed {i}") for i in range(3)]
    whole, parts = (np.arange(20_001, dtype=np.uint32) for _ in range(2))
    add_streams(whole, seeds[:2], seeds[2:], total=total)

    def add(start: int) -> None:
        part = parts[start : start + 3000]
        add_streams(part, seeds[:2], seeds[2:], first=start, total=total)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(0, parts.size, 3000)))
    assert np.array_equal(parts, whole)


def test_wrong_seeds_starts_and_arrays_are_refused(total: int | None) -> None:
    seed, values = bytes(32), np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match="32 bytes"):
        add_streams(values, [seed, bytes(31)], total=total)
    with pytest.raises(ValueError, match="is 0"):
        add_streams(values, [seed], first=-1, total=total)
    wrong: tuple[NDArray[Any], ...] = (
        np.zeros(4, np.int32),
        np.zeros((2, 2), np.uint32),
        np.zeros(8, np.uint32)[::2],
    )
    for array in wrong:
        with pytest.raises(ValueError, match="contiguous"):
            add_streams(array, [seed], total=total)


SCRIPT = """
import sys
import numpy as np
from fl_orchestrator.model.keccak import add_streams, hash_rows, keccak256
rows = np.zeros((1000, 512), np.uint8)
found = hash_rows(rows)
add_streams(np.zeros(100_000, np.uint32), [bytes(32)])
assert found[999].tobytes() == keccak256(bytes(512))
assert "numba" not in sys.modules
hash_rows(rows, total=1 << 16)
assert "numba" in sys.modules
"""


def test_only_a_process_that_hashes_much_loads_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
