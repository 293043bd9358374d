"""`flo keys`: encrypted keystore files."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from fl_orchestrator.cli.console import JsonOption, print_json, say
from fl_orchestrator.cli.site import PasswordOption, ask_secret, read_password
from fl_orchestrator.errors import KeyStoreError

app = typer.Typer(help="Make encrypted key files.", no_args_is_help=True)

_CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FileArgument = Annotated[Path, typer.Argument(help="The keystore file to write.")]


@app.command()
def new(
    file: FileArgument, password_file: PasswordOption = None, json_output: JsonOption = False
) -> None:
    """Make a new key and write it encrypted (Web3 Secret Storage).

    Example: flo keys new party.json
    """
    _save(file, secrets.token_bytes(32), password_file, json_output)


@app.command("import")
def import_(
    file: FileArgument, password_file: PasswordOption = None, json_output: JsonOption = False
) -> None:
    """Encrypt an existing private key, which is asked for and never shown.

    Example: flo keys import owner.json
    """
    typed = ask_secret("Private key (64 hexadecimal digits)", "Pipe it in.")
    try:
        secret = bytes.fromhex(typed.strip().removeprefix("0x"))
    except ValueError:
        secret = b""
    if len(secret) != 32 or not 0 < int.from_bytes(secret) < _CURVE_ORDER:
        raise KeyStoreError("That is not a private key.", "It has 64 hexadecimal digits.")
    _save(file, secret, password_file, json_output)


def _save(file: Path, secret: bytes, password_file: Path | None, json_output: bool) -> None:
    from fl_orchestrator.chain.keys import save_keystore

    password = read_password(password_file, "New password", confirm=True)
    address = save_keystore(file, secret, password)
    if json_output:
        print_json({"address": address, "file": str(file)})
    else:
        say(f"{address} written to {escape(str(file))}")
