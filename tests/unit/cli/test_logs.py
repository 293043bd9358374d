"""Logs: what is logged, how, and that a log that cannot be written ends nothing."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from fl_orchestrator.cli.logs import BadLogging, configure, log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines_have_a_time_a_level_and_what_belongs_to_the_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log("info", "json")
    logger = structlog.get_logger("x")
    logger.debug("unseen")
    logger.info("did", action="commit", round=3)
    captured = capsys.readouterr()
    assert captured.out == ""
    line = json.loads(captured.err)
    assert (line["event"], line["level"], line["action"], line["round"]) == (
        *("did", "info"),
        *("commit", 3),
    )
    assert line["timestamp"].endswith("Z")


def test_a_traceback_in_json_shows_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
    log("error", "json")
    password = "swordfish"
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception("failed")
    line = json.loads(capsys.readouterr().err)
    assert "ValueError: no" in line["exception"]
    assert password not in line["exception"]


def test_only_warnings_are_logged_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure(debug=False)
    structlog.get_logger().info("unseen")
    structlog.get_logger().warning("seen")
    assert "unseen" not in (shown := capsys.readouterr().err)
    assert "seen" in shown


@pytest.mark.parametrize(("level", "kind"), [("loud", "text"), ("info", "xml")])
def test_a_level_or_a_format_that_does_not_exist_is_refused(level: str, kind: str) -> None:
    with pytest.raises(BadLogging, match="There is no log"):
        log(level, kind)


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", FullDisk())
    log("info", "text")
    structlog.get_logger().error("failed", reason="the disk is full")
