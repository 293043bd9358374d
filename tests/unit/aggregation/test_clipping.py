"""Clipping by the norm of a chunk: against plain integers, and at every end of a chunk."""

import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from support.federation import small_manifest
from vectors import arithmetic

from fl_orchestrator.aggregation.clipping import clipped
from fl_orchestrator.aggregation.rules import AggregationError, rule_for
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.protocol import CHUNK_NORM_LIMIT
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.model.vector_file import (
    BLOCK_VALUES,
    VectorMeta,
    VectorReader,
    sizes_of_chunks,
    write_vector,
)
from fl_orchestrator.roles.vectors import Origin, VectorCache

Vector = NDArray[np.int16]

values = st.one_of(st.integers(-32_768, 32_767), st.sampled_from([-32_768, -1, 0, 1, 32_767]))
limits = st.one_of(
    st.integers(1, CHUNK_NORM_LIMIT - 1), st.integers(1, 200), st.just(CHUNK_NORM_LIMIT - 1)
)


def layout_of(sizes: list[int]) -> Layout:
    return Layout.of([(str(i), [size], 0) for i, size in enumerate(sizes)])


@st.composite
def updates(draw: st.DrawFn) -> tuple[Layout, Vector]:
    """An update of up to five tensors, some of them empty, whose chunks have all kinds of norms."""
    ends = st.sampled_from([0, 1, 255, 256, 257, 511, 512, 513, 700])
    layout = layout_of(draw(st.lists(ends, min_size=1, max_size=5)))
    scales = draw(st.lists(st.integers(0, 15), min_size=1, max_size=6))
    vector = draw(arrays(np.int16, layout.parameters, elements=values))
    return layout, (vector >> np.resize(scales, vector.size)).astype(np.int16)


def reference(layout: Layout, vector: Vector, limit: int) -> list[list[int]]:
    """The chunks after clipping: each tensor in pieces of 256 values."""
    pieces = []
    for tensor in layout.tensors:
        flat = vector[tensor.start : tensor.stop].tolist()
        pieces += [flat[i : i + CHUNK_VALUES] for i in range(0, len(flat), CHUNK_VALUES)]
    return [arithmetic.clipped_chunk(piece, limit) for piece in pieces]


def in_whole_chunks(layout: Layout, vector: Vector, most: int = BLOCK_VALUES) -> Iterator[Vector]:
    start = 0
    for size in sizes_of_chunks(layout, most):
        yield vector[start : start + size]
        start += size


def joined(blocks: Iterator[Vector]) -> list[int]:
    found: list[int] = np.concatenate([np.empty(0, np.int16), *blocks]).tolist()
    return found


@given(updates(), limits, st.integers(256, 1500))
def test_every_chunk_is_clipped_as_plain_integers_are(
    update: tuple[Layout, Vector], limit: int, most: int
) -> None:
    layout, vector = update
    found = joined(clipped(in_whole_chunks(layout, vector, most), layout, limit))
    expected = reference(layout, vector, limit)
    assert found == [value for chunk in expected for value in chunk]
    assert all(sum(value**2 for value in chunk) <= limit**2 for chunk in expected)


@given(arrays(np.int16, 256, elements=values), st.integers(-2, 2))
def test_a_chunk_is_kept_up_to_its_own_norm(chunk: Vector, beside: int) -> None:
    squares = sum(value**2 for value in chunk.tolist())
    limit = min(max(round(squares**0.5) + beside, 1), CHUNK_NORM_LIMIT - 1)
    layout = layout_of([256])
    found = joined(clipped(iter([chunk]), layout, limit))
    assert (found == chunk.tolist()) == (squares <= limit**2)
    assert found == arithmetic.clipped_chunk(chunk.tolist(), limit)


@pytest.mark.parametrize("limit", [1, 15, 16, 17, 2**18, 2**19 - 1])
@pytest.mark.parametrize("extreme", [-32_768, 32_767])
def test_a_chunk_of_extremes_is_within_the_limit_and_within_16_bits(
    limit: int, extreme: int
) -> None:
    chunk = np.full(256, extreme, np.int16)
    found = joined(clipped(iter([chunk]), layout_of([256]), limit))
    assert found == arithmetic.clipped_chunk(chunk.tolist(), limit)
    assert 256 * found[0] ** 2 <= limit**2


