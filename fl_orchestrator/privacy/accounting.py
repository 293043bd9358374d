"""Epsilon of trainings with DP-SGD and of noise on sums, by Google's `dp-accounting`.

The figures are upper bounds: the accountant rounds privacy losses up. It is imported only when an
epsilon is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from fl_orchestrator.errors import ToolchainError, install_hint
from fl_orchestrator.model.manifest import NoiseSpec
from fl_orchestrator.privacy.noise import TABLE_ERROR
from fl_orchestrator.training.dp_sgd import Mechanism

#: `trainings_left` counts no further.
MOST_TRAININGS: Final = 1 << 16
#: Privacy losses are rounded up to multiples of this. Coarser ones give larger bounds, faster.
GRID: Final = 1e-4
_COARSE: Final = 1e-3
_LEAST_NOISE: Final = 0.25
# The theorem is for whole orders above one.
_ORDERS: Final = [*range(2, 64), *range(64, 256, 8), *range(256, 4097, 128)]


class AccountantMissing(ToolchainError):
    """dp-accounting cannot be imported."""


def epsilon_of(spent: Mapping[Mechanism, int], delta: float, grid: float = GRID) -> float:
    """The epsilon at `delta` of trainings and how often each was done, all on the same rows.

    A row is added or removed. Each step takes every row with the mechanism's rate, independently.
    Infinite if no bound is known.

    Raises:
        AccountantMissing: dp-accounting is not installed.
    """
    if not any(spent.values()):
        return 0.0
    accounting = _library()
    accountant = accounting.pld.PLDAccountant(
        accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, grid
    )
    for mechanism, times in sorted(spent.items()):
        event: Any = accounting.GaussianDpEvent(mechanism.noise_multiplier)
        if mechanism.rate < 1:
            event = accounting.PoissonSampledDpEvent(mechanism.rate, event)
        accountant.compose(event, mechanism.steps * times)
    return float(accountant.get_epsilon(delta))


def trainings_left(
    spent: Mapping[Mechanism, int], mechanism: Mechanism, epsilon: float, delta: float
) -> int:
    """About how many more trainings of this kind stay within `epsilon`; never too many.

    At most `MOST_TRAININGS`.
    """

    def fits(more: int) -> bool:
        together = {**spent, mechanism: spent.get(mechanism, 0) + more}
        return epsilon_of(together, delta, _COARSE) <= epsilon

    if not fits(1):
        return 0
    fitting, beyond = 1, 2
    while beyond <= MOST_TRAININGS and fits(beyond):
        fitting, beyond = beyond, 2 * beyond
    if beyond > MOST_TRAININGS:
        return MOST_TRAININGS
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        fitting, beyond = (middle, beyond) if fits(middle) else (fitting, middle)
    return fitting


def noise_for(rate: float, steps: int, epsilon: float, delta: float) -> float:
    """The least noise multiplier, to 1 percent or so, whose `steps` steps stay within `epsilon`."""

    def fits(noise: float) -> bool:
        return epsilon_of({Mechanism(noise, rate, steps): 1}, delta, _COARSE) <= epsilon

    # From above: with little noise the accountant takes long.
    high = 1.0
    while not fits(high):
        high *= 2
    low = high / 2
    while low > _LEAST_NOISE and fits(low):
        low, high = low / 2, low
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def epsilon_of_sums(noise: NoiseSpec, fraction_bits: int, parameters: int, rounds: int) -> float:
    """The epsilon, at the noise's delta, of ``rounds`` opened sums, for a whole party.

    Against whoever sees all sums and the noise of all but ``honest`` of their parties, with an
    update or with zeros in its place. The Renyi divergences of the Skellam mechanism are those of
    Agarwal, Kairouz and Liu 2021, Theorem 3.5 and Section 3.2; they add up over rounds. It rounds
    up, for the tables that noise is drawn from.

    Raises:
        AccountantMissing: dp-accounting is not installed.
    """
    if not rounds:
        return 0.0
    norm = noise.norm(fraction_bits)
    variance = (noise.multiplier * norm) ** 2
    # The L1 norm of integers is at most the square of their L2 norm.
    l1_norm = min(norm**2, math.sqrt(parameters) * norm)
    divergences = []
    for order in _ORDERS:
        second = ((2 * order - 1) * norm**2 + 6 * l1_norm) / (4 * variance**2)
        extra = min(second, 3 * l1_norm / (2 * variance))
        divergences.append(rounds * (order * norm**2 / (2 * variance) + extra))
    found, _ = _library().rdp.compute_epsilon(_ORDERS, divergences, noise.delta)
    return float(found) + rounds * parameters * noise.honest * TABLE_ERROR


def require_accountant() -> None:
    """Raise AccountantMissing if dp-accounting cannot be imported."""
    _library()


def _library() -> Any:
    try:
        import dp_accounting
    except ImportError as error:
        raise AccountantMissing(
            f"dp-accounting cannot be imported: {error}.",
            install_hint("privacy"),
        ) from error
    return dp_accounting
