"""The budget of a day: what is charged, what is settled, and what a restart does not change."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fl_orchestrator.chain.sending.budget import Budget, BudgetExceeded, UnusableBudget, utc_day
from fl_orchestrator.units import ETHER


class Calendar:
    def __init__(self) -> None:
        self.day = "2026-01-31"

    def __call__(self) -> str:
        return self.day


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def budget(tmp_path: Path, calendar: Calendar) -> Budget:
    return Budget(tmp_path / "home" / "budget.json", 1000, 50, calendar)


def test_a_day_that_is_spent_is_over(budget: Budget) -> None:
    budget.charge(0, 600, 0)
    budget.charge(1, 400, 0)
    with pytest.raises(BudgetExceeded, match=r"up to 1 wei of gas, but 1,000 wei of today's 1,000"):
        budget.charge(2, 1, 0)
    assert budget.spent_today() == (1000, 0)


def test_a_refusal_says_what_to_do(budget: Budget) -> None:
    with pytest.raises(BudgetExceeded) as refusal:
        budget.charge(0, 1001, 0)
    assert refusal.value.hint == "Wait for the next day (UTC), or raise the daily cap."
    assert not budget.path.exists()


def test_a_receipt_gives_back_what_was_not_needed(budget: Budget) -> None:
    budget.charge(0, 1000, 0)
    budget.settle(0, 200, 0)
    assert budget.spent_today() == (200, 0)
    budget.charge(1, 800, 0)


def test_value_has_a_cap_of_its_own(budget: Budget) -> None:
    budget.charge(0, 10, 50)
    with pytest.raises(BudgetExceeded, match=r"up to 1 wei of value"):
        budget.charge(1, 10, 1)
    budget.charge(1, 990, 0)
    budget.settle(0, 10, 0)
    assert budget.spent_today() == (1000, 0)


def test_versions_of_one_transaction_count_once(budget: Budget) -> None:
    for most in (500, 900, 700):
        budget.charge(7, most, 0)
    assert budget.spent_today() == (900, 0)
    with pytest.raises(BudgetExceeded):
        budget.charge(7, 1001, 0)
    assert budget.spent_today() == (900, 0)


def test_a_dry_run_counts_nothing(budget: Budget) -> None:
    budget.check(1000, 50)
    with pytest.raises(BudgetExceeded):
        budget.check(1001, 0)
    assert budget.spent_today() == (0, 0)


def test_a_restart_keeps_what_was_spent_and_what_may_still_be(
    budget: Budget, calendar: Calendar
) -> None:
    budget.charge(0, 300, 5)
    budget.settle(0, 100, 5)
    budget.charge(1, 600, 0)
    restarted = Budget(budget.path, 1000, 50, calendar)
    assert restarted.spent_today() == (700, 5)
    with pytest.raises(BudgetExceeded):
        restarted.charge(2, 301, 0)


def test_every_day_has_its_own_budget(budget: Budget, calendar: Calendar) -> None:
    budget.charge(0, 1000, 0)
    calendar.day = "2026-02-01"
    assert budget.spent_today() == (0, 0)
    budget.charge(1, 1000, 0)
    # Mined after midnight, it belongs to the day on which it was sent.
    budget.settle(0, 900, 0)
    assert budget.spent_today() == (1000, 0)


def test_without_caps_all_is_counted_and_nothing_refused(tmp_path: Path) -> None:
    budget = Budget(tmp_path / "budget.json")
    budget.charge(0, 5 * ETHER, 7 * ETHER)
    assert budget.spent_today() == (5 * ETHER, 7 * ETHER)
    assert json.loads(budget.path.read_text())["day"] == utc_day()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"day": "2026-01-31", "spent": {"gas": -5}}',
        b'{"day": "2026-01-31", "spent": {"gas": "5"}}',
        b'{"day": "2026-01-31", "more": 1}',
        b'{"day": 5}',
    ],
)
def test_a_damaged_file_is_no_fresh_start(budget: Budget, content: bytes) -> None:
    budget.path.parent.mkdir()
    budget.path.write_bytes(content)
    uses: tuple[Callable[[], None], ...] = (
        lambda: budget.charge(0, 1, 0),
        lambda: budget.check(1, 0),
    )
    for use in uses:
        with pytest.raises(UnusableBudget, match="is damaged") as refusal:
            use()
        assert refusal.value.hint == "Delete the file to count today's spending from zero."


def test_a_place_that_cannot_be_written_stops_the_spending(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableBudget, match="cannot be"):
        Budget(tmp_path / "file" / "budget.json", 1000).charge(0, 1, 0)


def test_threads_do_not_lose_each_others_charges(budget: Budget) -> None:
    threads = [threading.Thread(target=budget.charge, args=(n, 10, 0)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent_today() == (200, 0)