def test_without_a_limit_the_blocks_stay_as_they_are() -> None:
    blocks = [np.full(3, 32_767, np.int16), np.full(4, -32_768, np.int16)]
    assert list(clipped(iter(blocks), layout_of([7]), 0)) == blocks


@pytest.mark.parametrize("sizes", [[255, 45], [256, 1, 43], [300, 0], [128, 172]])
def test_a_block_that_cuts_a_chunk_is_refused(sizes: list[int]) -> None:
    blocks = [np.ones(size, np.int16) for size in sizes]
    with pytest.raises(AggregationError, match="whole chunks"):
        list(clipped(iter(blocks), layout_of([300]), 5))


@given(st.lists(st.sampled_from([0, 1, 255, 256, 257, 3000]), max_size=6), st.integers(256, 2000))
def test_the_blocks_of_a_vector_have_whole_chunks_and_a_limited_size(
    sizes: list[int], most: int
) -> None:
    layout = layout_of([1, *sizes])
    blocks = sizes_of_chunks(layout, most)
    assert all(0 < size <= most for size in blocks)
    ends = np.cumsum(blocks)
    assert ends[-1] == layout.parameters
    assert set(ends.tolist()) <= set(layout.chunk_ends().tolist())
    # Two blocks that fit into one would be one.
    assert all(a + b > most - CHUNK_VALUES for a, b in itertools.pairwise(blocks))


@pytest.mark.parametrize("momentum", [False, True])
def test_a_file_is_read_in_whole_chunks(momentum: bool) -> None:
    layout = Layout.of([("a", [BLOCK_VALUES - 3], 0), ("b", [300], 0)], momentum=momentum)
    vector = np.arange(layout.parameters * layout.halves, dtype=np.int32)
    stream = io.BytesIO()
    write_vector(stream, layout, VectorMeta.genesis(), [vector])
    stream.seek(0)
    blocks = list(VectorReader(stream, layout).whole_chunks())
    assert np.array_equal(np.concatenate(blocks), vector)
    assert [block.size for block in blocks] == [BLOCK_VALUES - 3, 300] * layout.halves


@given(updates(), limits, st.randoms(use_true_random=False))
def test_the_order_of_clipped_updates_does_not_matter(
    update: tuple[Layout, Vector], limit: int, shuffler: random.Random
) -> None:
    layout, vector = update
    given_ = [vector, vector[::-1].copy(), vector >> 3, -(vector >> 1)]
    weights = [1, 255, 7, 30]
    order = list(range(4))
    shuffler.shuffle(order)
    for kind in RuleKind:
        rule = rule_for(RuleSpec.of(kind))
        first, second = (
            [
                block.tolist()
                for block in rule.aggregate(
                    [clipped(in_whole_chunks(layout, given_[i]), layout, limit) for i in chosen],
                    [weights[i] for i in chosen],
                )
            ]
            for chosen in (range(4), order)
        )
        assert first == second


def step(kind: RuleKind, column: list[int]) -> int:
    """Of three values with equal weights."""
    if kind is RuleKind.MEDIAN:
        return arithmetic.median(column)
    return arithmetic.rounded(sum(column), 3)  # three values: none is trimmed by default


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
def test_the_manifests_limit_is_applied_to_the_files_of_updates(
    tmp_path: Path, kind: RuleKind
) -> None:
    """A tensor that ends beside a multiple of 256, and one that spans two blocks of the file."""
    limit = 5_000
    rule = RuleSpec.of(kind, chunk_norm_limit=limit)
    tensors = [{"name": str(i), "shape": [n]} for i, n in enumerate((100, BLOCK_VALUES, 257))]
    manifest = small_manifest(rule=rule, tensors=tensors, depth=8)
    cache, origin = VectorCache(tmp_path, manifest), Origin(5, "0x" + "ab" * 20)
    size = manifest.layout.parameters
    rng = np.random.default_rng(7)
    vectors = [rng.integers(-(2**15), 2**15, size, np.int16) >> shift for shift in (0, 3, 7)]
    base = cache.write(origin.state(2), [np.zeros(size, np.int32)])
    files = [(cache.write(origin.update(3), [vector]), 2) for vector in vectors]
    result = cache.load(cache.aggregate(base, files, origin.state(3)))
    parts = [reference(manifest.layout, vector, limit) for vector in vectors]
    columns = zip(*([v for chunk in part for v in chunk] for part in parts), strict=True)
    scale = 1 << 24 - manifest.update_fraction_bits
    assert result.tolist() == [step(kind, list(column)) * scale for column in columns]
