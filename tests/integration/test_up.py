"""`flo up`: a federation of real processes that is started, stopped and started again."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from support.flo import PASSWORD, Finished, finish, flo, start_flo
from support.kubo_daemon import find_kubo
from support.terminal import Terminal

from fl_orchestrator.chain.signing.keys import load_keystore, save_keystore
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.service.local.programs import kubo
from fl_orchestrator.units import ETHER

SIZE = ("--parties", "3", "--aggregators", "2", "--store", "file", "--seed", "5")
SECONDS = 240


@pytest.fixture
def options(tmp_path: Path, checkout: Path) -> list[str]:
    anvil = checkout / "node_modules/.bin/anvil"
    return ["up", "--anvil", str(anvil), "--directory", str(tmp_path / "up"), *SIZE]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which whoever imports TensorFlow leaves a trace."""
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "tensorflow.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w')\nraise ImportError('not here')\n"
    )
    path = os.pathsep.join(filter(None, (str(trap), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "COLUMNS": "120"}


def leftovers(directory: Path) -> list[str]:
    """Processes that work in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def run_one_round(options: list[str], environment: dict[str, str]) -> Finished:
    process = start_flo(*options, "--rounds", "1", "--json", env=environment)
    return finish(process, timeout=SECONDS).succeeded()


def test_a_federation_is_started_stopped_and_goes_on(
    options: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "up"
    terminal = Terminal(options, environment, SECONDS)
    terminal.wait_for("Round 1 accepted", "party-2", "committed", "revealed", "signed")
    second = flo(*options)
    second.refused(6, "is in use by process", str(terminal.process.pid))
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 0
    assert "Stopped. All files are in" in terminal.shown
    assert leftovers(directory) == []

    went_on = run_one_round(options, environment).json
    (last,) = went_on["rounds"][-1:]
    assert last["round"] >= 2
    assert last["accuracy"] > 0.9
    assert leftovers(directory) == []
    assert not (tmp_path / "imported").exists()
    check_files(directory)


def check_files(directory: Path) -> None:
    password = (directory / "password").read_text().strip()
    assert stat.S_IMODE((directory / "password").stat().st_mode) == 0o600
    keys = list(directory.glob("*/key.json"))
    assert len(keys) == 3 + 2 + 1 + 2  # parties, aggregators, a watcher, keeper and owner
    for key in keys:
        assert json.loads(key.read_text())["version"] == 3
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for log in directory.glob("*/*.log"):
        assert "Traceback" not in log.read_text()
        assert password not in log.read_text()
    # Between all members and the store, each file is on the disk once.
    vectors = list(directory.rglob("*.safetensors"))
    different = {path.read_bytes() for path in vectors}
    assert len(vectors) > 2 * len(different)
    assert bytes_of(vectors) <= 2 * sum(map(len, different))
    stored = [path for path in (directory / "store").rglob("b*") if path.is_file()]
    assert bytes_of([*vectors, *stored]) < bytes_of(vectors) + bytes_of(stored)


def bytes_of(files: list[Path]) -> int:
    """The bytes of some files, those with several names counted once."""
    return sum({path.stat().st_ino: path.stat().st_size for path in files}.values())


def test_on_an_existing_chain_one_account_pays_for_all(
    checkout: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    key, password = tmp_path / "payer.json", tmp_path / "password"
    password.write_text(PASSWORD)
    save_keystore(key, bytes([7] * 32), PASSWORD, stretch=False)
    payer = load_keystore(key, PASSWORD).address
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        node.give(payer, 500)
        options = ["up", "--directory", str(tmp_path / "up"), *SIZE, "--dashboard", "none"]
        paid = ["--rpc", node.url, "--key", str(key), "--password-file", str(password)]
        found = run_one_round([*options, *paid], environment).json
        assert [one["revoked"] for one in found["rounds"]] == [False]
        # Three parties, two aggregators, a watcher, the keeper and the owner.
        left = int(node.rpc("eth_getBalance", payer, "latest"), 16)
        assert 339 * ETHER < left < 340 * ETHER
    assert leftovers(tmp_path) == []


def test_an_existing_chain_needs_a_payer(tmp_path: Path) -> None:
    options = ["up", "--directory", tmp_path / "up", *SIZE, "--rpc", "http://127.0.0.1:1"]
    flo(*options).refused(2, "--rpc and --key belong together")
    assert not (tmp_path / "up").exists()


def test_the_ipfs_node_of_a_federation_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    program = find_kubo()
    if program is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    with kubo(program, tmp_path / "ipfs") as url:
        cid = open_store(url).put(io.BytesIO(b"a model"))
    with kubo(program, tmp_path / "ipfs") as url, open_store(url).get(cid, 100) as stream:
        assert stream.read() == b"a model"
    assert leftovers(tmp_path) == []


def test_a_directory_of_another_federation_is_refused(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "thesis.tex").touch()
    flo(*options).refused(2, "no federation", "Choose an empty directory.")
    (tmp_path / "up" / "plan.json").write_text(
        '{"parties": 9, "aggregators": 2, "watchers": 1, "seed": 5}'
    )
    flo(*options).refused(2, "9 parties", "another directory")
    (tmp_path / "up" / "plan.json").write_text("{}")
    flo(*options).refused(2, "cannot be read")


def test_a_program_that_is_missing_is_named(options: list[str], tmp_path: Path) -> None:
    flo(*options, "--anvil", "/nowhere/anvil").refused(7, "/nowhere/anvil")
    flo(*options, "--store", "kubo", "--ipfs", "/nowhere/ipfs").refused(7, "/nowhere/ipfs")
    flo(*options, "--store", "s3").refused(2, "s3")
    assert not (tmp_path / "up").exists()
