"""The lock of an account: one process at a time, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fl_orchestrator.service.lock import AccountInUse, account_lock

ACCOUNT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
HOLD = """
import sys, time
from pathlib import Path
from fl_orchestrator.service.lock import account_lock
with account_lock(Path(sys.argv[1]), "x"):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(AccountInUse) as refused, account_lock(tmp_path, ACCOUNT):
            pass
    finally:
        process.kill()
        process.communicate()
    assert refused.value.message == (
        f"{ACCOUNT} is in use by process {process.pid} on {socket.gethostname()!r}."
    )


def test_a_process_that_was_killed_holds_no_lock(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with account_lock(tmp_path, ACCOUNT):
        assert f'"pid": {os.getpid()}' in (tmp_path / "lock.holder").read_text()


def test_the_lock_is_released_at_the_end(tmp_path: Path) -> None:
    for _ in range(2):
        with account_lock(tmp_path / "new" / "home", ACCOUNT):
            pass


def test_who_holds_it_may_not_have_written_so_yet(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        for text in ("", "{}", "[1]", '{"pid": "x", "host": 1}'):
            (tmp_path / "lock.holder").write_text(text)
            with pytest.raises(AccountInUse, match="by another process"):
                account_lock(tmp_path, ACCOUNT).__enter__()
    finally:
        process.kill()
        process.communicate()
