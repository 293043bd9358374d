"""What all tests share: the checkout, the data sets, and that CI allows no skip."""

import importlib.util
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog

CHECKOUT = Path(__file__).resolve().parents[1]

# `make test-torch` and `make test-flower` run these tests, each in an environment of its own.
_ELSEWHERE = {"torch": "pytorch", "flwr": "flower"}
collect_ignore = [
    folder for package, folder in _ELSEWHERE.items() if not importlib.util.find_spec(package)
]


def pytest_configure() -> None:
    """Hear the signals of a terminal, also in a background job or under nohup, which ignore some.

    What the tests start inherits that.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def _must_run_everything() -> bool:
    return os.environ.get("FLO_REQUIRE") == "all"


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure under FLO_REQUIRE=all; an expected failure stays one."""
    if report.skipped and not hasattr(report, "wasxfail") and _must_run_everything():
        report.outcome = "failed"
        report.longrepr = f"Skipped, and FLO_REQUIRE=all allows no skip: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.fixture(autouse=True)
def _default_logging() -> None:
    """Commands set up logging for their process; what one test set up is not for the next."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of the data sets: FLO_DATA_DIR, or ../shared/data beside the checkout."""
    directory = Path(os.environ.get("FLO_DATA_DIR") or CHECKOUT.parent / "shared" / "data")
    if not directory.is_dir():
        pytest.skip(f"no data sets in {directory}: set FLO_DATA_DIR")
    return directory
