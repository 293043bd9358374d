"""`make bench` writes the tables of docs/performance.md from what the benchmarks measured."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def write(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "benchmarks" / "table" / "write.py"))


@pytest.fixture
def page(tmp_path: Path, write: dict[str, Any]) -> Path:
    """A page with a text before and after the tables."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{write['BEGIN']}old\n{write['END']}after\n")
    return page


def rewrite(write: dict[str, Any], page: Path, results: Path, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(sys, "argv", ["write.py", "--results", str(results), "--page", str(page)])
    write["main"]()
    return page.read_text()


def test_the_tables_replace_the_old_ones_and_nothing_else(
    write: dict[str, Any], page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = {
        "nth_gas": {
            "what": "the n-th round",
            "axis": "rounds",
            "unit": "gas",
            "figures": {"10": 1_234_567.0, "100": 1_234_569.0},
            "power": 0.0,
        }
    }
    (tmp_path / "growth.json").write_text(json.dumps(growth))
    verified = {"cpu_s_per_update": 0.0061}
    (tmp_path / "verify.json").write_text(json.dumps(verified))
    for _ in range(2):
        text = rewrite(write, page, tmp_path, monkeypatch)
    assert text.startswith(f"before\n{write['BEGIN']}")
    assert text.endswith(f"{write['END']}after\n")
    assert text.count("| the n-th round | rounds | 10: 1,234,567; 100: 1,234,569 gas | 0.00 |") == 1
    assert "0.0061 CPU-s |" in text
    assert "old" not in text


def test_a_benchmark_that_was_not_run_is_said(
    write: dict[str, Any], page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = rewrite(write, page, tmp_path, monkeypatch)
    assert text.count(f"| {write['NOT_RUN']} |") == len(write["ROWS"])


def test_every_row_names_a_benchmark_that_gives_json(write: dict[str, Any], checkout: Path) -> None:
    for row in write["ROWS"]:
        assert '"--json"' in (checkout / row.benchmark).read_text()


def test_the_real_page_has_the_place_of_the_tables(write: dict[str, Any], checkout: Path) -> None:
    text = (checkout / "docs" / "performance.md").read_text()
    assert text.count(write["BEGIN"]) == text.count(write["END"]) == 1


def test_growth_refuses_what_has_no_growth(checkout: Path) -> None:
    program = checkout / "benchmarks" / "growth" / "growth.py"
    done = subprocess.run(
        [sys.executable, program, "--rounds", "10"],
        env={"PYTHONPATH": f"{checkout}:{checkout / 'benchmarks'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "at least 30 rounds" in done.stderr
