"""examples/compare.py in short form: each federation beside its parties alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("example", "parties", "rounds", "least", "gain"),
    [
        ("credit_german", 10, 4, 0.78, 0.05),
        ("ai4i", 4, 3, 0.8, -0.02),
        ("mnist", 3, 3, 0.8, 0.01),
        ("characters", 2, 2, 0.25, -0.05),  # two rounds are few for texts that differ
    ],
)
def test_a_federation_is_compared_with_its_parties_alone_and_with_all_rows(
    example: str,
    parties: int,
    rounds: int,
    least: float,
    gain: float,
    checkout: Path,
    data_dir: Path,
) -> None:
    command = (sys.executable, "../compare.py", example)
    done = subprocess.run(
        [*command, "--parties", str(parties), "--rounds", str(rounds)],
        cwd=checkout / "examples" / example,
        env={**os.environ, "FLO_DATA_DIR": str(data_dir), "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        name.strip(): float(value)
        for name, value in re.findall(r"^([a-z, ]+?) +([0-9.]+)$", done.stdout, re.MULTILINE)
    }
    assert list(found) == ["federated", "alone, mean", "alone, best", "pooled"]
    assert found["federated"] >= least
    assert found["federated"] >= found["alone, mean"] + gain
