"""A command that only reads imports no more than reading takes: each of these costs much time."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.imports import modules_of

from fl_orchestrator.dashboard.index import queries

ACCOUNT = "0x" + "11" * 20
# web3 and its parts take a second, the others a tenth of a second or more each.
WITH_WEB3 = ("web3", "eth_account", "eth_keys", "eth_abi", "eth_utils", "aiohttp")
NEEDLESS = (
    *WITH_WEB3,
    *("eth_tester", "numba", "numpy", "pydantic", "safetensors", "sklearn", "structlog"),
    *("keras", "matplotlib", "tensorflow", "torch"),
)
SCRIPT = """
import sys
from fl_orchestrator.cli.main import main
sys.argv = ["flo", *{command!r}]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
print([name for name in {needless!r} if name in sys.modules])
"""
READING = (
    ("federation", "show"),
    ("round", "list"),
    ("round", "show"),
    ("party", "status", ACCOUNT),
    ("aggregator", "status", ACCOUNT),
)


@pytest.fixture(scope="module")
def chain(checkout: Path) -> Iterator[list[str]]:
    """The options of a chain with a federation of three rounds, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "_dashboard.node", "--rounds", "3", "--parties", "3"],
        cwd=checkout / "benchmarks",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        url, address = node.stdout.readline().split()
        yield ["--rpc", url, "--federation", address]
        node.stdin.close()


def imported(needless: tuple[str, ...], *command: str) -> str:
    script = SCRIPT.format(command=command, needless=needless)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_only_what_configures_structlog_imports_it(checkout: Path) -> None:
    """A logger of structlog's own would print to stdout before a command has configured it."""
    importers = {
        module
        for module, path in modules_of(checkout).items()
        if module.startswith("fl_orchestrator.")
        and re.search(r"^\s*(?:import|from) structlog\b", path.read_text(), re.MULTILINE)
    }
    assert importers == {
        "fl_orchestrator.cli.logs",
        "fl_orchestrator.log",
        "fl_orchestrator.simulation.parallel.quiet",
    }


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_reads_a_chain_imports_only_what_reading_takes(
    command: tuple[str, ...], chain: list[str]
) -> None:
    assert imported(NEEDLESS, *command, *chain) == "[]"


@pytest.mark.parametrize("command", READING[:4], ids=" ".join)
def test_rich_is_not_imported_for_json(command: tuple[str, ...], chain: list[str]) -> None:
    assert imported((*NEEDLESS, "rich"), *command, *chain, "--json") == "[]"


def test_an_address_from_a_key_file_is_read_without_what_decrypts_it(
    chain: list[str], tmp_path: Path
) -> None:
    key = tmp_path / "key.json"
    key.write_text(f'{{"version": 3, "crypto": {{}}, "address": "{ACCOUNT[2:]}"}}')
    command = ("party", "history", "--key", str(key), "--home", str(tmp_path), "--json")
    assert imported((*NEEDLESS, "rich"), *command, *chain) == "[]"


def test_the_keys_of_a_directory_are_listed_without_what_decrypts_them(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(f'{{"version": 3, "crypto": {{}}, "address": "{ACCOUNT}"}}')
    assert imported(NEEDLESS, "keys", "list", str(tmp_path)) == "[]"


def test_a_report_of_what_the_chain_has_is_one_that_reads(chain: list[str], tmp_path: Path) -> None:
    assert imported((*NEEDLESS, "rich", "jinja2"), "report", *chain, "--json") == "[]"
    written = ("--out", str(tmp_path / "report.html"))
    assert imported(NEEDLESS, "report", *chain, *written) == "[]"


def test_a_dashboard_that_nobody_looks_at_reads_the_chain_and_serves(
    chain: list[str], tmp_path: Path
) -> None:
    """It has read all rounds by then; what answers a request is imported with the first one."""
    needless = (*NEEDLESS, "fastapi", "limits", "prometheus_client", "rich")
    command = ("dashboard", *chain, "--home", str(tmp_path), "--listen", "0")
    script = SCRIPT.format(command=command, needless=needless)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        index = next(tmp_path.glob("*/index.sqlite"))
        deadline = time.monotonic() + 30
        while rounds_in(index) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert output.splitlines()[-1] == "[]"


def rounds_in(index: Path) -> int:
    with queries.reading(index) as db:
        return len(queries.rounds(db))
