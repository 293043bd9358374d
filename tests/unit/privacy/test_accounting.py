"""Epsilon: that of dp-accounting, of textbook cases, and how many trainings fit into a budget."""

from __future__ import annotations

import math
import subprocess
import sys

import dp_accounting
import pytest

from fl_orchestrator.model.manifest import NoiseSpec
from fl_orchestrator.privacy.accounting import (
    GRID,
    epsilon_of,
    epsilon_of_sums,
    noise_for,
    trainings_left,
)
from fl_orchestrator.training.dp_sgd import Mechanism

SMALL = Mechanism(2.0, 0.05, 40)


def test_epsilon_is_that_of_dp_accounting() -> None:
    event = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(2.0)), 120
    )
    theirs = dp_accounting.pld.PLDAccountant(value_discretization_interval=GRID).compose(event)
    assert epsilon_of({SMALL: 3}, 1e-5) == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-9)


def test_epsilon_of_full_batches_is_that_of_one_gaussian_mechanism() -> None:
    """n steps of noise s on all rows are one step of noise s / sqrt(n) (Balle and Wang 2018)."""
    expected = dp_accounting.get_epsilon_gaussian(8.0 / math.sqrt(16), 1e-5)
    assert epsilon_of({Mechanism(8.0, 1.0, 4): 4}, 1e-5) == pytest.approx(expected, rel=1e-3)


def test_the_classical_mnist_setting_has_its_known_epsilon() -> None:
    """Noise 1.1, batches of 256 of 60,000, 60 epochs: 3.0 by moments, less here."""
    assert 2.3 < epsilon_of({Mechanism(1.1, 256 / 60_000, 14_062): 1}, 1e-5) < 2.6


def test_trainings_of_all_kinds_add_up() -> None:
    other = Mechanism(3.0, 0.1, 20)
    both = epsilon_of({SMALL: 2, other: 1}, 1e-5)
    assert both > max(epsilon_of({SMALL: 2}, 1e-5), epsilon_of({other: 1}, 1e-5))
    assert both < epsilon_of({SMALL: 2}, 1e-5) + epsilon_of({other: 1}, 1e-5)


def test_nothing_spends_nothing() -> None:
    assert epsilon_of({}, 1e-5) == 0.0
    assert epsilon_of({SMALL: 0}, 1e-5) == 0.0


def test_the_trainings_left_fit_and_a_tenth_more_do_not() -> None:
    left = trainings_left({SMALL: 2}, SMALL, 1.5, 1e-5)
    assert epsilon_of({SMALL: 2 + left}, 1e-5) <= 1.5
    assert epsilon_of({SMALL: 2 + left + max(1, left // 10)}, 1e-5) > 1.5
    assert trainings_left({}, SMALL, 0.01, 1e-5) == 0


def test_noise_for_a_budget_stays_within_it() -> None:
    noise = noise_for(0.05, 40, 1.0, 1e-5)
    assert 0.95 < epsilon_of({Mechanism(noise, 0.05, 40): 1}, 1e-5) <= 1.0


def test_the_accountant_is_imported_only_when_it_is_asked() -> None:
    code = (
        "import sys, fl_orchestrator.privacy.accounting, fl_orchestrator.roles.party.spending\n"
        "raise SystemExit('dp_accounting' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _noise(multiplier: float) -> NoiseSpec:
    return NoiseSpec(clip=1.0, multiplier=multiplier, honest=5, delta=1e-5, rounds=50)


@pytest.mark.parametrize(("multiplier", "rounds"), [(1.0, 1), (5.0, 20), (10.0, 50)])
def test_noise_on_sums_costs_little_more_than_gaussian_noise(
    multiplier: float, rounds: int
) -> None:
    gaussian = epsilon_of({Mechanism(multiplier, 1.0, rounds): 1}, 1e-5)
    found = epsilon_of_sums(_noise(multiplier), 15, 1_000_000, rounds)
    assert gaussian < found < 1.12 * gaussian


def test_coarse_updates_with_noise_of_few_units_cost_more() -> None:
    fine, coarse = (epsilon_of_sums(_noise(2.0), bits, 10_000, 1) for bits in (15, 1))
    assert coarse > 1.03 * fine


def test_more_sums_cost_more_and_none_costs_nothing() -> None:
    costs = [epsilon_of_sums(_noise(3.0), 15, 1_000, rounds) for rounds in (0, 1, 2, 40)]
    assert costs[0] == 0.0
    assert costs == sorted(costs)
    assert costs[1] < costs[2] < 2 * costs[1]
