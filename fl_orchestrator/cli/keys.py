"""`flo keys`: encrypted keystore files."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Final

import typer

from fl_orchestrator.cli.console import JsonOption, err, print_json, print_pairs, safe, say
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.passwords import ask_secret, read_password
from fl_orchestrator.cli.site import PasswordOption, expanded
from fl_orchestrator.errors import KeyStoreError

app = Noun("Make and list encrypted key files.")

_DIRECTORY: Final = Path("~/.flo/keys")
FileArgument = Annotated[Path, typer.Argument(help="The keystore file to write.")]


@app.command()
def new(
    file: FileArgument,
    encryption: Annotated[
        bool,
        typer.Option(
            "--encryption",
            help="Make an aggregator's encryption key for a private federation instead.",
        ),
    ] = False,
    password_file: PasswordOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a new key and write it encrypted (Web3 Secret Storage).

    With --encryption the file is that of an aggregator of a private federation: parties encrypt
    for its key, and it records what the aggregator has confirmed. Leave it out of backups.

    Example: flo keys new party.json
    """
    if encryption:
        from fl_orchestrator.cli.encryption import new_vault

        public = "0x" + new_vault(file, password_file).hex()
        if json_output:
            print_json({"encryption_key": public, "file": str(file)})
        else:
            say(f"Encryption key {public} written to {safe(file)}. Leave it out of backups.")
        return
    _save(file, secrets.token_bytes(32), password_file, json_output)


@app.command("import")
def import_(
    file: FileArgument, password_file: PasswordOption = None, json_output: JsonOption = False
) -> None:
    """Encrypt an existing private key, which is asked for and never shown.

    Example: flo keys import owner.json
    """
    from fl_orchestrator.chain.signing.keys import require_absent
    from fl_orchestrator.privacy.keys import CURVE_ORDER

    # Before a secret is typed.
    require_absent(file)
    typed = ask_secret("Private key (64 hexadecimal digits)", "Pipe it in.")
    try:
        secret = bytes.fromhex(typed.strip().removeprefix("0x"))
    except ValueError:
        secret = b""
    if len(secret) != 32 or not 0 < int.from_bytes(secret) < CURVE_ORDER:
        raise KeyStoreError("That is not a private key.", "It has 64 hexadecimal digits.")
    _save(file, secret, password_file, json_output)


@app.command("list")
def list_(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where the key files are.")
    ] = _DIRECTORY,
    json_output: JsonOption = False,
) -> None:
    """List the accounts that the key files in a directory name. No key is decrypted.

    Example: flo keys list keys/
    """
    from fl_orchestrator.chain.signing.keys import keystore_address

    keys: list[dict[str, str]] = []
    others: list[dict[str, str]] = []
    for file in _files(expanded(directory)):
        try:
            keys.append({"address": keystore_address(file), "file": str(file)})
        except KeyStoreError as error:
            others.append({"file": str(file), "reason": error.message})
    if json_output:
        print_json({"keys": keys, "others": others})
        return
    if keys:
        print_pairs((key["address"], key["file"]) for key in keys)
    else:
        say(f"There are no key files in {safe(directory)}.")
    for other in others:
        say(safe(other["reason"]), err)


def _files(directory: Path) -> list[Path]:
    try:
        found = sorted(directory.iterdir())
    except OSError as error:
        raise KeyStoreError(
            f"{directory} cannot be read: {error.strerror}.", "`flo keys new FILE` makes a key."
        ) from error
    # Regular files only: reading a pipe, for example, might never end.
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def _save(file: Path, secret: bytes, password_file: Path | None, json_output: bool) -> None:
    from fl_orchestrator.chain.signing.keys import require_absent, save_keystore

    require_absent(file)
    password = read_password(password_file, "New password", confirm=True)
    address = save_keystore(file, secret, password)
    if json_output:
        print_json({"address": address, "file": str(file)})
    else:
        say(f"{address} written to {safe(file)}")
