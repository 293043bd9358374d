"""Passwords and keys: typed without echo, piped in, or read from a file; never an argument."""

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
    """Read the password from a file's first line, or ask for it. Raises KeyStoreError."""
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
    """Ask for a secret without echo, or read the first line of a pipe.

    Raises KeyStoreError with the hint ``otherwise`` if there is no input.
    """
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    if secret := _first_line(sys.stdin):
        return secret
    raise KeyStoreError(f"{prompt}: nobody is there to type it.", otherwise)


def _first_line(file: TextIO) -> str:
    # PowerShell writes a byte order mark before the text that it pipes.
    return file.readline(_MAX_SECRET_CHARACTERS).removeprefix("\ufeff").rstrip("\r\n")
