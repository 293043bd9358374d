"""What the commands on a living chain share: the options of a site, and what they open.

A command takes an ``Endpoint`` (it reads a chain), an ``Account`` (it also sends) or a ``Site`` (it
also stores), whose fields are its options.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, TypeAlias, TypeVar, get_type_hints

import typer

from fl_orchestrator.cli.console import duration, err
from fl_orchestrator.errors import ChainError, InputError, KeyStoreError

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.federation import Federation
    from fl_orchestrator.chain.keys import LocalSigner
    from fl_orchestrator.chain.send import Receipt, Sender
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.roles.base import Role

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
POLL_SECONDS: Final = 0.5
_MAX_SECRET_CHARACTERS: Final = 4096


def _shared(name: str, text: str, **more: Any) -> Any:
    """An option that every role of a site has: also an environment variable, and a key of flo.toml.

    Precedence: option, environment, file, default.
    """
    variable = "FLO_" + name.removeprefix("--").upper().replace("-", "_")
    return typer.Option(name, help=text, envvar=variable, rich_help_panel="Site (flo.toml)", **more)


RpcOption = Annotated[
    str,
    # What is set may have a key in it, so no help shows it.
    _shared(
        "--rpc",
        "The chain's JSON-RPC endpoint; further ones, after commas, stand in for it. "
        "Default: http://127.0.0.1:8545.",
        metavar="URLS",
        show_default=False,
    ),
]
KeyOption = Annotated[Path | None, _shared("--key", "An encrypted keystore file.")]
PasswordOption = Annotated[
    Path | None, _shared("--password-file", "A file with the key's password. Default: ask.")
]
FederationOption = Annotated[
    str | None,
    _shared("--federation", "The contract's address. Default: the one `flo deploy` made."),
]
DeploymentsOption = Annotated[
    Path, _shared("--deployments", "The directory where `flo deploy` keeps its record.")
]
StoreOption = Annotated[
    str, _shared("--store", "file:///path/to/directory or kubo+http://127.0.0.1:5001.")
]
HomeOption = Annotated[
    Path, _shared("--home", "Private files of this role; keep them until a round ends.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, send nothing, spend nothing.")
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
    _shared("--chain-id", "Refuse an endpoint of any other chain.", metavar="N"),
]
GatewaysOption = Annotated[
    str,
    _shared(
        "--gateways",
        "HTTP gateways, with commas, that are asked for what the store has not.",
        metavar="URLS",
        show_default=False,
    ),
]
RelayOption = Annotated[
    str,
    _shared(
        "--relay",
        "A keeper's relay, which pays for gas and is a gateway.",
        metavar="URL",
        show_default=False,
    ),
]
ConfirmationsOption = Annotated[
    int,
    _shared("--confirmations", "Blocks that have to follow before something counts.", min=0),
]
DailyCapOption = Annotated[
    str,
    _shared("--daily-cap", "The most this role may spend in a day, stake included.", metavar="ETH"),
]
MaxFeeOption = Annotated[
    str, _shared("--max-fee", "The most to pay for a unit of gas.", metavar="GWEI")
]


MetricsOption = Annotated[
    str,
    _shared(
        "--metrics", "Serve figures for Prometheus, and /healthz, there.", metavar="[HOST:]PORT"
    ),
]
LogFormatOption = Annotated[
    str, _shared("--log-format", "text, or json: one object for each line.", metavar="FORMAT")
]
LogLevelOption = Annotated[
    str, _shared("--log-level", "debug, info, warning or error.", metavar="LEVEL")
]


class NoRecordedFederation(InputError):
    """No federation was named, and none is on record for this chain."""


class TimedOut(ChainError):
    """What the command waits for did not happen in time."""


class NotNamed(InputError):
    """The command needs something that neither an option nor the site's file names."""


OnReceipt: TypeAlias = "Callable[[Receipt], None]"


