"""The judgement of benchmarks/short/slowdown.py; its ratios are measured in CI."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def slowdown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(checkout / "benchmarks")
    return runpy.run_path(str(checkout / "benchmarks" / "short" / "slowdown.py"))


def test_a_ratio_of_more_than_twice_the_recorded_one_is_a_slowdown(
    slowdown: dict[str, Any],
) -> None:
    recorded = {"tree": 1.0, "mean": 2.0}
    assert slowdown["slower"]({"tree": 2.0, "mean": 0.1}, recorded) == []
    assert slowdown["slower"]({"tree": 2.01, "mean": 4.5}, recorded) == ["tree", "mean"]


def test_a_ratio_without_a_record_is_refused(slowdown: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--record"):
        slowdown["slower"]({"tree": 1.0}, {})


def test_every_ratio_is_recorded(slowdown: dict[str, Any], checkout: Path) -> None:
    records = json.loads((checkout / "benchmarks" / "short" / "slowdown.json").read_text())
    assert records
    for recorded in records.values():
        assert recorded.keys() == slowdown["pairs"]().keys()
        assert all(ratio > 0 for ratio in recorded.values())
