"""One process per account: two would use the same nonces and write the same journal."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import filelock

from fl_orchestrator.errors import KeyStoreError
from fl_orchestrator.json_text import to_json

_LOCK: Final = "lock"
_HOLDER: Final = "lock.holder"
_MAX_HOLDER_BYTES: Final = 1024


class AccountInUse(KeyStoreError):
    """Another process works with this account."""


@contextlib.contextmanager
def account_lock(home: Path, account: str) -> Iterator[None]:
    """Hold the lock of an account's directory. The operating system releases it at process end.

    Raises AccountInUse, which names the process that holds it.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = filelock.FileLock(home / _LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise AccountInUse(
            f"{account} is in use by {_holder(home)}.",
            f"Stop that process first, or give this one another key. The lock is {home / _LOCK}.",
        ) from None
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        (home / _HOLDER).write_text(to_json(holder) + "\n")
        yield
    finally:
        (home / _HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(home: Path) -> str:
    """The process that holds the lock, in words; it may not have written its id yet."""
    try:
        with (home / _HOLDER).open("rb") as file:
            holder = json.loads(file.read(_MAX_HOLDER_BYTES))
        return f"process {int(holder['pid'])} on {str(holder['host'])!r}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
