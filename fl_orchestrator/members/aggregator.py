"""An aggregator as an object, and the file of its encryption keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import Role
from fl_orchestrator.errors import KeyStoreError
from fl_orchestrator.members.base import Staked
from fl_orchestrator.members.connection import Connection
from fl_orchestrator.roles.aggregator.aggregator import Aggregator as Worker
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.service.process import Process

#: Makes a new encryption key after so many rounds.
RENEW_KEY: Final = 50
#: The default file in an account's directory, in a folder that programs for backups leave out.
_DEFAULT: Final = Path("private/vault.sqlite")
_TAG: Final = "CACHEDIR.TAG"
# As https://bford.info/cachedir/ has it.
_TAG_TEXT: Final = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Not for backups: an older copy of the keys and locks here could open a single update.\n"
)


class Aggregator(Staked):
    """An aggregator of a federation, as `flo aggregator run` has it.

    Args:
        site: Where its federation, key and files are.
        encryption: In a private federation: the file of its encryption keys and locks; default:
            ``private/vault.sqlite`` in `home`. Keep it out of backups.
        encryption_password: What returns that file's password, when it is needed.
        renew_key: In a private federation: make a new encryption key after so many rounds.
    """

    role: ClassVar[str] = "aggregator"
    kind: ClassVar[Role] = Role.AGGREGATOR

    def __init__(
        self,
        site: Connection | Process,
        *,
        encryption: Path | None = None,
        encryption_password: Callable[[Path], str] | None = None,
        renew_key: int = RENEW_KEY,
        relay: Relay | None = None,
        confirmations: int = 0,
    ) -> None:
        super().__init__(site)
        if isinstance(site, Connection):
            relay, confirmations = relay or site.open_relay(), site.confirmations
        self._encryption = encryption
        self._password = encryption_password
        self._renew_key = renew_key
        self._relay = relay
        self._confirmations = confirmations

    def run(self) -> Counter[str]:
        """Attest to every round and answer every demand, until `stop`.

        Returns how often each action was done. Outages are waited out. Safe to kill at any moment
        and to call again. Raises KeyStoreError, and what a retry cannot mend.
        """
        process = self.process
        retention = Retention(process.chain, process.store, self.home / "kept-as-aggregator.json")
        manifest = process.manifest()
        context = process.context(manifest, relay=self._relay, retention=retention)
        responder = Responder(context, context.round_index())
        if not isinstance(process.chain, PrivateFederation):
            return process.serve(Worker(context, responder))
        vault = self._vault(make=False)
        worker = PrivateAggregator(context, vault, responder, self._confirmations, self._renew_key)
        return process.serve(worker)

    def _vault(self, *, make: bool) -> Vault:
        if self._password is None:
            raise KeyStoreError(
                "The file of the encryption keys needs a password.", "Give encryption_password."
            )
        chain = self.process.chain
        where = (self._encryption, self.home, chain, self.address)
        return open_vault(*where, self._password, make=make)[0]

    def _encryption_key(self) -> bytes | None:
        if not isinstance(self.process.chain, PrivateFederation):
            return None
        vault = self._vault(make=True)
        try:
            return vault.newest
        finally:
            vault.close()


def open_vault(
    file: Path | None,
    home: Path,
    chain: Federation,
    account: str,
    password: Callable[[Path], str],
    *,
    make: bool,
) -> tuple[Vault, Path | None]:
    """The file of an account's encryption keys, for this federation only.

    Without one it is made, if ``make``, with a key for rounds to come; then the second value is its
    path. Raises KeyStoreError.
    """
    path = file or home / _DEFAULT
    if not path.exists() and not make and file is not None:
        raise KeyStoreError(
            f"There is no file {path}.",
            "Make one with `flo keys new --encryption`, or leave out --encryption.",
        )
    if file is None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (path.parent / _TAG).write_text(_TAG_TEXT)
    vault = Vault(path, password(path))
    opened = chain.observe(account).current.round
    vault.bind(chain.chain_id, chain.address, account, opened)
    if not make or vault.newest is not None:
        return vault, None
    vault.make_key(opened)
    return vault, path
