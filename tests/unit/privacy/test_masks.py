"""Masked updates, against the golden vectors and their slow reference."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.golden import GOLDEN, each, unhex
from support.private import golden_round
from vectors.masking import ROUNDS, VALUES, Reference, stream

from fl_orchestrator.model.keccak import add_streams
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.privacy import masks as masking
from fl_orchestrator.privacy.dealing import deal
from fl_orchestrator.privacy.masks import Masks, masks_of, weighted, with_masks

SEEDS = tuple(bytes([i]) * 32 for i in range(1, 8))


def update_of(reference: Reference, i: int) -> NDArray[np.int16]:
    """The update whose weighted values are the reference's x."""
    values = np.array([reference.value(i, n) for n in range(VALUES)], np.uint32)
    return (values.view(np.int32) // reference.weights[i]).astype(np.int16)


@each("privateStreams")
def test_a_mask_has_the_golden_numbers(row: dict[str, Any]) -> None:
    start = row["n"] - row["n"] % 8
    block = np.zeros(8, np.uint32)
    add_streams(block, [unhex(row["seed"])], first=start)
    assert block[row["n"] % 8] == row["value"]


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_a_masked_update_is_that_of_the_reference(number: int) -> None:
    context, row = golden_round(number)
    reference = ROUNDS[number]
    for i in range(context.size):
        masks = masks_of(deal(context, i, unhex(row["zs"][i])))
        x = weighted(update_of(reference, i), reference.weights[i])
        (y,) = with_masks([x], masks, VALUES)
        assert y.tolist() == [reference.masked(i, n) for n in range(VALUES)]


@each("privateSums")
def test_a_masked_value_is_the_golden_one(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    for k, value in zip(row["included"], row["masked"], strict=True):
        masks = masks_of(deal(context, k, unhex(round_["zs"][k])))
        x = weighted(update_of(ROUNDS[row["roundRow"]], k), context.commits[k].weight)
        (y,) = with_masks([x], masks, VALUES)
        assert y[row["coordinate"]] == value


def test_the_golden_sums_are_of_every_round() -> None:
    assert {row["roundRow"] for row in GOLDEN["privateSums"]} == set(range(len(ROUNDS)))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 300),
    st.integers(1, 90),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 2**32),
)
def test_masks_are_the_same_however_the_vector_is_cut(
    size: int, block: int, added: int, subtracted: int, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(0, 2**32, size, np.uint32)
    masks = Masks(SEEDS[:added], SEEDS[added : added + subtracted])
    expected = [
        (
            int(value)
            + sum(stream(s, n) for s in masks.added)
            - sum(stream(s, n) for s in masks.subtracted)
        )
        % 2**32
        for n, value in enumerate(x)
    ]
    blocks = with_masks(in_blocks(x, block), masks, size)
    assert [int(value) for found in blocks for value in found] == expected


@pytest.mark.parametrize("cores", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 8_191, 40_000, 65_536])
def test_masks_are_the_same_on_any_number_of_cores(
    cores: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = Masks(SEEDS[:2], SEEDS[2:3])
    expected = np.zeros(size, np.uint32)
    add_streams(expected, masks.added, masks.subtracted)
    monkeypatch.setattr(masking, "cores", lambda: cores)
    found = np.concatenate(list(with_masks(in_blocks(np.zeros(size, np.uint32)), masks, size)))
    assert np.array_equal(found, expected)


def test_masks_are_added_in_place_and_one_block_at_a_time() -> None:
    asked: list[int] = []

    def blocks() -> Iterator[NDArray[np.uint32]]:
        for number in range(3):
            asked.append(number)
            yield vector[number]

    vector = np.zeros((3, 16), np.uint32)
    found = with_masks(blocks(), Masks(SEEDS[:1], ()), 48)
    first = next(found)
    assert np.shares_memory(first, vector)
    assert asked == [0]
    assert vector[0].any()
    assert not vector[1:].any()


def test_an_array_that_cannot_be_masked_in_place_is_refused() -> None:
    for block in (np.zeros(16, np.int32), np.zeros(32, np.uint32)[::2]):
        with pytest.raises(ValueError, match="uint32"):
            list(with_masks([block], Masks(SEEDS[:1], ()), 16))  # type: ignore[list-item]


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=20), st.integers(1, 255))
def test_a_weighted_update_is_exact(values: list[int], weight: int) -> None:
    x = weighted(np.array(values, np.int16), weight)
    assert x.tolist() == [value * weight % 2**32 for value in values]


def test_masks_show_no_seed_in_a_log() -> None:
    assert repr(Masks(SEEDS, SEEDS)) == "Masks()"
