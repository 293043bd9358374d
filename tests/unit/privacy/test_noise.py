"""Noise on sums: the distribution, that it repeats, and that updates are short enough for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ive

from fl_orchestrator.privacy.noise import (
    TABLE_ERROR,
    _tail,
    noise_seed,
    with_noise,
    within_norm,
)

SEED = noise_seed(bytes(range(32)), 7)


def noise(variance: float, total: int, *sizes: int, seed: bytes = SEED) -> NDArray[np.int32]:
    blocks = [np.zeros(size, np.uint32) for size in sizes or (total,)]
    return np.concatenate(list(with_noise(blocks, seed, variance, total))).view(np.int32)


@pytest.mark.parametrize("variance", [0.3, 2.0, 50.0, 1e4, 1e8])
def test_the_table_has_the_probabilities_of_a_skellam_variable(variance: float) -> None:
    tail = _tail(variance)[::-1].astype(np.float64) / 2.0**63
    terms = np.arange(1.0, tail.size + 1)
    exact = np.cumsum((2 * ive(terms, variance))[::-1])[::-1]
    # Further out the table's numbers are small integers.
    shown = exact > 2.0**-20
    assert shown.sum() > 1
    np.testing.assert_allclose(tail[shown], exact[shown], rtol=TABLE_ERROR)


def test_the_table_goes_to_where_nothing_is_probable_any_more() -> None:
    tail = _tail(1e4)
    assert tail[0] < 8
    assert (np.diff(tail.astype(np.float64)) >= 0).all()
    assert 8.5 < tail.size / 100 < 9.5


@pytest.mark.parametrize("variance", [0.5, 400.0, 2.0**36])
def test_noise_has_its_mean_variance_and_shape(variance: float) -> None:
    found = noise(variance, 400_000).astype(np.float64) / math.sqrt(variance)
    assert abs(found.mean()) < 5 / math.sqrt(found.size)
    kurtosis = 3 + 1 / variance
    assert found.var() == pytest.approx(1, abs=5 * math.sqrt((kurtosis - 1) / found.size))
    assert np.mean(found**4) == pytest.approx(kurtosis, rel=0.1)


def test_the_noise_of_several_adds_up_to_the_noise_of_one() -> None:
    together = sum(noise(40.0, 100_000, seed=noise_seed(bytes([i] * 32), 1)) for i in range(5))
    one = noise(200.0, 100_000)
    points = [-20, -7, 0, 3, 18]
    ours = [np.mean(together <= point) for point in points]
    assert ours == pytest.approx([np.mean(one <= point) for point in points], abs=0.01)


@given(st.lists(st.integers(1, 50).map(lambda n: 8 * n), min_size=1, max_size=5))
def test_blocks_of_any_size_get_the_same_noise(sizes: list[int]) -> None:
    total = sum(sizes)
    assert (noise(90.0, total, *sizes) == noise(90.0, total)).all()


def test_every_secret_and_round_has_other_noise() -> None:
    z = bytes(range(32))
    others = [noise_seed(z, 8), noise_seed(bytes(32), 7)]
    for other in others:
        assert abs(np.corrcoef(noise(1e4, 10_000), noise(1e4, 10_000, seed=other))[0, 1]) < 0.05


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_a_variance_that_is_none_is_refused(variance: float) -> None:
    with pytest.raises(ValueError, match="variance"):
        noise(variance, 8)


@given(
    st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=300),
    st.floats(0.01, 1e6),
)
def test_an_update_is_within_the_norm_and_unchanged_if_it_was(
    values: list[int], norm: float
) -> None:
    vector = np.array(values, np.int16)
    shorter = within_norm(vector, norm)
    length = math.sqrt(sum(int(v) ** 2 for v in values))
    assert math.sqrt(sum(int(v) ** 2 for v in shorter)) <= norm
    assert shorter.dtype == np.int16
    if length <= norm:
        assert (shorter == vector).all()


def test_a_long_update_keeps_its_direction_and_almost_all_of_the_norm() -> None:
    vector = np.random.default_rng(0).normal(0, 900, 10_000).astype(np.int16)
    norm = 20_000.0
    shorter = within_norm(vector, norm).astype(np.float64)
    assert 0.999 * norm < np.linalg.norm(shorter) <= norm
    assert np.corrcoef(vector, shorter)[0, 1] > 0.999
