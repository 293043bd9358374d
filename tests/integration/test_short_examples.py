"""examples/short: programs of under 25 lines on real data, with the figures of their README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("program", "metric", "least"),
    [
        ("heart_disease", "auc", 0.78),
        ("credit_german", "auc", 0.79),
        ("ai4i", "auc", 0.94),
        ("mnist", "accuracy", 0.90),
    ],
)
def test_a_short_program_reaches_the_figure_of_the_readme(
    program: str, metric: str, least: float, checkout: Path, data_dir: Path
) -> None:
    file = checkout / "examples" / "short" / f"{program}.py"
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) < 25
    done = subprocess.run(
        [sys.executable, file],
        env={**os.environ, "FLO_DATA_DIR": str(data_dir), "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    found, value = done.stdout.split()
    assert found == metric
    assert float(value) >= least
    readme = (file.parent / "README.md").read_text()
    (row,) = re.findall(rf"`{program}\.py` \| [^|]* \| (\w+) ([0-9.]+) \|", readme)
    assert row == (metric, f"{float(value):.2f}")
