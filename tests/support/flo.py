"""Runs `flo` for a test: in this process, which is fast, or in a process that can get signals."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from eth_account import Account

from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.cli.main import main

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended: its exit code, and what it wrote to stdout and to stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def succeeded(self) -> Finished:
        assert self.code == 0, self.out + self.err
        return self

    def refused(self, code: int, *words: str) -> Finished:
        """Check that it failed with this exit code, a sentence with these words, no traceback."""
        assert self.code == code, self.out + self.err
        assert "Traceback" not in self.err
        assert "Unexpected" not in self.err
        missing = [word for word in words if word not in self.err]
        assert not missing, f"{missing} not in {self.err!r}"
        return self


def flo(*arguments: object, typed: str = "") -> Finished:
    """Run `flo` in this process, with its output in a pipe; ``typed`` is its standard input."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["flo", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.StringIO(typed)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Finished(code, out.getvalue(), err.getvalue())


def start_flo(
    *arguments: str | Path, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start `flo` in a separate process, with pipes for its output and no standard input."""
    return subprocess.Popen(
        [Path(sys.executable).parent / "flo", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        **options,
    )


def finish(process: subprocess.Popen[str], timeout: float = 120) -> Finished:
    """Wait for a process that `start_flo` started."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"flo did not end within {timeout} s:\n{out}\n{err}") from None
    return Finished(process.returncode, out, err)


def write_key(path: Path, signer_secret: bytes, password: str = PASSWORD) -> LocalSigner:
    """Write a keystore file that opens fast: one iteration of its key derivation."""
    keystore = Account.encrypt(signer_secret, password, kdf="pbkdf2", iterations=1)
    path.write_text(json.dumps(keystore))
    return LocalSigner.from_secret(signer_secret)
