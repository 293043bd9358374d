"""The standard streams: of any encoding, closed, full or broken, and kept clean for `--json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.flo import finish, flo, start_flo

from fl_orchestrator.cli import streams

FLO = str(Path(sys.executable).parent / "flo")
NOISY = """
import atexit, os, subprocess, sys, threading
import numpy as np
print("loaded")
atexit.register(print, "at the exit")

class Noisy:
    def initial_weights(self):
        os.write(1, b"to the descriptor\\n")
        return {"k": np.zeros(2, np.float32)}

    def fit(self, weights, config):
        print("epoch 1/1", flush=True)
        subprocess.run([sys.executable, "-c", "print('a child')"], check=True)
        sys.__stdout__.write("to the first stdout\\n")
        threading.Timer(0.5, print, ["later"]).start()
        return [w + 0.1 for w in weights], 4, {}

    def evaluate(self, weights, config):
        print("evaluating")
        return 0.5, 4, {"auc": float("nan")}

make_trainer = Noisy
"""
CREATE = ("manifest", "create", "--name", "n", "--loss", "mse", "--json")


@pytest.fixture
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "noisy.py"
    path.write_text(NOISY)
    return path


def test_what_a_trainer_prints_does_not_dirty_json(noisy: Path) -> None:
    """From Python, from a descriptor, from a child, from a thread, and at the exit."""
    created = finish(start_flo(*CREATE, "--trainer", noisy)).succeeded()
    check = ("party", "check", "--trainer", noisy, "--manifest", "manifest.json", "--json")
    checked = finish(start_flo(*check)).succeeded()
    for done in (created, checked):
        found = json.loads(done.out, parse_constant=pytest.fail)
        assert found["before"] == {"loss": 0.5, "auc": None, "not_finite": {"auc": "NaN"}}
        assert done.out.count("\n") == 1
        for words in ("loaded", "to the desc", "epoch", "a child", "to the first", "later", "exit"):
            assert words in done.err


def test_it_does_not_in_this_process_either_and_stdout_is_given_back(noisy: Path) -> None:
    noisy.write_text(NOISY.replace("atexit.register", "print"))
    before = sys.stdout
    assert json.loads(flo(*CREATE, "--trainer", noisy).succeeded().out)
    assert sys.stdout is before
    assert streams.stdout() is before


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_any_encoding_will_do(encoding: str, tmp_path: Path) -> None:
    env = {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [FLO, "keys", "list", tmp_path / "nowhere é…中"],
        capture_output=True,
        env={**os.environ, **env},
    )
    assert done.returncode == 6
    shown = done.stderr.decode(encoding)
    assert "cannot be read: No such file or directory." in shown
    assert "Traceback" not in shown
    assert ("…" in shown) is (encoding in ("utf-8", "cp1252"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_defect(closed: str, tmp_path: Path) -> None:
    for command in ("keys list . --json", "keys new key.json"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "{FLO}" {command} {closed}'],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == (6 if "new" in command else 0), done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.parametrize("command", ["keys list . --json", "federation create --help", "--help"])
def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(
    command: str, tmp_path: Path
) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [FLO, *command.split()], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_full_disk_behind_stdout_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [FLO, "keys", "list", ".", "--json"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 4
    assert done.stderr.startswith("Error: No space left on device.\n")


@pytest.mark.parametrize("command", ["--help", "party run --help", "keys list ."])
def test_a_narrow_terminal_is_enough(command: str, tmp_path: Path) -> None:
    done = finish(start_flo(*command.split(), env={"COLUMNS": "20"}, cwd=tmp_path))
    assert done.succeeded().out


def test_an_account_without_a_home_directory_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    flo("keys", "list").refused(2, "no home directory", "Set HOME")
