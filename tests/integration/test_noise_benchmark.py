"""The short version of benchmarks/noise.py: noise costs accuracy, and less with more parties."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def figures(checkout: Path) -> dict[str, Any]:
    script = checkout / "benchmarks" / "noise.py"
    options = ["--json", "--rounds", "10", "--seeds", "1", "--datasets", "digits"]
    run = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    table: dict[str, Any] = json.loads(run.stdout)
    return table


def test_a_smaller_epsilon_costs_accuracy(figures: dict[str, Any]) -> None:
    for parties in (20, 50, 100):
        assert figures[f"digits_{parties}_inf"] > figures[f"digits_{parties}_1"] + 0.1


def test_fifty_parties_pay_less_for_the_same_epsilon_than_twenty(figures: dict[str, Any]) -> None:
    losses = [figures[f"digits_{n}_inf"] - figures[f"digits_{n}_4"] for n in (20, 50)]
    assert losses[1] < losses[0] - 0.05
