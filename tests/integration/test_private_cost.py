"""The short version of benchmarks/private.py: it runs a whole round, and its files are small."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def figures(checkout: Path) -> dict[str, Any]:
    script = checkout / "benchmarks" / "private.py"
    command = [sys.executable, str(script), "--json", "--parameters", "5000", "--runs", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    table: dict[str, Any] = json.loads(run.stdout)
    return table


@pytest.mark.parametrize("key", ["party_cpu_s", "aggregator_cpu_s", "unmask_cpu_s"])
def test_all_but_the_values_costs_a_tenth_of_a_second(figures: dict[str, Any], key: str) -> None:
    assert 0 < figures[key] < 0.1


def test_a_seal_and_a_release_have_the_sizes_that_were_promised(figures: dict[str, Any]) -> None:
    assert figures["sets"] == 6
    assert figures["seal_bytes"] == 1_248
    assert figures["release_bytes"] == figures["max_release_bytes"] == 4_890
