"""The file of an aggregator's encryption keys, for a private federation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.passwords import read_password
from fl_orchestrator.cli.site import Payer, expanded, shared
from fl_orchestrator.errors import KeyStoreError
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.roles.aggregator.vault import Vault

#: The default file in an account's directory, in a folder that programs for backups leave out.
_DEFAULT: Final = Path("private/vault.sqlite")
_TAG: Final = "CACHEDIR.TAG"
# As https://bford.info/cachedir/ has it.
_TAG_TEXT: Final = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Not for backups: an older copy of the keys and locks here could open a single update.\n"
)

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
    from fl_orchestrator.roles.aggregator.vault import Vault

    if file.exists():
        raise KeyStoreError(f"{file} exists already.", "A key file is never overwritten.")
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
    from fl_orchestrator.roles.aggregator.vault import Vault

    path = expanded(file) if file else site.role_home(chain, account) / _DEFAULT
    if not path.exists() and not make and file is not None:
        raise KeyStoreError(
            f"There is no file {path}.",
            "Make one with `flo keys new --encryption`, or leave out --encryption.",
        )
    if file is None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (path.parent / _TAG).write_text(_TAG_TEXT)
    vault = Vault(path, read_password(site.password_file, printable(f"Password of {path}")))
    opened = chain.observe(account).current.round
    vault.bind(chain.chain_id, chain.address, account, opened)
    if make and vault.newest is None:
        vault.make_key(opened)
        err.print(f"Made an encryption key in {path}: keep this file out of backups.")
    return vault
