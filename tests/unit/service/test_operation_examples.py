"""The Grafana dashboard and the alert rules name metrics that the product has, and all of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from fl_orchestrator.cli.roles.protection import budget_gauges
from fl_orchestrator.members.party import model_gauges
from fl_orchestrator.service.metrics import Metrics

# Metrics that tell nothing by themselves.
NOT_SHOWN = {"flo_block_number"}
_NAME = re.compile(r"\bflo_[a-z_]+\b")


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """The names that Prometheus stores, from what every role serves."""
    process = Metrics("party")
    model_gauges(process.registry)
    budget_gauges(process.registry)
    return names_of(process.registry)


def names_of(registry: CollectorRegistry) -> set[str]:
    text = generate_latest(registry).decode()
    families = re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE)
    return {name for name, _ in families if not name.endswith("_created")}


@pytest.fixture(scope="module")
def operation(checkout: Path) -> Path:
    return checkout / "examples" / "operation"


def dashboard(operation: Path) -> Any:
    return json.loads((operation / "grafana.json").read_text())


def expressions(operation: Path) -> list[str]:
    panels = [panel for panel in dashboard(operation)["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def rules(operation: Path) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((operation / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_the_dashboard_shows_every_metric_and_no_other(operation: Path, metrics: set[str]) -> None:
    named = {name for text in expressions(operation) for name in _NAME.findall(text)}
    assert named - metrics == set()
    refused = {"flo_model_refused"}  # an alert, not a curve
    assert metrics - named == NOT_SHOWN | refused


def test_the_panels_do_not_overlap_and_have_their_own_ids(operation: Path) -> None:
    panels = dashboard(operation)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_each_rule_names_metrics_of_the_product_and_says_what_is_wrong(
    operation: Path, metrics: set[str]
) -> None:
    found = rules(operation)
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        named = set(_NAME.findall(rule["expr"]))
        assert named <= metrics, rule
        assert named or rule["expr"].startswith("up{"), rule
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_brackets_of_every_expression_are_balanced(operation: Path) -> None:
    texts = expressions(operation) + [rule["expr"] for rule in rules(operation)]
    assert len(texts) > 30
    for text in texts:
        for opening, closing in ("()", "{}", "[]"):
            assert text.count(opening) == text.count(closing), text