def _ignore(_receipt: Receipt) -> None:
    """What is done with a receipt where nobody asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The options of a command that looks at a federation."""

    rpc: RpcOption = RPC_DEFAULT
    chain_id: ChainIdOption = None
    federation: FederationOption = None
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT

    def connect(self) -> Web3:
        from fl_orchestrator.chain.connect import connect

        return connect(self.rpc, self.chain_id)

    def open_federation(self) -> Federation:
        return open_federation(self.connect(), self.federation, self.deployments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Endpoint):
    """The options of a command that also sends transactions."""

    key: KeyOption = None
    password_file: PasswordOption = None
    home: HomeOption = HOME_DEFAULT
    confirmations: ConfirmationsOption = 0
    daily_cap: DailyCapOption = ""
    max_fee: MaxFeeOption = ""

    def open_sender(self, chain: Federation, on_receipt: OnReceipt = _ignore) -> Sender:
        return open_sender(chain, self.key, self.password_file, on_receipt)

    def role_home(self, chain: Federation, address: str) -> Path:
        return role_home(self.home, chain, address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Account):
    """The options of a command that also reads or writes models and updates."""

    store: StoreOption = ""
    gateways: GatewaysOption = ""
    relay: RelayOption = ""

    def open_store(self) -> ContentStore:
        from fl_orchestrator.content.store import open_store

        return open_store(named("store", self.store))


_T = TypeVar("_T")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def with_options(command: _Command) -> _Command:
    """Give a command, in place of its parameter ``site``, the options of that parameter's class."""
    hints = get_type_hints(command, include_extras=True)
    kind = hints.pop("site")
    shared = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]

    @functools.wraps(command)
    def with_site(**given: Any) -> Any:
        return command(site=kind(**{name: given.pop(name) for name in names}), **given)

    own = [p for p in inspect.signature(command).parameters.values() if p.name != "site"]
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in fields(kind)
    ]
    hints |= {name: shared[name] for name in names}
    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])
        for p in (*own, *options)
    ]
    with_site.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_site.__annotations__ = hints
    return with_site  # type: ignore[return-value]


def named(option: str, value: _T | None) -> _T:
    """What an option names. Raises NotNamed."""
    if not value:
        raise NotNamed(
            f"This command needs --{option}.",
            f"Give it, set FLO_{option.upper()}, or write {option} = … in flo.toml (`flo init`).",
        )
    return value


def open_signer(key: Path | None, password_file: Path | None) -> LocalSigner:
    """Decrypt a keystore file with a password from a file or from the person at the keyboard."""
    from fl_orchestrator.chain.keys import load_keystore

    key = named("key", key)
    return load_keystore(key, read_password(password_file, f"Password of {key}"))


def read_password(password_file: Path | None, prompt: str, confirm: bool = False) -> str:
    """The password: a file's first line, or what is typed."""
    if password_file is None:
        return ask_secret(prompt, "Give the password with --password-file.", confirm)
    try:
        with password_file.open(encoding="utf-8") as file:
            password = _first_line(file)
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
    return file.readline(_MAX_SECRET_CHARACTERS).rstrip("\r\n")


def open_federation(web3: Web3, address: str | None, deployments: Path) -> Federation:
    """The federation at an address, or the one on record for this chain."""
    from fl_orchestrator.chain.federation import Federation
    from fl_orchestrator.chain.migrate import DeploymentRecord

    if address is None:
        record = DeploymentRecord(deployments, web3.eth.chain_id)
        found = [d.address for d in record.load().values() if d.contract == "Federation"]
        if not found:
            raise NoRecordedFederation(
                f"{record.path} records no federation on chain {web3.eth.chain_id}.",
                "Name one with --federation, or deploy one with `flo deploy`.",
            )
        address = found[-1]
    return Federation(web3, parse_address(address))


def deployed_at(chain: Federation, deployments: Path) -> int:
    """The block of a federation's deployment if it is on record, else 0: where its events begin."""
    from fl_orchestrator.chain.migrate import DeploymentRecord

    recorded = DeploymentRecord(deployments, chain.chain_id).load().values()
    blocks = [d.block for d in recorded if d.address.lower() == chain.address.lower()]
    return blocks[0] if blocks else 0


