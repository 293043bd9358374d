"""The file of an aggregator's encryption keys, for a private federation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.passwords import read_password
from fl_orchestrator.cli.site import Payer, expanded, shared
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.roles.aggregator.vault import Vault

EncryptionOption = Annotated[
    Path | None,
    shared(
        "--encryption",
        "In a private federation: the file of this aggregator's encryption keys and locks. Keep "
        "it out of backups. Default: private/vault.sqlite in this role's directory.",
        metavar="FILE",
        show_default=False,
    ),
]


def new_vault(file: Path, password_file: Path | None) -> bytes:
    """Make a file with one encryption key; return the public key. Raises KeyStoreError."""
    from fl_orchestrator.chain.signing.keys import require_absent
    from fl_orchestrator.roles.aggregator.vault import Vault

    require_absent(file)
    vault = Vault(file, read_password(password_file, "New password", confirm=True))
    try:
        return vault.make_key(0)
    finally:
        vault.close()


def open_vault(
    site: Payer, file: Path | None, chain: Federation, account: str, *, make: bool
) -> Vault:
    """The file of an account's encryption keys, for this federation only.

    Without one it is made, if ``make``, with a key for rounds to come. Raises KeyStoreError.
    """
    from fl_orchestrator.members import aggregator

    vault, made = aggregator.open_vault(
        expanded(file) if file else None,
        site.role_home(chain, account),
        chain,
        account,
        password_of(site),
        make=make,
    )
    if made:
        err.print(f"Made an encryption key in {made}: keep this file out of backups.")
    return vault


def password_of(site: Payer) -> Callable[[Path], str]:
    """Asks for the password of a file, or reads it where the options say."""
    return lambda path: read_password(site.password_file, printable(f"Password of {path}"))
