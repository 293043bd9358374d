"""The alert rules in Prometheus' own engine: each fires when it should, and not before."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).with_name("alerts.test.yml")


@pytest.fixture(scope="module")
def promtool() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fl-orchestrator"
    built = [path for path in cache.glob("promtool-*/promtool") if os.access(path, os.X_OK)]
    found = shutil.which("promtool") or (built[-1] if built else None)
    if found is None:
        pytest.skip("no promtool: run scripts/build_promtool.sh")
    return Path(found)


def run(promtool: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=120)


def test_each_alert_fires_when_it_should_and_not_before(promtool: Path, checkout: Path) -> None:
    rules = checkout / "examples" / "operation" / "alerts.yml"
    checked = run(promtool, "check", "rules", "--lint-fatal", rules)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run(promtool, "test", "rules", TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_another_threshold_is_noticed(promtool: Path, checkout: Path, tmp_path: Path) -> None:
    rules = (checkout / "examples" / "operation" / "alerts.yml").read_text()
    assert "> 300" in rules
    (tmp_path / "alerts.yml").write_text(rules.replace("> 300", "> 900"))
    tests = TESTS.read_text().replace("../../../examples/operation/alerts.yml", "alerts.yml")
    (tmp_path / "alerts.test.yml").write_text(tests)
    tested = run(promtool, "test", "rules", tmp_path / "alerts.test.yml")
    assert tested.returncode == 1
    assert "FloNoBlocks" in tested.stdout + tested.stderr


def test_the_cases_have_every_alert_both_silent_and_firing(checkout: Path) -> None:
    (group,) = yaml.safe_load((checkout / "examples/operation/alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for rule in group["rules"]}
    cases = [
        c for test in yaml.safe_load(TESTS.read_text())["tests"] for c in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts
