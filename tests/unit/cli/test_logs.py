"""Logs: what is logged, how, and that a log that cannot be written ends nothing."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping

import pytest
import structlog

from fl_orchestrator import log as loggers
from fl_orchestrator.cli.logs import BadLogging, configure, log
from fl_orchestrator.printable import is_printable


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


def test_errors_and_nothing_else_are_told_to_whoever_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[Mapping[str, object]] = []
    log("info", "text", lambda entry: told.append(dict(entry)))
    structlog.get_logger().warning("not this")
    structlog.get_logger().error("this", round=3)
    assert [(entry["event"], entry["round"]) for entry in told] == [("this", 3)]
    assert "not this" in capsys.readouterr().err


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


def test_threads_that_log_first_wait_until_that_is_configured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else the later of them would log as structlog does by itself: to stdout."""

    def slowly() -> None:
        time.sleep(0.2)
        log("warning", "json")

    loggers._waiting[:] = [slowly]
    threads = [
        threading.Thread(target=lambda: loggers.get_logger("x").warning("seen")) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["event"] for line in captured.err.splitlines()] == ["seen"] * 4


@pytest.mark.parametrize(("level", "kind"), [("loud", "text"), ("info", "xml")])
def test_a_level_or_a_format_that_does_not_exist_is_refused(level: str, kind: str) -> None:
    with pytest.raises(BadLogging, match="There is no log"):
        log(level, kind)


HARMFUL = "\x1b[2K\rVerified\nall is well\u202e\x9b\ud800"
SHOWN = r"\x1b[2K\rVerified\nall is well\u202e\x9b\ud800"


@pytest.mark.parametrize("kind", ["text", "json"])
def test_what_comes_from_outside_cannot_act_on_whoever_reads_the_log(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    log("info", kind)
    structlog.get_logger().warning("failed", reason=HARMFUL, **{"x\x1b": [HARMFUL, {"y": HARMFUL}]})
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    if kind == "json":
        line = json.loads(shown)
        assert line["reason"] == SHOWN
        assert line["x\\x1b"] == [SHOWN, {"y": SHOWN}]
        assert shown.isascii()
    else:
        assert shown.count("Verified") == 3
        assert is_printable(shown.rstrip("\n"))


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_text_of_an_exception_cannot_either(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    log("info", kind)
    try:
        raise ValueError(HARMFUL)
    except ValueError:
        structlog.get_logger().exception("failed")
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert not any(line.startswith("all is well") for line in shown.splitlines())


def test_what_a_library_logs_cannot_either(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    log("info", "text")
    logging.getLogger("some.library").warning("a header: %s", HARMFUL)
    shown = capsys.readouterr().err
    assert shown.startswith(r"WARNING some.library: a header: \x1b[2K\rVerified")
    assert "\n  all is well" in shown


def test_a_number_that_is_not_finite_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    log("info", "json")
    structlog.get_logger().info("trained", loss=math.nan, metrics={"auc": math.inf})
    line = json.loads(capsys.readouterr().err, parse_constant=pytest.fail)
    assert line["loss"] is None
    assert line["not_finite"] == {"loss": "NaN"}
    assert line["metrics"] == {"auc": None, "not_finite": {"auc": "Infinity"}}


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", FullDisk())
    log("info", "text")
    structlog.get_logger().error("failed", reason="the disk is full")
