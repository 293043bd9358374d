"""The coding of files on their way: it loses nothing, and what is not of it does no harm."""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_orchestrator.transport import packing
from fl_orchestrator.transport.packing import BLOCK_BYTES, CODING, BadPacking, Unpacker, packed

zstd = pytest.importorskip("backports.zstd")

WITH_CHECKSUM = {zstd.CompressionParameter.checksum_flag: 1}
NUMBERS = (np.random.default_rng(0).standard_normal(300_001) * 100).astype(np.int16).tobytes()


def pack(content: bytes, size: int = 100_000) -> bytes:
    return b"".join(packed(content[i : i + size] for i in range(0, len(content), size)))


def unpack(data: bytes, size: int = 50_000) -> bytes:
    unpacker = Unpacker()
    found = b"".join(
        block for i in range(0, len(data), size) for block in unpacker.unpacked(data[i : i + size])
    )
    assert unpacker.is_whole
    return found


@settings(deadline=None, max_examples=60)
@given(
    content=st.binary(max_size=5000) | st.integers(0, len(NUMBERS)).map(lambda n: NUMBERS[:n]),
    pieces=st.integers(1, 700_000),
    received=st.integers(1, 700_000),
)
def test_a_file_comes_back_as_it_was(content: bytes, pieces: int, received: int) -> None:
    assert unpack(pack(content, pieces), max(received, len(content) // 50 + 1)) == content


@pytest.mark.parametrize("length", [0, 1, 2, 3, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1])
@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
def test_every_length_and_width_comes_back(length: int, kind: type) -> None:
    values = np.random.default_rng(1).standard_normal(length + 1) * 50
    content = values.astype(kind).tobytes()[:length]
    assert unpack(pack(content)) == content


@pytest.mark.parametrize(("kind", "width"), [(np.int16, 2), (np.int32, 4)])
def test_numbers_are_shuffled_by_their_width(kind: type, width: int) -> None:
    values = np.random.default_rng(2).standard_normal(200_000) * 300 ** (width / 2)
    numbers = values.astype(kind).tobytes()
    data = pack(numbers)
    assert data[0] == width
    assert len(data) < len(zstd.compress(numbers, level=1)) * 0.95


def test_a_text_is_not_shuffled() -> None:
    assert pack(b'{"a": "manifest"}' * 100)[0] == 1


@pytest.mark.parametrize("cut", [0, 1, 2, 1000, -1])
def test_a_file_that_was_cut_off_is_not_whole(cut: int) -> None:
    data = pack(NUMBERS)[:cut]
    unpacker = Unpacker()
    found = b"".join(unpacker.unpacked(data))
    assert not unpacker.is_whole
    assert NUMBERS.startswith(found)


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00",
        b"\x03" + zstd.compress(b"x"),
        b"\x02no frame at all",
        b"\x02" + zstd.compress(NUMBERS, options=WITH_CHECKSUM)[:-4] + b"xxxx",
        b"\x02" + zstd.compress(b"x") + b"more",
        b"\x02" + zstd.compress(b"x") + zstd.compress(b"x"),
    ],
    ids=["no width", "a strange width", "no frame", "damaged", "more", "two frames"],
)
def test_what_is_not_in_the_coding_is_refused(junk: bytes) -> None:
    with pytest.raises(BadPacking):
        list(Unpacker().unpacked(junk))


def test_a_window_that_costs_memory_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    data = compressor.compress(NUMBERS * 20) + compressor.flush()
    with pytest.raises(BadPacking):
        list(Unpacker().unpacked(b"\x02" + data))


def bomb(size: int) -> Iterator[bytes]:
    """A packed file of so many zeros: some millionths of that."""
    yield from packed(bytes(1 << 20) for _ in range(size >> 20))


def test_of_a_bomb_no_more_is_unpacked_than_is_asked_for() -> None:
    data = b"".join(bomb(1 << 30))
    assert len(data) < 1 << 17
    tracemalloc.start()
    blocks = Unpacker().unpacked(data)
    taken = sum(len(next(blocks)) for _ in range(4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken == 4 * BLOCK_BYTES
    assert peak < 8 * BLOCK_BYTES


def test_without_the_library_nothing_is_asked_for_or_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert packing.accepted() == f"{CODING}, identity"
    assert packing.accepts(f"gzip, {CODING}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert packing.accepted() == "identity"
    assert not packing.accepts(CODING)


@pytest.mark.parametrize(
    "header", [None, "", "gzip, zstd", "identity", f"{CODING}x", f"{CODING};q=0"]
)
def test_a_peer_that_does_not_ask_for_it_gets_plain_bytes(header: str | None) -> None:
    assert not packing.accepts(header)
