"""Epsilon of trainings with DP-SGD, by Google's `dp-accounting` (privacy loss distributions).

The figures are upper bounds: the accountant rounds privacy losses up. It is imported only when an
epsilon is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from fl_orchestrator.errors import ToolchainError
from fl_orchestrator.training.dp_sgd import Mechanism

#: `trainings_left` counts no further.
MOST_TRAININGS: Final = 1 << 16
#: Privacy losses are rounded up to multiples of this. Coarser ones give larger bounds, faster.
GRID: Final = 1e-4
_COARSE: Final = 1e-3


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
    """The least noise multiplier, to 1 percent, whose `steps` steps stay within `epsilon`."""

    def fits(noise: float) -> bool:
        return epsilon_of({Mechanism(noise, rate, steps): 1}, delta) <= epsilon

    low, high = 0.25, 0.5
    while not fits(high):
        low, high = high, 2 * high
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def require_accountant() -> None:
    """Raise AccountantMissing if dp-accounting cannot be imported."""
    _library()


def _library() -> Any:
    try:
        import dp_accounting
    except ImportError as error:
        raise AccountantMissing(
            f"dp-accounting cannot be imported: {error}.",
            "Install it with: pip install 'fl-orchestrator[privacy]'.",
        ) from error
    return dp_accounting
