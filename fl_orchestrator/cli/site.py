"""What the commands on a living chain share: endpoint, federation, store, key, and the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import err
from fl_orchestrator.errors import ChainError, InputError, KeyStoreError

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.federation import Federation
    from fl_orchestrator.chain.keys import LocalSigner
    from fl_orchestrator.chain.send import Sender
    from fl_orchestrator.roles.base import Role

POLL_SECONDS: Final = 0.5
_MAX_PASSWORD_BYTES: Final = 4096

RpcOption = Annotated[str, typer.Option("--rpc", help="The chain's JSON-RPC endpoint.")]
KeyOption = Annotated[Path, typer.Option("--key", help="An encrypted keystore file.")]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="A file with the key's password. Default: ask."),
]
FederationOption = Annotated[
    str | None,
    typer.Option(
        "--federation", help="The contract's address. Default: the one `flo deploy` made."
    ),
]
DeploymentsOption = Annotated[
    Path, typer.Option("--deployments", help="The directory where `flo deploy` keeps its record.")
]
StoreOption = Annotated[
    str,
    typer.Option("--store", help="file:///path/to/directory or kubo+http://127.0.0.1:5001."),
]
HomeOption = Annotated[
    Path, typer.Option("--home", help="Private files of this role; keep them until a round ends.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, send nothing, spend nothing.")
]

RPC_DEFAULT: Final = "http://127.0.0.1:8545"
DEPLOYMENTS_DEFAULT: Final = Path("deployments")
HOME_DEFAULT: Final = Path.home() / ".flo"


class NoRecordedFederation(InputError):
    """No federation was named, and none is on record for this chain."""


class TimedOut(ChainError):
    """What the command waits for did not happen in time."""


def open_signer(key: Path, password_file: Path | None) -> LocalSigner:
    """Decrypt a keystore file with a password from a file or from the person at the keyboard."""
    from fl_orchestrator.chain.keys import load_keystore

    return load_keystore(key, read_password(password_file, f"Password of {key}"))


def read_password(password_file: Path | None, prompt: str, confirm: bool = False) -> str:
    """The password: a file's first line, or what is typed."""
    if password_file is None:
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    try:
        with password_file.open(encoding="utf-8") as file:
            return file.read(_MAX_PASSWORD_BYTES).partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise KeyStoreError(
            f"The password file {password_file} cannot be read.", "Check --password-file."
        ) from error


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
    elif not web3.is_address(address):
        raise InputError(f"{address!r} is not an address.", "It has 40 hexadecimal digits.")
    return Federation(web3, address)


def open_sender(federation: Federation, key: Path, password_file: Path | None) -> Sender:
    from fl_orchestrator.chain.send import Sender

    signer = open_signer(key, password_file)
    return Sender(federation.web3, signer, federation.reverts)


def role_home(home: Path, federation: Federation, address: str) -> Path:
    """The directory of one account's role in one federation."""
    return home / f"{federation.chain_id}-{federation.address.lower()}" / address.lower()


def follow(web3: Web3, role: Role, done: Callable[[], bool], timeout: float) -> bool:
    """Give a role a step at every new block until ``done``; whether it ever acted.

    Raises TimedOut after ``timeout`` seconds, and whatever the role raises.
    """
    deadline = time.monotonic() + timeout
    seen, acted = -1, False
    while not done():
        if time.monotonic() > deadline:
            raise TimedOut(
                f"Nothing more happened within {timeout:.0f} s.",
                "Run the command again to go on waiting; nothing is lost. A development chain "
                "has to mine blocks by itself: start it with `anvil --block-time 1`.",
            )
        block = web3.eth.block_number
        if block == seen:
            time.sleep(POLL_SECONDS)
            continue
        seen = block
        step: Any = role.step()
        if step.action:
            err.print(f"[dim]{step.action}[/]")
            seen, acted = -1, True
    return acted
