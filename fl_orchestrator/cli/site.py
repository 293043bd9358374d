"""The options of a site, which commands on a running chain share, and what those options open.

A command takes an ``Endpoint`` (to read a chain), an ``Account`` (to read one account), a ``Payer``
(to send transactions) or a ``Site`` (to use a store too); the fields of that class are its options.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar, get_type_hints

import typer

from fl_orchestrator.cli.passwords import read_password
from fl_orchestrator.errors import InputError
from fl_orchestrator.members.connection import signer_url
from fl_orchestrator.model.protocol import ADDRESS
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.nodes.node import Node
    from fl_orchestrator.chain.sending.send import Receipt, Sender
    from fl_orchestrator.chain.signing.keys import Signer
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.roles.relay import Relay


def shared(name: str, text: str, **more: Any) -> Any:
    """An option of every role, which is also an environment variable and a key of flo.toml.

    Precedence: option, environment, file, default.
    """
    variable = "FLO_" + name.removeprefix("--").upper().replace("-", "_")
    return typer.Option(name, help=text, envvar=variable, rich_help_panel="Site (flo.toml)", **more)


RpcOption = Annotated[
    str,
    # The environment's value may contain an API key, so the help does not show it.
    shared(
        "--rpc",
        "The chain's JSON-RPC endpoint, or several, separated by commas, which are used in "
        "turn if one fails. Default: http://127.0.0.1:8545.",
        metavar="URLS",
        show_default=False,
    ),
]
KeyOption = Annotated[
    Path | None,
    # The environment's value may contain a password, so the help does not show it.
    shared(
        "--key",
        "An encrypted keystore file, or the URL of a remote signer and, after #, the account: "
        "http://127.0.0.1:8550#ADDRESS, or web3signer+http:// for that program.",
        metavar="FILE|URL",
        show_default=False,
    ),
]
PasswordOption = Annotated[
    Path | None,
    shared(
        "--password-file",
        "A file with the key's password, or /dev/fd/N for the open descriptor N. Default: ask.",
    ),
]
FederationOption = Annotated[
    str | None,
    shared("--federation", "The contract's address. Default: the recorded one."),
]
DeploymentsOption = Annotated[
    Path, shared("--deployments", "Where `flo federation create` stores its record.")
]
StoreOption = Annotated[
    str, shared("--store", "file:///path/to/directory or kubo+http://127.0.0.1:5001.")
]
HomeOption = Annotated[
    Path, shared("--home", "Private files of this role; keep them until a round ends.")
]
CacheOption = Annotated[
    Path | None,
    shared("--cache", "What this machine's roles share, to have each file once on its disk."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, but send and spend nothing.")
]
TimeoutOption = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the round to move.")
]

RPC_DEFAULT: Final = "http://127.0.0.1:8545"
DEPLOYMENTS_DEFAULT: Final = Path("deployments")
HOME_DEFAULT: Final = Path("~/.flo")
TIMEOUT_DEFAULT: Final = 3600.0


ChainIdOption = Annotated[
    int | None,
    shared("--chain-id", "Refuse an endpoint of any other chain.", metavar="N"),
]
GatewaysOption = Annotated[
    str,
    shared(
        "--gateways",
        "HTTP gateways, separated by commas, to fetch content from that the store does not have.",
        metavar="URLS",
        show_default=False,
    ),
]
RelayOption = Annotated[
    str,
    shared(
        "--relay",
        "A keeper's relay, over HTTP or behind Kafka: it pays for gas and is a gateway.",
        metavar="URL",
        show_default=False,
    ),
]
ConfirmationsOption = Annotated[
    int,
    shared("--confirmations", "How many blocks must follow a block before it counts.", min=0),
]
DailyCapOption = Annotated[
    str, shared("--daily-cap", "The most to pay for gas in a day (UTC).", metavar="ETH")
]
DailyDepositOption = Annotated[
    str,
    shared("--daily-deposit", "The most to put into stake and bonds in a day.", metavar="ETH"),
]
MaxFeeOption = Annotated[
    str, shared("--max-fee", "The most to pay for a unit of gas.", metavar="GWEI")
]


MetricsOption = Annotated[
    str,
    shared("--metrics", "Serve metrics for Prometheus, and /healthz, here.", metavar="[HOST:]PORT"),
]
LogFormatOption = Annotated[
    str, shared("--log-format", "text, or json: one object for each line.", metavar="FORMAT")
]
LogLevelOption = Annotated[
    str, shared("--log-level", "debug, info, warning or error.", metavar="LEVEL")
]


class NoHome(InputError):
    """A path begins with ~, and this user has no home directory."""


class NoRecordedFederation(InputError):
    """No federation was named, and none is recorded for this chain."""


class NotNamed(InputError):
    """The command needs a value that no option, environment variable or flo.toml gives."""


OnReceipt: TypeAlias = "Callable[[Receipt], None]"


def _ignore(_receipt: Receipt) -> None:
    """The default for ``on_receipt``: do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The options of a command that reads a federation's state."""

    rpc: RpcOption = RPC_DEFAULT
    chain_id: ChainIdOption = None
    federation: FederationOption = None
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT

    def connect(self) -> Node:
        from fl_orchestrator.chain.nodes.connect import reach

        return reach(self.rpc, self.chain_id)

    def open_federation(self, any_version: bool = False) -> Federation:
        return open_federation(self.connect(), self.federation, self.deployments, any_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader(Endpoint):
    """The options of a command that reads models and updates."""

    store: StoreOption = ""
    gateways: GatewaysOption = ""
    relay: RelayOption = ""

    def open_store(self) -> ContentStore:
        return open_content(self.store, self.gateways, self.relay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Endpoint):
    """The options of a command that reads an account's state."""

    key: KeyOption = None
    home: HomeOption = HOME_DEFAULT

    def account(self, named_one: str = "") -> str:
        """The address ``named_one``, or that of the key, which is read without its password."""
        if named_one:
            return parse_address(named_one)
        key = named("key", self.key)
        if url := signer_url(key):
            from fl_orchestrator.members.connection import remote_signer

            return remote_signer(url).address
        from fl_orchestrator.chain.signing.keys import keystore_address

        return keystore_address(key)

    def role_home(self, chain: Federation, address: str) -> Path:
        return role_home(self.home, chain, address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder(Account):
    """The options of a command that signs with an account's key."""

    password_file: PasswordOption = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer(Holder):
    """The options of a command that also sends transactions."""

    confirmations: ConfirmationsOption = 0
    daily_cap: DailyCapOption = ""
    daily_deposit: DailyDepositOption = ""
    max_fee: MaxFeeOption = ""

    def open_sender(self, chain: Federation, on_receipt: OnReceipt = _ignore) -> Sender:
        from fl_orchestrator.chain.sending.send import Sender
        from fl_orchestrator.members.connection import send_policy

        signer = open_signer(self.key, self.password_file)
        home = self.role_home(chain, signer.address)
        limits = (self.daily_cap, self.daily_deposit, self.max_fee)
        policy = send_policy(home, self.confirmations, *limits)
        return Sender(chain.web3, signer, chain.reverts, policy, on_receipt)

    def alone_with(self, chain: Federation, address: str) -> AbstractContextManager[None]:
        """Hold the account's lock: no other process on this site sends from it meanwhile."""
        from fl_orchestrator.service.lock import account_lock

        return account_lock(self.role_home(chain, address), address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Payer):
    """The options of a command that also reads or writes models and updates."""

    cache: CacheOption = None
    store: StoreOption = ""
    gateways: GatewaysOption = ""
    relay: RelayOption = ""

    def open_store(self) -> ContentStore:
        return open_content(self.store, self.gateways, self.relay)

    def shared_files(self, chain: Federation) -> Path | None:
        from fl_orchestrator.members import connection

        return connection.shared_files(expanded(self.cache), chain) if self.cache else None

    def open_relay(self) -> Relay | None:
        from fl_orchestrator.members.connection import open_relay

        return open_relay(self.relay)


def open_content(store: str, gateways: str, relay: str) -> ContentStore:
    """The store, with the gateways for content that it does not have."""
    from fl_orchestrator.members import connection

    return connection.open_content(named("store", store), gateways, relay)


_T = TypeVar("_T")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def with_options(command: _Command) -> _Command:
    """Give a command, in place of its parameter ``site``, the options of that parameter's class."""
    hints = get_type_hints(command, include_extras=True)
    kind = hints.pop("site")
    theirs = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]

    @functools.wraps(command)
    def with_site(**given: Any) -> Any:
        return command(site=kind(**{name: given.pop(name) for name in names}), **given)

    own = [p for p in inspect.signature(command).parameters.values() if p.name != "site"]
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in fields(kind)
    ]
    hints |= {name: theirs[name] for name in names}
    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])
        for p in (*own, *options)
    ]
    with_site.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_site.__annotations__ = hints
    return with_site  # type: ignore[return-value]


