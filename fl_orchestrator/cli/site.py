"""What the commands on a living chain share: endpoint, federation, store, key, and the loop."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from fl_orchestrator.cli.console import duration, err
from fl_orchestrator.errors import ChainError, InputError, KeyStoreError

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.federation import Federation
    from fl_orchestrator.chain.keys import LocalSigner
    from fl_orchestrator.chain.send import Sender
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.roles.base import Role

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
POLL_SECONDS: Final = 0.5
_MAX_SECRET_CHARACTERS: Final = 4096

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
TimeoutOption = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the round to move.")
]

RPC_DEFAULT: Final = "http://127.0.0.1:8545"
DEPLOYMENTS_DEFAULT: Final = Path("deployments")
HOME_DEFAULT: Final = Path("~/.flo")
TIMEOUT_DEFAULT: Final = 3600.0


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


def open_sender(federation: Federation, key: Path, password_file: Path | None) -> Sender:
    from fl_orchestrator.chain.send import Sender

    signer = open_signer(key, password_file)
    return Sender(federation.web3, signer, federation.reverts)


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