def parse_address(text: str) -> str:
    """An account's or a contract's address with its checksum (EIP-55). Raises InputError."""
    from web3 import Web3

    if not _ADDRESS.fullmatch(text):
        raise InputError(f"{text!r} is not an address.", "It has 0x and 40 hexadecimal digits.")
    address = Web3.to_checksum_address(text)
    digits = text[2:]
    if digits not in (address[2:], digits.lower(), digits.upper()):
        raise InputError(
            f"{text} is mistyped: its capital letters are a checksum, which is wrong.",
            "Copy the address again.",
        )
    return address


def open_sender(
    federation: Federation,
    key: Path | None,
    password_file: Path | None,
    on_receipt: OnReceipt = _ignore,
) -> Sender:
    from fl_orchestrator.chain.send import Sender

    signer = open_signer(key, password_file)
    return Sender(federation.web3, signer, federation.reverts, on_receipt=on_receipt)


def role_home(home: Path, federation: Federation, address: str) -> Path:
    """The directory of one account's role in one federation."""
    return (
        home.expanduser() / f"{federation.chain_id}-{federation.address.lower()}" / address.lower()
    )


def follow(
    chain: Federation,
    account: str,
    role: Role,
    done: Callable[[Observation], bool],
    timeout: float,
) -> tuple[Observation, bool]:
    """Give an account's role a step at every new block until ``done``.

    Returns what was seen then, and whether the role ever acted.

    Raises TimedOut when the round has not moved for ``timeout`` seconds, and whatever the role
    raises.
    """
    deadline = time.monotonic() + timeout
    first_block, last_block, acted, last = None, -1, False, None
    with err.status("Looking at the chain …") as status:
        while not done(seen := chain.observe(account)):
            first_block = first_block or seen.block_number
            # Whoever has acted in a phase may owe something in the next one: it waits for its end.
            owes = acted and phase_ends_in(seen) is not None
            if time.monotonic() > deadline and not owes:
                raise _timed_out(seen, timeout, moved=seen.block_number != first_block)
            if seen.block_number == last_block:
                time.sleep(POLL_SECONDS)
                continue
            last_block = seen.block_number
            status.update(waiting_for(seen))
            moment = (seen.current.round, seen.current.phase)
            if moment != last and not err.is_terminal:
                err.print(waiting_for(seen))
            if moment != last:
                deadline = time.monotonic() + timeout
            last = moment
            step = role.step()
            if step.action:
                err.print(f"[dim]{step.action}[/]")
                last_block, acted = -1, True
    return seen, acted


def waiting_for(seen: Observation) -> str:
    """Where the round stands, and what whoever has nothing to do is waiting for."""
    from fl_orchestrator.chain.types import Phase

    phase, number = seen.current.phase, seen.current.round
    if phase is Phase.SEEDING:
        return f"Round {number} is being opened."
    ends_in = phase_ends_in(seen)
    if ends_in is None:
        ended = f"Round {number} is {phase.name.lower()}. " if number else ""
        return f"{ended}The next round is not open; any keeper opens it."
    return f"Round {number}: the {phase.name.lower()} phase ends in {duration(ends_in)} at most."


def phase_ends_in(seen: Observation) -> int | None:
    """Seconds until the current phase's deadline; None where it has none."""
    from fl_orchestrator.chain.types import Phase

    ends = {
        Phase.COMMIT: seen.current.commit_end,
        Phase.REVEAL: seen.current.reveal_end,
        Phase.ATTEST: seen.current.attest_end,
    }
    end = ends.get(seen.current.phase)
    return None if end is None else max(0, end - seen.timestamp)


def head_json(seen: Observation) -> dict[str, object]:
    """The head, under the keys that it has in every command's JSON."""
    return {
        "head_round": seen.head.round,
        "head_root": "0x" + seen.head.root.hex(),
        "head_cid": str(seen.head.cid),
    }


def _timed_out(seen: Observation, timeout: float, *, moved: bool) -> TimedOut:
    return TimedOut(
        f"Nothing more happened within {duration(timeout)}. {waiting_for(seen)}",
        "Run the command again to go on; nothing is lost."
        if moved
        else "The chain mined no block: start a development chain with `anvil --block-time 1`, "
        "then run the command again.",
    )
