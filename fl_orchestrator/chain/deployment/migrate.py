"""Runs the numbered migrations and records what they deployed, by chain.

A migration is a module `migrations/NNNN_name.py` with `CONTRACT`, the artifact's name, and
`constructor_arguments(terms)`. It is for the contracts in `FOR`: federations, private ones,
mirrors, or rewards by shares. Migrations are idempotent: the address of a deployment is recorded
before the transaction is sent, so that even after an interruption nothing is deployed twice.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from eth_typing import ChecksumAddress
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from web3 import Web3
from web3.types import Nonce
from web3.utils.address import get_create_address

import fl_orchestrator
from fl_orchestrator.artifacts import CONTRACTS_VERSION, Artifact, load_artifact, version_of
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.deployment.creation import NoOldState, creates, creates_in
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Params, PrivateParams
from fl_orchestrator.errors import ChainError, ToolchainError, VerificationError
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

_FILE_NAME: Final = re.compile(r"\d{4}_[a-z0-9_]+\.py")


class DeploymentMismatch(ChainError):
    """The code on the chain differs from the record, or from this version of the package."""


class ForgedFederation(VerificationError):
    """A contract has a federation's code, and was not deployed as one."""


class DeploymentPending(ChainError):
    """A deployment was sent but is not mined yet."""


def migrate(
    sender: Sender,
    params: Params,
    record: DeploymentRecord,
    private: PrivateParams | None = None,
) -> list[Deployment]:
    """Run every migration of a federation that this chain does not have yet.

    With ``private`` parameters the federation is a private one. Returns all deployments in order;
    the last one is the federation.

    Raises DeploymentMismatch when the chain has other code than expected, DeploymentPending when
    an earlier attempt may still be mined, DamagedRecord, and what Sender raises. Nothing is sent if
    any of the migrations would fail.
    """
    return deploy(sender, *_terms(params, private), record)


def gas_to_migrate(
    sender: Sender,
    params: Params,
    record: DeploymentRecord,
    private: PrivateParams | None = None,
) -> int:
    """The gas of the migrations that this chain does not have yet; sends nothing.

    Raises what `migrate` would raise before it sends anything.
    """
    return gas_to_deploy(sender, *_terms(params, private), record)


def _terms(params: Params, private: PrivateParams | None) -> tuple[str, tuple[Any, ...]]:
    if private is None:
        return "Federation", (to_abi(params),)
    return "PrivateFederation", (to_abi(params), to_abi(private))


def deploy(
    sender: Sender, contract: str, terms: tuple[Any, ...], record: DeploymentRecord
) -> list[Deployment]:
    """As `migrate`, for a contract of this name whose constructor takes the ``terms``."""
    gas_to_deploy(sender, contract, terms, record)
    done = _recorded(record)
    deployments = []
    libraries: dict[str, bytes] = {}
    for path, module in _migrations(contract):
        artifact = load_artifact(module.CONTRACT)
        earlier = done.get(path.stem)
        deployment = None if earlier is None else _check(sender, earlier, artifact, libraries)
        if deployment is None:
            call = _deployment(sender, artifact, module, terms, libraries)
            deployment = _deploy(sender, path.stem, artifact, call, record)
        if deployment != earlier:
            record.save(deployment)
        deployments.append(deployment)
        libraries[artifact.name] = to_canonical_address(deployment.address)
    return deployments


def gas_to_deploy(
    sender: Sender, contract: str, terms: tuple[Any, ...], record: DeploymentRecord
) -> int:
    """As `gas_to_migrate`, for what `deploy` would send."""
    done = _recorded(record)
    gas = 0
    libraries: dict[str, bytes] = {}
    addresses = _next_addresses(sender)
    for path, module in _migrations(contract):
        artifact = load_artifact(module.CONTRACT)
        earlier = done.get(path.stem)
        deployment = None if earlier is None else _check(sender, earlier, artifact, libraries)
        if deployment is None:
            gas += sender.check(_deployment(sender, artifact, module, terms, libraries))
        address = next(addresses) if deployment is None else deployment.address
        libraries[artifact.name] = to_canonical_address(address)
    return gas


def migration_files() -> Sequence[Path]:
    """The migrations in their order, from the installed package or from the checkout."""
    package = Path(fl_orchestrator.__file__).parent
    for directory in (package / "migrations", package.parent / "migrations"):
        files = sorted(p for p in directory.glob("*.py") if _FILE_NAME.fullmatch(p.name))
        if files:
            return files
    raise ToolchainError("The package has no migrations.", "Install fl-orchestrator again.")


def _recorded(record: DeploymentRecord) -> dict[str, Deployment]:
    done = record.load()
    if unknown := done.keys() - {path.stem for path in migration_files()}:
        raise DeploymentMismatch(
            f"{record.path} records migrations that this version of the package does not have: "
            f"{', '.join(sorted(unknown))}.",
            "Use the version that deployed them, or another --deployments directory.",
        )
    return done


