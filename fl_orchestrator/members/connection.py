"""Where a member's federation, key and files are: what the options of a site say, in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fl_orchestrator.errors import InputError, ToolchainError, install_hint

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.sending.send import Receipt, Sender, SendPolicy
    from fl_orchestrator.chain.signing.keys import Signer
    from fl_orchestrator.chain.signing.remote_signer import RemoteSigner
    from fl_orchestrator.chain.signing.web3signer import Web3Signer
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.roles.relay import Relay
    from fl_orchestrator.tracking.tracker import Tracker

# Before the URL of a Web3Signer whose own API is meant, not its JSON-RPC.
_WEB3SIGNER: Final = "web3signer+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One account in one federation, as the options of `flo party run` and the others name it.

    Args:
        rpc: The chain's JSON-RPC endpoint, or several with commas between them.
        federation: The contract's address.
        store: ``file:///directory`` or ``kubo+http://127.0.0.1:5001``.
        key: A `Signer`, for example ``LocalSigner.from_secret(32 bytes)``; or the URL of a remote
            signer with ``#`` and the account, ``web3signer+http://…`` for the API of Web3Signer; or
            an encrypted key file.
        password: What returns the password of the key file, when it is needed.
        home: Private files of the account are in a directory below it, as with the command line.
        cache: A directory for models and updates that all roles of this machine name, so that each
            file is there once; on the file system of ``home``. None without it.
        gateways: HTTP gateways, for content that the store does not have.
        relay: The URL of a keeper's relay, which pays for gas and is a gateway.
        deployed_at_block: The block of the contract's deployment: saves the search of those before.
        confirmations: How many blocks must follow a block before it counts.
        daily_cap, daily_deposit: The most to pay a day for gas, and into stake and bonds, in ETH.
        max_fee: The most to pay for a unit of gas, in gwei.
        trackers: Get everything that happens: trackers, or names as "tensorboard:runs".
    """

    rpc: str
    federation: str
    store: str = ""
    key: Signer | str | Path
    password: Callable[[], str] | None = None
    home: str | Path = "~/.flo"
    cache: str | Path = ""
    gateways: Sequence[str] = ()
    relay: str = ""
    chain_id: int | None = None
    deployed_at_block: int = 0
    confirmations: int = 0
    daily_cap: str = ""
    daily_deposit: str = ""
    max_fee: str = ""
    trackers: Sequence[Tracker | str] = ()

    def open_federation(self) -> Federation:
        """Raises ChainError, and InputError for a URL that is not understood."""
        from fl_orchestrator.chain.contract.private import open_federation
        from fl_orchestrator.chain.nodes.connect import reach

        return open_federation(reach(self.rpc, self.chain_id), self.federation)

    def open_sender(self, chain: Federation, on_receipt: Callable[[Receipt], None]) -> Sender:
        """Raises KeyStoreError, and InputError for an amount that is not understood."""
        from fl_orchestrator.chain.sending.send import Sender

        signer = self._signer()
        home = self.role_home(chain, signer.address)
        policy = send_policy(
            home, self.confirmations, self.daily_cap, self.daily_deposit, self.max_fee
        )
        return Sender(chain.web3, signer, chain.reverts, policy, on_receipt)

    def open_store(self) -> ContentStore:
        """Raises ContentError, and InputError for a URL that is not understood."""
        if not self.store:
            raise InputError("This role needs a store.", "Give store='file:///srv/flo'.")
        return open_content(self.store, ",".join(self.gateways), self.relay)

    def open_relay(self) -> Relay | None:
        return open_relay(self.relay)

    def role_home(self, chain: Federation, address: str) -> Path:
        return role_home(Path(self.home).expanduser(), chain, address)

    def shared_files(self, chain: Federation) -> Path | None:
        return shared_files(Path(self.cache).expanduser(), chain) if self.cache else None

    def deployed_at(self, _chain: Federation) -> int:
        return self.deployed_at_block

    def _signer(self) -> Signer:
        if not isinstance(self.key, str | Path):
            return self.key
        password = self.password
        if password is None and not signer_url(Path(self.key)):
            raise InputError(
                f"The key file {self.key} needs a password.",
                "Give password=getpass.getpass, or a signer as the key.",
            )
        return open_signer(Path(self.key), password or str)


def signer_url(key: Path) -> str | None:
    """The URL of a remote signer if ``key`` is one; Path() has turned its // into one slash."""
    scheme, _, rest = key.as_posix().partition(":/")
    return f"{scheme}://{rest}" if scheme.removeprefix(_WEB3SIGNER) in ("http", "https") else None


def remote_signer(url: str) -> RemoteSigner | Web3Signer:
    """The signer behind a URL of `signer_url`. Raises InputError."""
    from fl_orchestrator.chain.signing.remote_signer import RemoteSigner
    from fl_orchestrator.chain.signing.web3signer import Web3Signer

    rest = url.removeprefix(_WEB3SIGNER)
    return RemoteSigner(url) if rest == url else Web3Signer(rest)


def open_signer(key: Path, password: Callable[[], str]) -> Signer:
    """The signer of a remote signer's URL, or of a keystore file. Raises KeyStoreError."""
    from fl_orchestrator.chain.signing.keys import load_keystore

    if url := signer_url(key):
        return remote_signer(url)
    return load_keystore(key, password())


def send_policy(
    home: Path, confirmations: int, daily_cap: str, daily_deposit: str, max_fee: str
) -> SendPolicy:
    """The limits of an account with this directory; an empty text is no limit. Raises InputError.

    The caps are in ETH, and the fee in gwei.
    """
    from fl_orchestrator.chain.sending.budget import Budget
    from fl_orchestrator.chain.sending.send import SendPolicy
    from fl_orchestrator.units import parse_ether, parse_gwei

    gas, deposit = (
        parse_ether(amount) if amount else None for amount in (daily_cap, daily_deposit)
    )
    capped = gas is not None or deposit is not None
    return SendPolicy(
        confirmations=confirmations,
        max_fee_per_gas=parse_gwei(max_fee) if max_fee else None,
        budget=Budget(home / "budget.json", gas, deposit) if capped else None,
    )


def open_content(store: str, gateways: str, relay: str) -> ContentStore:
    """The store, with the gateways for content that it does not have; commas between URLs."""
    from fl_orchestrator.content.by_url import open_store

    urls = [url for part in f"{gateways},{relay}".split(",") if (url := part.strip())]
    return open_store(store, [_over_http(url) for url in urls])


def open_relay(url: str) -> Relay | None:
    """The relay at a URL; None without one."""
    if not url:
        return None
    from fl_orchestrator.relay.client import HttpRelay

    return HttpRelay(_over_http(url))


def _over_http(url: str) -> str:
    """The URL of a relay over HTTP; for one behind Kafka, its tunnel's.

    Raises InputError, and ToolchainError without the package for Kafka.
    """
    if not url.startswith("kafka://"):
        return url
    try:
        from fl_orchestrator.relay.kafka.tunnel import tunnel_to
    except ModuleNotFoundError as error:
        raise ToolchainError(
            f"A relay behind Kafka needs the package {error.name}, which is not installed.",
            install_hint("kafka"),
        ) from error
    return tunnel_to(url)


def role_home(home: Path, federation: Federation, address: str) -> Path:
    """The directory of one account in one federation."""
    return _of_federation(home, federation) / address.lower()


def shared_files(cache: Path, federation: Federation) -> Path:
    """The directory of what the roles of a machine have in common in one federation."""
    return _of_federation(cache, federation)


def _of_federation(directory: Path, federation: Federation) -> Path:
    return directory / f"{federation.chain_id}-{federation.address.lower()}"
