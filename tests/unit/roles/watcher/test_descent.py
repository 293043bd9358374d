"""A watcher among thousands of demands that are not its own."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from fl_orchestrator.chain.event_types import Answered, Demanded
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.watcher.descent import BondTooHigh, Descents

MANY = 5_000
PERIOD = 600
ME, CARTEL = "0x" + "11" * 20, "0x" + "22" * 20
RESULT = Result(1, bytes(32), bytes(32), 3, b"\1" * 32, Cid(bytes(32), 0x55))


class FakeFederation:
    """Makes calls that are tuples, and counts what it is asked for."""

    def __init__(self, balance: int = 0, now: int = 0) -> None:
        self.balance, self.now, self.asked = balance, now, 0
        eth = SimpleNamespace(
            get_balance=lambda _: self.balance,
            get_block=lambda _: {"baseFeePerGas": 10**12},
            max_priority_fee=0,
        )
        self.web3 = SimpleNamespace(eth=eth)
        self.reverts = SimpleNamespace(translated=lambda: _Nothing())

    def params(self) -> Any:
        return SimpleNamespace(demand_bond=10**16)

    def expire(self, number: int, result: Result) -> tuple[str, int, int]:
        return ("expire", number, result.round)

    def close_descent(self, number: int) -> tuple[str, int]:
        return ("close", number)

    def demand_by_id(self, _number: int) -> Any:
        self.asked += 1
        return SimpleNamespace(ended=False, until=2 * PERIOD, answerer=CARTEL)


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def demand(number: int, round_number: int = 1, demander: str = CARTEL) -> Demanded:
    """One a second, from time 0 on."""
    return Demanded(round_number, number, demander, 1, 0, 0, 1, number + PERIOD, number)


def indexed(demands: list[Demanded], answered: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    answers = {n: Answered(1, n, CARTEL, b"", 1) for n in answered}
    return SimpleNamespace(demands={d.id: d for d in demands}, answers=answers)


def descents(rounds: Any, federation: FakeFederation, max_bond: int | None = None) -> Any:
    return Descents(federation, rounds, ME, max_bond)  # type: ignore[arg-type]


def seen(now: int) -> Any:
    return SimpleNamespace(timestamp=now)


@pytest.mark.parametrize("answered", [0, 1, MANY // 2, MANY - 1])
def test_the_first_of_five_thousand_demands_that_is_left_unanswered_is_expired_in_time(
    answered: int,
) -> None:
    rounds = indexed([demand(n) for n in range(1, MANY + 1)], set(range(1, answered + 1)))
    role, wake_ats = descents(rounds, FakeFederation()), list[int]()
    first = answered + 1 + PERIOD
    assert list(role.overdue(seen(first - 1), RESULT, wake_ats)) == []
    assert wake_ats == [first]
    assert list(role.overdue(seen(first), RESULT, [])) == [("expire", answered + 1, 1)]


def test_five_thousand_answers_leave_nothing_to_expire() -> None:
    rounds = indexed([demand(n) for n in range(1, MANY + 1)], set(range(1, MANY + 1)))
    role, wake_ats = descents(rounds, FakeFederation()), list[int]()
    assert list(role.overdue(seen(10 * MANY), RESULT, wake_ats)) == []
    assert wake_ats == []
    assert not role.unanswered_in(1)


def test_demands_of_other_rounds_do_not_count() -> None:
    rounds = indexed([demand(n, 1 + n % 50) for n in range(1, MANY + 1)])
    role = descents(rounds, FakeFederation())
    for number in range(1, 51):
        result = dataclasses.replace(RESULT, round=number)
        calls = list(role.overdue(seen(10 * MANY), result, []))
        assert len(calls) == MANY // 50
        assert {call[2] for call in calls} == {number}


def test_ones_own_demand_is_expired_before_those_of_others() -> None:
    own = demand(MANY // 2, demander=ME)
    others = [demand(n) for n in range(1, MANY + 1) if n != own.id]
    role = descents(indexed([*others, own]), FakeFederation())
    assert next(role.overdue(seen(10 * MANY), RESULT, [])) == ("expire", own.id, 1)


def begin(role: Any, now: int, open_ones: int) -> BondTooHigh:
    window = SimpleNamespace(window_end=10**9, open_descents=open_ones)
    right = SimpleNamespace(depth=3)
    with pytest.raises(BondTooHigh) as caught:
        role.next(seen(now), window, RESULT, right, [])
    return caught.value


def test_stale_descents_are_read_once_and_closed_together() -> None:
    rounds = indexed([demand(n) for n in range(1, MANY + 1)], set(range(1, MANY + 1)))
    federation = FakeFederation(balance=10**18)
    role = descents(rounds, federation)
    assert begin(role, PERIOD, MANY).closable == ()
    assert federation.asked == MANY
    assert begin(role, PERIOD + 30, MANY).closable == ()
    assert federation.asked == MANY, "asked again before anything can have changed"
    closable = begin(role, 2 * PERIOD, MANY).closable
    assert len(closable) == len(set(closable)) == 64


@pytest.mark.parametrize(("max_bond", "expected"), [(None, "8.72 ETH"), (10**17, "0.1 ETH")])
def test_a_bond_may_cost_what_the_account_holds_unless_a_lower_bound_is_set(
    max_bond: int | None, expected: str
) -> None:
    role = descents(indexed([]), FakeFederation(balance=10**19), max_bond)
    error = begin(role, 0, MANY)
    assert f"At most {expected}" in str(error)
