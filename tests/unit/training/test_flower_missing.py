"""Without flwr, whoever names a Flower app is told which extra has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.flo import flo

from fl_orchestrator.training.flower import FlowerMissing, apps, flower_trainer


@pytest.fixture(autouse=True)
def _without_flower(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apps, "find_spec", lambda name: None)
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.chdir(tmp_path)


def test_python_is_told_the_extra() -> None:
    with pytest.raises(FlowerMissing, match="not installed") as missing:
        flower_trainer("my_app.client_app:app")
    assert "fl-orchestrator[flower]" in (missing.value.hint or "")


def test_the_command_line_is_told_the_extra() -> None:
    check = ("party", "check", "--manifest", "m.json", "--flower", "my_app.client_app:app")
    flo(*check).refused(7, "Flower is not installed", "fl-orchestrator[flower]")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--flower", "a:b", "--trainer", "c.py"), "two trainers"),
        (("--trainer", "c.py", "--run-config", "lr=1"), "--run-config belongs to a Flower app"),
        (("--trainer", "c.py", "--initial", "a:b"), "--initial belongs to a Flower app"),
        (("--flower", "a:b", "--node-config", "partition-id"), "is no setting"),
        ((), "needs --trainer"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...], words: str) -> None:
    flo("party", "check", "--manifest", "m.json", *options).refused(2, words)