def named(option: str, value: _T | None) -> _T:
    """The value of an option that is required. Raises NotNamed."""
    if not value:
        raise NotNamed(
            f"This command needs --{option}.",
            f"Give it, set FLO_{option.upper()}, or write {option} = … in flo.toml (`flo init`).",
        )
    return value


def open_signer(key: Path | None, password_file: Path | None) -> Signer:
    """The signer of a remote signer's URL, or of a keystore file, after asking its password."""
    from fl_orchestrator.members import connection

    key = named("key", key)
    prompt = printable(f"Password of {key}")
    return connection.open_signer(key, lambda: read_password(password_file, prompt))


def open_federation(
    node: Node, address: str | None, deployments: Path, any_version: bool = False
) -> Federation:
    """The federation at an address, or the one of this chain that was recorded last.

    With ``any_version`` it may be of an earlier release: to read, and to withdraw from.
    """
    from fl_orchestrator.artifacts import KINDS
    from fl_orchestrator.chain.contract import private
    from fl_orchestrator.chain.deployment.record import DeploymentRecord

    if address is None:
        record = DeploymentRecord(deployments, node.chain_id)
        found = [d.address for d in record.load().values() if d.contract in KINDS]
        if not found:
            raise NoRecordedFederation(
                f"{record.path} records no federation on chain {node.chain_id}.",
                "Name one with --federation, or create one with `flo federation create`.",
            )
        address = found[-1]
    return private.open_federation(node, parse_address(address), any_version)


