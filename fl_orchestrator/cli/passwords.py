"""Passwords and keys: typed unseen, piped in, or read from a file; never an argument."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final, TextIO

import typer

from fl_orchestrator.errors import KeyStoreError
from fl_orchestrator.files import decoded

_MAX_SECRET_CHARACTERS: Final = 4096
_MAX_SECRET_BYTES: Final = 4 * _MAX_SECRET_CHARACTERS


def read_password(password_file: Path | None, prompt: str, confirm: bool = False) -> str:
    """The password: a file's first line, or what is typed."""
    if password_file is None:
        return ask_secret(prompt, "Give the password with --password-file.", confirm)
    try:
        with password_file.open("rb") as file:
            password = _first_line(io.StringIO(decoded(file.read(_MAX_SECRET_BYTES))))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyStoreError(
            f"The password file {password_file} cannot be read.", "Check --password-file."
        ) from error
    if not password:
        raise KeyStoreError(
            f"The first line of {password_file} is empty.", "Write the password there."
        )
    return password


def ask_secret(prompt: str, otherwise: str, confirm: bool = False) -> str:
    """What is typed, unseen, or the first line of what is piped in.

    Raises KeyStoreError, which says what to do ``otherwise``, when there is neither.
    """
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    if secret := _first_line(sys.stdin):
        return secret
    raise KeyStoreError(f"{prompt}: nobody is there to type it.", otherwise)


def _first_line(file: TextIO) -> str:
    # PowerShell puts a byte order mark before what it pipes.
    return file.readline(_MAX_SECRET_CHARACTERS).removeprefix("\ufeff").rstrip("\r\n")
