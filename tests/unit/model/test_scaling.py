"""The scales of a new federation's updates: what is measured fits, as finely as possible."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_orchestrator.model.fixed_point import encode_update, genesis_state
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.scaling import HEADROOM, Scaling, choose_scaling

Arrays = list[NDArray[np.float32]]


def changed(*sizes: float, start: float = 0.0, count: int = 1000) -> tuple[Arrays, Arrays]:
    """Tensors of which each changes by up to a size, evenly."""
    before = [np.full(count, start, np.float32) for _ in sizes]
    after = [
        b + np.linspace(-s, s, count, dtype=np.float32) for b, s in zip(before, sizes, strict=True)
    ]
    return before, after


def clipped(before: Arrays, after: Arrays, scaling: Scaling, enlarged: float = 1.0) -> float:
    """The fraction of values that an update with these scales clips."""
    shapes = zip(before, scaling.offsets, strict=True)
    layout = Layout.of((str(i), b.shape, o) for i, (b, o) in enumerate(shapes))
    moved = [b + enlarged * (a - b) for b, a in zip(before, after, strict=True)]
    state = genesis_state(layout, before)
    return encode_update(layout, scaling.fraction_bits, moved, state).clipped


@pytest.mark.parametrize("size", [2.0**-12, 0.003, 0.1, 0.26, 1.0, 7.0])
def test_the_most_bits_with_which_enlarged_changes_still_fit(size: float) -> None:
    before, after = changed(size)
    chosen = choose_scaling(before, after, 0.0)
    assert clipped(before, after, chosen, HEADROOM * 0.999) == 0
    if chosen.fraction_bits < 24:
        finer = Scaling(chosen.fraction_bits + 1, chosen.offsets)
        assert clipped(before, after, finer, HEADROOM * 1.001) > 0


@pytest.mark.parametrize("size", [2.0**-12, 0.003, 0.1])
def test_changes_of_usual_size_need_no_offset(size: float) -> None:
    assert choose_scaling(*changed(size), 0.0).offsets == (0,)


def test_a_few_outliers_may_be_clipped_if_that_is_allowed() -> None:
    before, after = changed(0.01)
    after[0][0] = 100.0
    strict, lax = choose_scaling(before, after, 0.0), choose_scaling(before, after, 0.001)
    assert lax.fraction_bits > strict.fraction_bits + 8
    assert clipped(before, after, lax) == pytest.approx(0.001)


def test_a_tensor_that_changes_far_less_has_more_bits_of_its_own() -> None:
    before, after = changed(0.5, 0.4, 0.001)
    chosen = choose_scaling(before, after, 0.0)
    assert [chosen.fraction_bits + offset for offset in chosen.offsets] == [13, 14, 22]
    assert clipped(before, after, chosen, HEADROOM * 0.999) == 0


def test_large_weights_keep_room_to_grow() -> None:
    before, after = changed(0.001, start=500.0)
    chosen = choose_scaling(before, after, 0.0)
    layout = Layout.of([("0", before[0].shape, chosen.offsets[0])])
    grown = genesis_state(layout, [16 * after[0]])
    assert chosen.offsets[0] < 0
    assert np.abs(grown.astype(np.int64)).max() < 2**31 - 1
    assert clipped(before, after, chosen) == 0


def test_changes_of_thousands_get_a_negative_offset() -> None:
    before, after = changed(1e6)
    chosen = choose_scaling(before, after, 0.0)
    assert chosen.offsets[0] < 0
    assert clipped(before, after, chosen, HEADROOM * 0.999) == 0


def test_given_bits_are_kept_and_offsets_make_up_for_them() -> None:
    before, after = changed(0.5, 8.0)
    chosen = choose_scaling(before, after, 0.0, fraction_bits=15)
    assert chosen.fraction_bits == 15
    assert clipped(before, after, chosen, HEADROOM * 0.999) == 0


def test_tensors_that_do_not_change_or_are_empty_say_nothing() -> None:
    before, after = changed(0.1)
    frozen = [*before, np.ones(3, np.float32), np.empty(0, np.float32)]
    chosen = choose_scaling(frozen, [*after, *frozen[1:]], 0.0)
    assert chosen == Scaling(choose_scaling(before, after, 0.0).fraction_bits, (0, 0, 0))
    assert choose_scaling(frozen[1:], frozen[1:], 0.0) == Scaling(15, (0, 0))
