"""The short version of benchmarks/gas.py: the goals, and that gas does not grow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def figures(checkout: Path) -> dict[str, Any]:
    script = checkout / "benchmarks" / "gas.py"
    command = [sys.executable, str(script), "--json", "--parties", "1000", "--rounds", "12"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    table: dict[str, Any] = json.loads(run.stdout)
    return table


def test_opening_a_round_costs_the_same_for_ten_parties_and_for_a_thousand(
    figures: dict[str, Any],
) -> None:
    assert 1 / 1.02 <= figures["open_ratio_1k"] <= 1.02


def test_the_twelfth_round_costs_what_the_third_costs(figures: dict[str, Any]) -> None:
    assert 1 / 1.01 <= figures["round_12_over_3"] <= 1.01


@pytest.mark.parametrize(
    ("round_kind", "goal"),
    [
        ("round_10_direct", 1_450_000),
        ("round_10_relayed", 900_000),
        ("round_10_private", 1_000_000),
    ],
)
def test_a_round_of_ten_parties_meets_its_goal(
    figures: dict[str, Any], round_kind: str, goal: int
) -> None:
    assert figures[round_kind] <= goal


def test_disputes_add_next_to_nothing_to_a_round(figures: dict[str, Any]) -> None:
    assert figures["round_over_before_disputes"] <= 1.02


@pytest.mark.parametrize("updates", ["10", "100", "100_depth_19"])
def test_a_challenge_costs_its_calldata_and_nothing_else(
    figures: dict[str, Any], updates: str
) -> None:
    key = f"challenge_{updates}"
    assert figures[key] == figures["floors"][key]


def test_a_challenge_of_a_hundred_updates_fits_a_transaction(figures: dict[str, Any]) -> None:
    assert figures["challenge_100"] <= 4_900_000
    assert figures["challenge_100_depth_19"] <= 16_700_000
    assert figures["sizes"]["challenge_100_depth_19"] <= 131_072


def test_challenges_of_masked_sums_meet_their_goals(figures: dict[str, Any]) -> None:
    assert figures["challenge_10_private"] <= 600_000
    assert figures["challenge_100_private"] <= 4_900_000
    assert figures["sizes"]["challenge_100_private"] <= 131_072


def test_nothing_costs_less_than_its_floor(figures: dict[str, Any]) -> None:
    floors = figures["floors"]
    assert {"commit", "reveal", "deploy_federation", "round_10_direct"} <= floors.keys()
    assert [key for key, floor in floors.items() if figures[key] < floor] == []
