"""What a flood of demands costs, and the bond that makes it cost too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.chain.deployment.flood import (
    DEMAND_BOND,
    FLOOD_MARGIN,
    FloodedTerms,
    answers_in_time,
    flood_cost,
    least_bond,
    require_bond,
)
from fl_orchestrator.model.protocol import MAX_AGGREGATORS
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.units import ETHER

PERIODS = st.integers(24, 100_000)
STAKES = st.integers(1, 10**6 * ETHER)
BLOCKS = st.integers(1, 12)


def test_the_first_demand_beyond_the_answers_completes_the_price() -> None:
    assert flood_cost(7, 0) == 7
    # Twenty open descents cost 1 + 2 + ... + 20 bonds.
    assert flood_cost(1, 19) == 210


@pytest.mark.parametrize(
    ("block_seconds", "responders", "answers"),
    [(1, 1, 9_584), (1, 2, 19_168), (1, 64, 37_138), (12, 1, 784), (12, 2, 1_568), (12, 64, 3_038)],
)
def test_the_table_of_the_threat_model_is_what_is_computed(
    block_seconds: int, responders: int, answers: int
) -> None:
    assert answers_in_time(600, responders, block_seconds) == answers


@pytest.mark.parametrize("block_seconds", [1, 12])
def test_at_the_defaults_a_flood_costs_more_than_ten_times_all_stakes(block_seconds: int) -> None:
    terms = Terms(max_parties=3, participants=3)
    require_bond(terms.demand_bond, terms.answer_period, terms.min_aggregator_stake, block_seconds)
    for count in range(1, MAX_AGGREGATORS + 1):
        answers = answers_in_time(terms.answer_period, count, block_seconds)
        cost = flood_cost(terms.demand_bond, answers)
        assert cost >= FLOOD_MARGIN * count * terms.min_aggregator_stake


def test_one_answer_a_block_would_not_be_enough() -> None:
    """What aggregators could do that wait for each receipt, with blocks of 12 s."""
    assert flood_cost(DEMAND_BOND, 600 // 12 - 1) < FLOOD_MARGIN * 4 * ETHER


@given(PERIODS, STAKES, BLOCKS)
def test_the_least_bond_is_enough_for_any_number_of_aggregators(
    period: int, stake: int, block_seconds: int
) -> None:
    bond = least_bond(period, stake, block_seconds)
    require_bond(bond, period, stake, block_seconds)
    for count in (1, 2, 5, 6, 7, MAX_AGGREGATORS):
        cost = flood_cost(bond, answers_in_time(period, count, block_seconds))
        assert cost >= FLOOD_MARGIN * count * stake


@given(PERIODS, STAKES, BLOCKS)
def test_a_thousandth_of_an_ether_less_is_refused(
    period: int, stake: int, block_seconds: int
) -> None:
    bond = least_bond(period, stake, block_seconds)
    with pytest.raises(FloodedTerms, match="less than ten times"):
        require_bond(bond - ETHER // 1000, period, stake, block_seconds)


@pytest.mark.parametrize(("period", "block_seconds"), [(12, 12), (1, 1), (5, 12)])
def test_a_period_in_which_nobody_can_answer_is_refused(period: int, block_seconds: int) -> None:
    with pytest.raises(FloodedTerms, match="nobody can answer a demand"):
        least_bond(period, ETHER, block_seconds)


def test_the_answers_that_aggregators_must_be_able_to_pay_for() -> None:
    """docs/threat-model.md: 88, with four ETH of stake."""
    assert flood_cost(DEMAND_BOND, 88) >= 40 * ETHER > flood_cost(DEMAND_BOND, 87)
