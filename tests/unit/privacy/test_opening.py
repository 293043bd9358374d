"""Which seeds a result opens, and the sums they lead to."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.golden import each, unhex
from support.private import golden_round
from vectors.arithmetic import rounded
from vectors.masking import ROUNDS, VALUES

from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.privacy.dealing import deal
from fl_orchestrator.privacy.masks import Masks
from fl_orchestrator.privacy.opening import Opening, OpeningError, seeds_hash
from fl_orchestrator.privacy.seal import make_seal
from fl_orchestrator.privacy.unmask import UnmaskError, steps, sums


@each("privateSums")
def test_seeds_and_their_hash_are_the_golden_ones(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    opening = Opening(row["commits"], tuple(row["included"]))
    dealings = [deal(context, k, unhex(z)) for k, z in enumerate(round_["zs"])]
    seeds = b"".join(dealings[k].seeds[label] for k, label in opening.labels())
    assert seeds == unhex(row["seeds"])
    assert seeds_hash(seeds) == unhex(row["seedsHash"])
    assert len(seeds) == 32 * opening.count
    hashes = {k: make_seal(context, dealings[k]).hashes for k in opening.included}
    assert opening.wrong_seeds(seeds, hashes) == ()


@each("privateSums")
def test_the_sum_and_the_step_are_the_golden_ones(row: dict[str, Any]) -> None:
    reference, n = ROUNDS[row["roundRow"]], row["coordinate"]
    opening = Opening(row["commits"], tuple(row["included"]))
    updates = [
        np.array([reference.masked(k, m) for m in range(VALUES)], np.uint32)
        for k in opening.included
    ]
    masks = opening.masks(unhex(row["seeds"]))
    totals = list(sums([in_blocks(u, 16) for u in updates], masks, VALUES))
    assert np.concatenate(totals)[n] == row["sum"]
    found = np.concatenate(list(steps(totals, row["weight"], row["stepLimit"])))
    assert found.dtype == np.int16
    assert found[n] == row["step"]


@each("privateSteps")
def test_a_step_is_the_golden_one(row: dict[str, Any]) -> None:
    block = np.array([row["sum"]], np.int32)
    (found,) = steps([block], row["weight"], row["stepLimit"])
    assert found.tolist() == [row["step"]]


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20),
    st.integers(1, 25_500),
    st.integers(1, 32_767),
)
def test_a_step_is_the_mean_rounded_half_up_and_clipped(
    totals: list[int], weight: int, limit: int
) -> None:
    (found,) = steps([np.array(totals, np.int32)], weight, limit)
    assert found.tolist() == [max(-limit, min(limit, rounded(s, weight))) for s in totals]


def test_seeds_come_by_place_and_not_by_index() -> None:
    opening = Opening.of(4, reveals=[3, 0, 2], included=0b101)
    assert opening.included == (3, 2)
    assert list(opening.labels()) == [(3, 3), (3, 0), (3, 1), (2, 2), (2, 0), (2, 1)]
    assert opening.count == 6


@pytest.mark.parametrize("included", [0b1000, 1 << 127, -1])
def test_a_bit_beyond_the_reveals_is_refused(included: int) -> None:
    with pytest.raises(OpeningError, match="beyond the 3"):
        Opening.of(4, reveals=[0, 1, 2], included=included)


@pytest.mark.parametrize("reveals", [[0, 0, 1], [0, 1, 4], [0, -1, 1]])
def test_reveals_that_are_not_of_different_commits_are_refused(reveals: list[int]) -> None:
    with pytest.raises(OpeningError, match="different commits among 4"):
        Opening.of(4, reveals, 0b111)


@pytest.mark.parametrize("size", [0, 95, 97, 128])
def test_another_number_of_seeds_is_refused(size: int) -> None:
    opening = Opening.of(3, reveals=[2, 0, 1], included=0b010)
    for use in (opening.masks, lambda seeds: opening.wrong_seeds(seeds, {})):
        with pytest.raises(OpeningError, match=f"{size} bytes of seeds"):
            use(bytes(size))


def test_the_numbers_of_wrong_seeds_are_those_of_the_contract() -> None:
    context, round_ = golden_round(0)
    opening = Opening(4, (2, 0))
    dealings = [deal(context, k, unhex(z)) for k, z in enumerate(round_["zs"])]
    hashes = {k: make_seal(context, dealings[k]).hashes for k in (2, 0)}
    seeds = [dealings[k].seeds[label] for k, label in opening.labels()]
    for number in range(len(seeds)):
        changed = [*seeds[:number], bytes(32), *seeds[number + 1 :]]
        assert opening.wrong_seeds(b"".join(changed), hashes) == (number,)
    swapped = {2: hashes[2], 0: hashes[2]}
    assert opening.wrong_seeds(b"".join(seeds), swapped) == (3, 4, 5)
    short = {2: hashes[2], 0: hashes[0][:3]}
    assert opening.wrong_seeds(b"".join(seeds), short) == (5,)


def test_masked_updates_of_different_sizes_or_of_another_type_are_refused() -> None:
    one, short = np.zeros(16, np.uint32), np.zeros(8, np.uint32)
    none = Masks((), ())
    with pytest.raises(UnmaskError, match="different sizes"):
        list(sums([[one], [short]], none, 16))
    with pytest.raises(UnmaskError, match="different sizes"):
        list(sums([[one, one], [one]], none, 32))
    with pytest.raises(UnmaskError, match="uint32"):
        list(sums([[one], [one.view(np.int32)]], none, 16))


def test_one_block_of_each_update_is_in_memory_at_a_time() -> None:
    asked: list[tuple[int, int]] = []

    def blocks(k: int) -> Iterator[NDArray[np.uint32]]:
        for number in range(4):
            asked.append((number, k))
            yield np.full(16, k, np.uint32)

    found = steps(sums([blocks(k) for k in range(5)], Masks((), ()), 64), 5, 9)
    for number in range(4):
        assert next(found).tolist() == [2] * 16
        assert asked == [(n, k) for n in range(number + 1) for k in range(5)]


def test_the_masked_updates_are_not_changed() -> None:
    one = np.arange(16, dtype=np.uint32)
    one.flags.writeable = False
    (total,) = sums([[one], [one]], Masks((bytes(32),), (bytes(32),)), 16)
    assert total.tolist() == [2 * n for n in range(16)]