def deployed_at(chain: Federation, deployments: Path) -> int:
    """The block of the recorded deployment, or 0: a federation has no events before it."""
    from fl_orchestrator.chain.deployment.record import DeploymentRecord

    recorded = DeploymentRecord(deployments, chain.chain_id).load().values()
    blocks = [d.block for d in recorded if d.address.lower() == chain.address.lower()]
    return blocks[0] if blocks else 0


def parse_address(text: str) -> str:
    """An account's or a contract's address with its checksum (EIP-55). Raises InputError."""
    from fl_orchestrator.chain.abi import checksummed

    if not ADDRESS.fullmatch(text):
        raise InputError(f"{text!r} is not an address.", "It has 0x and 40 hexadecimal digits.")
    address = checksummed(text)
    digits = text[2:]
    if digits not in (address[2:], digits.lower(), digits.upper()):
        raise InputError(
            f"{text} is mistyped: its capital letters are a checksum, which is wrong.",
            "Copy the address again.",
        )
    return address


def expanded(path: Path) -> Path:
    """A path with ~ replaced by the home directory. Raises NoHome."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise NoHome(
            f"{path} cannot be found: this user has no home directory.",
            "Set HOME, or name another directory: --home or FLO_HOME for a role's files.",
        ) from error


def role_home(home: Path, federation: Federation, address: str) -> Path:
    """The directory of one account in one federation."""
    from fl_orchestrator.members import connection

    return connection.role_home(expanded(home), federation, address)