def _migrations(contract: str) -> Iterator[tuple[Path, ModuleType]]:
    """The migrations of this contract, in their order."""
    for path in migration_files():
        module = _load(path)
        if contract in module.FOR:
            yield path, module


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"migration_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ToolchainError(f"The migration {path} cannot be loaded.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check(
    sender: Sender, earlier: Deployment, artifact: Artifact, libraries: Mapping[str, bytes]
) -> Deployment | None:
    """Compare a recorded deployment with the chain; None when it was never sent."""
    web3 = sender.web3
    code = bytes(web3.eth.get_code(Web3.to_checksum_address(earlier.address)))
    if not code and not earlier.block:
        if earlier.address in _pending_addresses(sender):
            raise DeploymentPending(
                f"The deployment of {earlier.contract} was sent but is not mined yet.",
                "Run the command again when it is mined.",
            )
        return None
    code_hash = "0x" + keccak(code).hex()
    addresses = {**libraries, artifact.name: to_canonical_address(earlier.address)}
    genuine = artifact.runs_as(code) and (artifact.libraries_of(code).items() <= addresses.items())
    if not genuine or (earlier.block and code_hash != earlier.code_hash):
        if version := version_of(earlier.contract, code):
            raise DeploymentMismatch(
                f"{earlier.contract} at {earlier.address} on chain {web3.eth.chain_id} is of "
                f"version {version}; this flo deploys version {CONTRACTS_VERSION}.",
                "Use another --deployments directory for a new federation; `flo federation "
                "migrate` starts one from the model of this one.",
            )
        raise DeploymentMismatch(
            f"{earlier.contract} at {earlier.address} on chain {web3.eth.chain_id} does not have "
            "the recorded code.",
            "This is another chain with the same id, or another version of the package: use "
            "another --deployments directory, or the version that deployed it.",
        )
    earlier = replace(earlier, version=CONTRACTS_VERSION)
    if earlier.block:
        return earlier
    # The process that sent the deployment ended before it was mined.
    return replace(earlier, block=web3.eth.block_number, code_hash=code_hash)


def is_deployed_here(federation: Federation) -> bool:
    """Whether a transaction on the chain deployed the federation with this package's code.

    The code at the address is no proof: other creation code can leave the same code with any
    storage. It searches every block, so use it only for short chains.
    """
    web3, data = federation.web3, _creation_data(federation)
    numbers = range(1, web3.eth.block_number + 1)
    return any(creates_in(web3, number, federation.address, data) for number in numbers)


def require_deployed(federation: Federation) -> None:
    """As `is_deployed_here`, for any chain: with the states of old blocks it finds the block.

    Raises ForgedFederation. A node without them cannot tell: the log has a warning then.
    """
    try:
        if creates(federation.web3, federation.address, _creation_data(federation)):
            return
    except NoOldState as error:
        _log.warning("deployment not checked", federation=federation.address, reason=error.message)
        return
    raise ForgedFederation(
        f"The contract at {federation.address} has a federation's code, but no transaction that "
        "deploys one: it may have begun with credits of its author, who then takes the stakes.",
        "Send nothing to it. Compare the address with the other members, or ask another node.",
    )


def _creation_data(federation: Federation) -> bytes:
    """The data of the transaction that deploys the federation with this package's code."""
    artifact = load_artifact(federation.ARTIFACT)
    bytecode = artifact.linked(federation.libraries)
    factory = federation.web3.eth.contract(abi=artifact.abi, bytecode=bytecode)
    wanted = factory.constructor(*federation.constructor_arguments()).data_in_transaction
    return bytes.fromhex(wanted[2:])


def _pending_addresses(sender: Sender) -> list[str]:
    """The addresses at which the account's waiting transactions may deploy contracts."""
    account = Web3.to_checksum_address(sender.address)
    nonces = (sender.web3.eth.get_transaction_count(account, b) for b in ("latest", "pending"))
    return [get_create_address(account, Nonce(nonce)) for nonce in range(*nonces)]


def _next_addresses(sender: Sender) -> Iterator[ChecksumAddress]:
    """The addresses at which the account's next transactions would deploy contracts, in order."""
    account = Web3.to_checksum_address(sender.address)
    nonce = sender.web3.eth.get_transaction_count(account, "latest")
    return (get_create_address(account, Nonce(n)) for n in itertools.count(nonce))


def _deployment(
    sender: Sender,
    artifact: Artifact,
    module: Any,
    terms: tuple[Any, ...],
    libraries: Mapping[str, bytes],
) -> Call:
    factory = sender.web3.eth.contract(abi=artifact.abi, bytecode=artifact.linked(libraries))
    constructor = factory.constructor(*module.constructor_arguments(terms))
    data = bytes.fromhex(constructor.data_in_transaction[2:])
    return Call(None, data, 0, f"deploy {artifact.name}")


def _deploy(
    sender: Sender, migration: str, artifact: Artifact, call: Call, record: DeploymentRecord
) -> Deployment:
    expected = next(_next_addresses(sender))
    pending = Deployment(migration, artifact.name, expected, 0, "", CONTRACTS_VERSION)
    record.save(pending)
    receipt = sender.send(call)
    if receipt.contract_address != expected:
        raise DeploymentMismatch(
            f"{artifact.name} was deployed at {receipt.contract_address}, not at {expected}.",
            "Another process uses the same key at the same time: stop it.",
        )
    code = bytes(sender.web3.eth.get_code(expected))
    return replace(pending, block=receipt.block_number, code_hash="0x" + keccak(code).hex())
