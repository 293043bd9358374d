"""Fees: what is offered, what replaces it, and where it ends."""

from __future__ import annotations

from typing import Any

import pytest

from fl_orchestrator.chain.sending.fees import FeeTooHigh, bumped, fees_of, highest, market_fees

GWEI = 10**9


class Node:
    """A node that names a base fee, or none, and a price for either."""

    def __init__(self, base: int | None, price: int = 0) -> None:
        self.gas_price = self.max_priority_fee = price
        self._block = {} if base is None else {"baseFeePerGas": base}
        self.eth = self

    def get_block(self, _: Any) -> dict[str, int]:
        return self._block


def market(base: int | None, price: int, ceiling: int | None = None) -> dict[str, int]:
    return market_fees(Node(base, price), ceiling)  # type: ignore[arg-type]


def test_an_offer_covers_a_base_fee_that_doubles() -> None:
    assert market(10, 3) == {"maxFeePerGas": 23, "maxPriorityFeePerGas": 3}
    assert market(None, 7) == {"gasPrice": 7}


def test_an_offer_stays_below_the_ceiling() -> None:
    assert market(10, 3, 12) == {"maxFeePerGas": 12, "maxPriorityFeePerGas": 3}
    assert market(10, 30, 12) == {"maxFeePerGas": 12, "maxPriorityFeePerGas": 12}
    assert market(None, 7, 7) == {"gasPrice": 7}


@pytest.mark.parametrize(("base", "price"), [(13 * GWEI, 1), (None, 13 * GWEI)])
def test_a_price_above_the_ceiling_is_refused(base: int | None, price: int) -> None:
    with pytest.raises(FeeTooHigh, match=r"asks for 13 gwei for a unit of gas; at most 12 gwei"):
        market(base, price, 12 * GWEI)


def test_a_replacement_offers_an_eighth_more_in_every_field() -> None:
    first = {"maxFeePerGas": 17, "maxPriorityFeePerGas": 1}
    assert bumped(first, first, {}, None) == {"maxFeePerGas": 20, "maxPriorityFeePerGas": 2}


def test_a_replacement_follows_the_market_as_far_as_it_may() -> None:
    first = {"gasPrice": 80}
    assert bumped(first, first, {"gasPrice": 500}, 600) == {"gasPrice": 500}
    assert bumped(first, first, {"gasPrice": 500}, 400) == {"gasPrice": 90}
    assert bumped(first, first, {"gasPrice": 500}, 89) is None


def test_without_a_ceiling_ten_times_the_first_offer_is_the_end() -> None:
    first, fees, versions = {"gasPrice": 8}, {"gasPrice": 8}, 0
    while higher := bumped(fees, first, {}, None):
        assert higher["gasPrice"] * 8 >= fees["gasPrice"] * 9
        fees, versions = higher, versions + 1
    assert 72 < highest(fees) <= 80
    assert versions < 20


def test_where_gas_is_free_nothing_more_is_offered() -> None:
    free = {"gasPrice": 0}
    assert bumped(free, free, free, 100) is None


def test_the_fees_of_a_transaction_are_found() -> None:
    assert fees_of({"gas": 1, "gasPrice": 5, "nonce": 9}) == {"gasPrice": 5}
