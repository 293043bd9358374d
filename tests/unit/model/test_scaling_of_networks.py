"""Networks with BatchNorm over raw columns train as in float32, with the scales that are chosen.

The columns of one tensor are of one scale: a tensor has one offset.

A party's training is imitated: running means and variances move towards those of its rows, as
BatchNorm's do, and trainable weights move towards its optimum. Float FedAvg is the reference.
"""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fl_orchestrator.model.fixed_point import (
    encode_update,
    float_view,
    genesis_state,
    next_state,
    saturated_tensors,
)
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.scaling import Scaling, choose_scaling

Weights = list[NDArray[np.float32]]
MEAN, VARIANCE = "bn/moving_mean", "bn/moving_variance"
NAMES = ("bn/gamma", "bn/beta", MEAN, VARIANCE, "dense/kernel")
EPSILON = 1e-3
PARTIES, ROUNDS = 3, 300


class Site:
    """One party: where each tensor is pulled to, and which share of the way a round goes.

    Sites share what the columns mean (``seed``) and differ by up to a quarter (``number``).
    """

    def __init__(
        self, scales: NDArray[np.float64], momentum: float, steps: int, seed: int, number: int
    ) -> None:
        shared, own = np.random.default_rng(seed), np.random.default_rng([seed, number])
        columns = len(scales)
        self.targets = [
            target * own.uniform(0.75, 1.25, columns)
            for target in (
                shared.uniform(0.5, 1.5, columns),
                shared.normal(0, 0.3, columns),
                scales * shared.normal(0, 3, columns),
                scales**2,
                shared.normal(0, 1, columns),
            )
        ]
        running = 1 - momentum**steps
        self.speeds = [0.02, 0.02, running, running, 0.05]

    def fit(self, weights: Weights) -> Weights:
        moves = zip(weights, self.targets, self.speeds, strict=True)
        return [(w + speed * (target - w)).astype(np.float32) for w, target, speed in moves]


def fresh(columns: int) -> Weights:
    """A new network as Keras makes it."""
    ones, zeros = np.ones(columns, np.float32), np.zeros(columns, np.float32)
    return [ones, zeros, zeros, ones, zeros + np.float32(0.1)]


# Shrinking a failure would train for minutes.
@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(
    exponent=st.floats(-4, 6),
    spread=st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=6),
    momentum=st.sampled_from([0.9, 0.99]),
    steps=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_raw_columns_train_as_in_float_fedavg(
    exponent: float, spread: list[float], momentum: float, steps: int, seed: int
) -> None:
    scales = 10.0 ** (exponent + np.array(spread))
    sites = [Site(scales, momentum, steps, seed, i) for i in range(PARTIES)]
    first = fresh(len(scales))
    scaling = choose_scaling(first, sites[0].fit(first), 0.001)
    tensors = zip(NAMES, first, scaling.offsets, strict=True)
    layout = Layout.of([(name, w.shape, offset) for name, w, offset in tensors])
    state, floats = genesis_state(layout, first), first
    for _ in range(ROUNDS):
        view = float_view(layout, state)
        vectors = [
            encode_update(layout, scaling.fraction_bits, site.fit(view), state).vector
            for site in sites
        ]
        total = np.stack(vectors).sum(axis=0, dtype=np.int64)
        mean = (2 * total + PARTIES) // (2 * PARTIES)
        state = next_state(state, mean, scaling.fraction_bits)
        local = zip(*(site.fit(floats) for site in sites), strict=True)
        floats = [np.stack(w).mean(axis=0, dtype=np.float64).astype(np.float32) for w in local]
    assert saturated_tensors(layout, state) == ()
    found = dict(zip(NAMES, float_view(layout, state), strict=True))
    wanted = dict(zip(NAMES, floats, strict=True))
    assert found[VARIANCE].min() >= -quantum(scaling, layout.tensors[3].offset) / 2
    # What the network computes with: its running variance is added to Keras' epsilon.
    deviation = np.sqrt(wanted[VARIANCE] + EPSILON)
    ratio = np.sqrt(np.maximum(found[VARIANCE], 0) + EPSILON) / deviation
    assert np.abs(ratio - 1).max() <= 0.05
    assert (np.abs(found[MEAN] - wanted[MEAN]) <= 0.05 * (deviation + np.abs(wanted[MEAN]))).all()
    for name in (*NAMES[:2], NAMES[-1]):
        assert np.abs(found[name] - wanted[name]).max() <= 0.01, name


def test_columns_of_very_different_scales_in_one_tensor_are_told_apart() -> None:
    """One offset cannot serve both: the small column's changes are lost, and that is counted."""
    before = [np.array([1.0, 1.0], np.float32)]
    after = [np.array([1e10, 0.9], np.float32)]
    scaling = choose_scaling(before, after, 0.0)
    layout = Layout.of([(VARIANCE, (2,), scaling.offsets[0])])
    state = genesis_state(layout, before)
    (encoding,) = encode_update(layout, scaling.fraction_bits, after, state).tensors
    assert (encoding.changed, encoding.lost, encoding.clipped) == (2, 1, 0)


def quantum(scaling: Scaling, offset: int) -> float:
    """The least change of a tensor that an update can express."""
    return 2.0 ** -(scaling.fraction_bits + offset)
