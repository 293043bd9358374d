"""Floats to integers and back, against exact fractions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import arithmetic

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.fixed_point import (
    NotFiniteError,
    OutOfRange,
    UpdateEncoder,
    WeightsError,
    encode_update,
    float_view,
    float_view_of,
    genesis_state,
    next_state,
    sample_weight,
    saturated_tensors,
)
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import in_blocks

offsets = st.integers(-64, 96)
states = st.one_of(
    st.integers(-(2**31), 2**31 - 1), st.sampled_from([-(2**31), 2**31 - 1, 2**24 + 1, -1, 0, 1])
)
doubles = st.floats(allow_nan=False, allow_infinity=False)
near_a_tie = st.builds(
    lambda n, k: (n + 0.5) * 2.0**-k, st.integers(-(2**20), 2**20), st.integers(0, 60)
)
weights = st.one_of(doubles, st.floats(-200, 200), near_a_tie)


def scalar(offset: int) -> Layout:
    return Layout.of([("w", [], offset)])


@given(weights, offsets)
def test_genesis_is_the_formula_and_never_saturates(weight: float, offset: int) -> None:
    if arithmetic.saturates(weight, offset):
        with pytest.raises(OutOfRange, match="at offset"):
            genesis_state(scalar(offset), [np.array(weight)])
        return
    state = genesis_state(scalar(offset), [np.array(weight)])
    assert state.dtype == np.int32
    assert state.tolist() == [arithmetic.genesis(weight, offset)]


def test_weights_that_do_not_fit_are_refused_with_the_tensor_and_the_offset_that_would_do() -> None:
    layout = Layout.of([("bias", [3], 0), ("kernel", [2], 2)])
    kernel, bias = np.array([1.0, 31.9]), np.array([200.0, -1000.0, 0.5])
    with pytest.raises(OutOfRange, match=r"'bias' has a weight of 1000; at offset 0") as refusal:
        genesis_state(layout, [bias, kernel])
    assert "offset of -3 or less" in str(refusal.value.hint)
    fitting = Layout.of([("bias", [3], -3), ("kernel", [2], 2)])
    views = float_view(fitting, genesis_state(fitting, [bias, kernel]))
    assert np.allclose(views[0], bias)


def test_what_no_offset_can_hold_is_refused_too() -> None:
    with pytest.raises(OutOfRange) as refusal:
        genesis_state(scalar(0), [np.array(1e300)])
    assert "No allowed offset is low enough" in str(refusal.value.hint)


def test_a_state_at_an_end_of_its_range_is_named() -> None:
    layout = Layout.of([("a", [2], 0), ("b", [2], 0), ("c", [1], 0)])
    state = np.array([0, 2**31 - 1, 5, 2**31 - 2, -(2**31)], np.int32)
    assert saturated_tensors(layout, state) == ("a", "c")
    assert saturated_tensors(layout, np.zeros(5, np.int32)) == ()


def test_a_tensor_whose_changes_all_round_to_zero_is_coarse() -> None:
    layout = Layout.of([("fine", [3], 10), ("coarse", [3], 0), ("same", [2], 0)])
    local = [np.full(3, 1e-6), np.array([1e-6, 0, -1e-6]), np.zeros(2)]
    encoded = encode_update(layout, 15, local, np.zeros(8, np.int32))
    assert encoded.coarse == ("coarse",)
    assert [(t.changed, t.lost) for t in encoded.tensors] == [(3, 0), (2, 2), (0, 0)]


@given(states, offsets)
def test_the_float_view_rounds_once(state: int, offset: int) -> None:
    (view,) = float_view(scalar(offset), np.array([state], np.int32))
    assert view.dtype == np.float32
    assert view.shape == ()
    assert float(view) == arithmetic.view(state, offset)


@given(weights, states, st.integers(0, 24), offsets)
def test_an_update_is_the_formula(
    local: float, state: int, fraction_bits: int, offset: int
) -> None:
    encoded = encode_update(
        scalar(offset), fraction_bits, [np.array(local)], np.array([state], np.int32)
    )
    value, clipped = arithmetic.encode(local, state, fraction_bits, offset)
    assert encoded.vector.dtype == np.int16
    assert encoded.vector.tolist() == [value]
    assert encoded.clipped == float(clipped)


@given(states, st.integers(-(2**15), 2**15 - 1), st.integers(0, 24))
def test_the_next_state_is_the_formula(state: int, step: int, fraction_bits: int) -> None:
    found = next_state(np.array([state], np.int32), np.array([step], np.int16), fraction_bits)
    assert found.dtype == np.int32
    assert found.tolist() == [arithmetic.next_state(state, step, fraction_bits)]


@given(st.integers(0, 2**63), st.integers(1, 2**53 - 1))
def test_a_sample_weight_is_the_formula(samples: int, samples_per_weight: int) -> None:
    weight = sample_weight(samples, samples_per_weight)
    assert 1 <= weight <= 255
    if 1 < weight < 255:
        assert (weight - 1) * samples_per_weight < samples <= weight * samples_per_weight
    assert weight > 1 or samples <= samples_per_weight
    assert weight < 255 or samples > 254 * samples_per_weight


def test_weights_of_no_samples_are_refused() -> None:
    with pytest.raises(InputError):
        sample_weight(-1, 1)
    with pytest.raises(InputError):
        sample_weight(1, 0)


# Several tensors, longer than the blocks that the work is cut into.
LAYOUT = Layout.of([("kernel", [300, 301], 0), ("empty", [0, 3], 0), ("bias", [5], 3)])


def random_weights(seed: int, dtype: type = np.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.5, t.shape).astype(dtype) for t in LAYOUT.tensors]


def test_a_model_survives_the_way_there_and_back() -> None:
    genesis = random_weights(1)
    state = genesis_state(LAYOUT, genesis)
    for view, weight in zip(float_view(LAYOUT, state), genesis, strict=True):
        assert view.shape == weight.shape
        assert np.abs(view - weight).max(initial=0) <= 2**-25


def test_each_tensor_is_scaled_by_its_own_offset() -> None:
    state = genesis_state(LAYOUT, [np.ones(t.shape) / 4 for t in LAYOUT.tensors])
    assert set(state[:-5].tolist()) == {2**22}
    assert set(state[-5:].tolist()) == {2**25}


def test_long_tensors_are_encoded_value_by_value() -> None:
    state = genesis_state(LAYOUT, random_weights(2))
    local = random_weights(3)
    encoded = encode_update(LAYOUT, 12, local, state)
    positions = np.random.default_rng(4).integers(0, LAYOUT.parameters, 200).tolist()
    flat = np.concatenate([weight.reshape(-1) for weight in local])
    for position in [*positions, 0, 32_767, 32_768, 90_299, 90_300, LAYOUT.parameters - 1]:
        offset = 3 if position >= 90_300 else 0
        value, _ = arithmetic.encode(float(flat[position]), int(state[position]), 12, offset)
        assert encoded.vector[position] == value


def test_the_clipped_fraction_counts_values_beyond_the_range() -> None:
    layout = Layout.of([("w", [4], 0)])
    edge = 32_767.5 / 2**15  # rounds half to even: to 32,768, which is clipped
    local = np.array([1.0, edge, 32_767.4999 / 2**15, -5.0])
    encoded = encode_update(layout, 15, [local], np.zeros(4, np.int32))
    assert encoded.vector.tolist() == [32_767, 32_767, 32_767, -32_767]
    assert encoded.clipped == 0.75


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tensor", [0, 2])
def test_weights_that_are_not_finite_are_refused(bad: float, tensor: int) -> None:
    state = genesis_state(LAYOUT, random_weights(5))
    diverged = random_weights(5)
    diverged[tensor].reshape(-1)[-1] = bad
    with pytest.raises(NotFiniteError, match=LAYOUT.tensors[tensor].name):
        encode_update(LAYOUT, 15, diverged, state)
    with pytest.raises(NotFiniteError, match=LAYOUT.tensors[tensor].name):
        genesis_state(LAYOUT, diverged)


def other_weights() -> dict[str, list[np.ndarray]]:
    good = random_weights(6)
    return {
        "fewer tensors": good[:-1],
        "more tensors": [*good, good[0]],
        "another shape": [good[0].T, *good[1:]],
        "another rank": [good[0].reshape(-1), *good[1:]],
        "integers": [good[0].astype(np.int64), *good[1:]],
        "objects": [good[0].astype(object), *good[1:]],
        "complex": [good[0].astype(np.complex128), *good[1:]],
    }


@pytest.mark.parametrize("case", other_weights())
def test_weights_of_another_model_are_refused(case: str) -> None:
    state = np.zeros(LAYOUT.parameters, np.int32)
    with pytest.raises(WeightsError):
        encode_update(LAYOUT, 15, other_weights()[case], state)
    with pytest.raises(WeightsError):
        genesis_state(LAYOUT, other_weights()[case])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_is_taken_at_its_value(dtype: type) -> None:
    state = genesis_state(LAYOUT, random_weights(7, dtype))
    exact = [weight.astype(np.float64) for weight in random_weights(7, dtype)]
    assert np.array_equal(state, genesis_state(LAYOUT, exact))


def test_a_state_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="flat vector"):
        float_view(LAYOUT, np.zeros(LAYOUT.parameters + 1, np.int32))
    with pytest.raises(ValueError, match="flat vector"):
        encode_update(LAYOUT, 15, random_weights(8), np.zeros(LAYOUT.parameters + 1, np.int32))


@pytest.mark.parametrize("size", [1000, 32_768, 50_001, 10**6])
def test_a_state_in_blocks_of_any_size_gives_the_same_view_and_update(size: int) -> None:
    state = genesis_state(LAYOUT, random_weights(1))
    view = float_view_of(LAYOUT, in_blocks(state, size))
    for found, wanted in zip(view, float_view(LAYOUT, state), strict=True):
        assert found.dtype == np.float32
        assert found.shape == wanted.shape
        assert np.array_equal(found, wanted)
    whole = encode_update(LAYOUT, 15, random_weights(2), state)
    encoder = UpdateEncoder(LAYOUT, 15, random_weights(2))
    assert np.array_equal(
        np.concatenate(list(encoder.blocks(in_blocks(state, size)))), whole.vector
    )
    assert encoder.encoding() == whole.encoding
    assert not whole.encoding.is_zero
    same = encode_update(LAYOUT, 15, view, state)
    assert not same.vector.any()
    assert same.encoding.is_zero


def test_a_state_that_ends_too_early_has_no_view_and_no_update() -> None:
    blocks = [np.zeros(LAYOUT.parameters - 1, np.int32)]
    with pytest.raises(ValueError, match="1 values of the state are missing"):
        float_view_of(LAYOUT, blocks)
    with pytest.raises(ValueError, match="1 values of the state are missing"):
        list(UpdateEncoder(LAYOUT, 15, random_weights(2)).blocks(blocks))
