"""The files, the keys and the contract of a local federation. Each step is idempotent.

The directory contains ``plan.json``, the ``password`` of all keystores, and a directory for each
account with its ``key.json``, its ``flo.toml`` and the files of its process.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter, ValidationError
from web3 import Web3
from web3.types import RPCEndpoint

from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import migrate
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing.keys import LocalSigner, Signer, load_keystore, save_keystore
from fl_orchestrator.chain.types import Role, StakeView
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.errors import ChainError, InputError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.masked.terms import PrivateTerms, private_params
from fl_orchestrator.roles.setup import Terms, federation_params, publish
from fl_orchestrator.service.local.children import Child
from fl_orchestrator.service.local.sites import write_site
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.trainer import FloatArray
from fl_orchestrator.units import ETHER

#: What each account gets on a chain of its own.
COIN: Final = 1_000 * ETHER
_PLAN: Final = "plan.json"
_VAULT: Final = "private/vault.sqlite"
_PASSWORD: Final = "password"  # noqa: S105 - a file's name

_TRAINER: Final = '''\
"""This party's trainer: logistic regression in NumPy, on the rows in data.npz."""

from pathlib import Path

import numpy as np

from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.units import ETHER

CLASSES = {classes}


def make_trainer() -> NumpyLogistic:
    data = np.load(Path(__file__).parent / "data.npz", allow_pickle=False)
    return NumpyLogistic(Rows(data["x"], data["y"]), CLASSES)
'''


class OtherPlan(InputError):
    """The directory contains another federation, or other files."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of parties, aggregators and watchers, and the seed of all random choices.

    ``private``: whether the updates are masked.
    """

    parties: int
    aggregators: int
    watchers: int = 1
    seed: int = 0
    private: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """An account and the directory of its process. ``role`` is a noun of `flo`, or ``owner``."""

    role: str
    number: int
    directory: Path
    signer: LocalSigner

    @property
    def name(self) -> str:
        return f"{self.role}-{self.number}"

    @property
    def address(self) -> str:
        return self.signer.address

    def child(self, *options: str, environment: Mapping[str, str] | None = None) -> Child:
        """The process of this role, which uses the settings in its directory."""
        flo = [sys.executable, "-m", "fl_orchestrator", "--config", "flo.toml"]
        command = [*flo, self.role, "run", *options]
        return Child(self.name, command, self.directory, environment)


@dataclass(frozen=True, slots=True)
class Model:
    """What a federation trains: its manifest, the first weights, and each party's rows.

    ``trainer`` is the Python source of a trainer for the rows in the ``data.npz`` beside it. The
    default is logistic regression.
    """

    manifest: Manifest
    weights: Sequence[FloatArray]
    rows: Sequence[Rows]
    classes: int
    trainer: str = ""


@dataclass(frozen=True, slots=True)
class Payer:
    """An account of an existing chain that gives each member so much, in wei."""

    signer: Signer
    amount: int


class LocalFederation:
    """The federation in a directory, which is created if it does not exist.

    ``secret_of`` returns the private key of a member by its name; by default it is random. Raises
    OtherPlan if the directory was made for another plan.
    """

    def __init__(
        self,
        directory: Path,
        plan: Plan,
        secret_of: Callable[[str], bytes] = lambda _name: secrets.token_bytes(32),
    ) -> None:
        self.directory = directory.absolute()
        self.plan = plan
        self._secret_of = secret_of
        _claim(self.directory, plan)
        self._password = _kept_password(self.directory / _PASSWORD)
        self.owner = self._member("owner", 0)
        self.keeper = self._member("keeper", 0)
        self.parties = [self._member("party", i) for i in range(plan.parties)]
        self.aggregators = [self._member("aggregator", i) for i in range(plan.aggregators)]
        self.watchers = [self._member("watcher", i) for i in range(plan.watchers)]

    def members(self) -> Iterator[Member]:
        """All members that have a process, in the order in which to start them."""
        yield from (*self.watchers, *self.aggregators, *self.parties, self.keeper)

    @property
    def cache(self) -> Path:
        """What all members share."""
        return self.directory / "cache"

    @property
    def deployments(self) -> Path:
        return self.directory / "deployments"

    def _member(self, role: str, number: int) -> Member:
        directory = self.directory / f"{role}-{number}"
        directory.mkdir(exist_ok=True)
        key = directory / "key.json"
        if not key.exists():
            secret = self._secret_of(f"{role} {number}")
            save_keystore(key, secret, self._password, stretch=False)
        return Member(role, number, directory, load_keystore(key, self._password))

    def deploy(
        self,
        web3: Web3,
        store_url: str,
        model: Model,
        terms: Terms,
        private: PrivateTerms | None = None,
        payer: Payer | None = None,
    ) -> Federation:
        """Give all members coin, deploy the contracts, admit and register all members.

        With ``private`` terms the federation is a private one. Without a ``payer`` the chain must
        be Anvil, which can set balances. Raises what Sender and the store raise.
        """
        self._fund(web3, payer)
        genesis = publish(open_store(store_url), model.manifest, model.weights)
        params = federation_params(model.manifest, genesis, terms)
        own = None if private is None else private_params(model.manifest, params, private)
        kind = Federation if own is None else PrivateFederation
        reverts = RevertDecoder.of_artifact(kind.ARTIFACT)
        owner = Sender(web3, self.owner.signer, reverts)
        record = DeploymentRecord(self.deployments, web3.eth.chain_id)
        chain = kind(web3, migrate(owner, params, record, own)[-1].address)
        for call in self._admissions(chain, terms):
            owner.send(call)
        for role, stake in (
            (Role.PARTY, terms.min_party_stake),
            (Role.AGGREGATOR, terms.min_aggregator_stake),
        ):
            for member in self._of(role):
                if _view(chain, member, role).stake == 0:
                    call = self._registration(chain, member, role, stake)
                    Sender(web3, member.signer, reverts).send(call)
        return chain

    def _fund(self, web3: Web3, payer: Payer | None) -> None:
        amount = COIN if payer is None else payer.amount
        accounts = [Web3.to_checksum_address(m.address) for m in (self.owner, *self.members())]
        poor = [account for account in accounts if web3.eth.get_balance(account) < amount // 2]
        if payer is None:
            for account in poor:
                web3.provider.make_request(RPCEndpoint("anvil_setBalance"), [account, hex(amount)])
        elif poor:
            sender = Sender(web3, payer.signer, RevertDecoder.of_artifact(Federation.ARTIFACT))
            calls = [Call(account, b"", amount, "fund") for account in poor]
            for outcome in sender.send_together(calls):
                if isinstance(outcome, ChainError):
                    raise outcome

    def _registration(self, chain: Federation, member: Member, role: Role, stake: int) -> Call:
        if role is Role.PARTY or not isinstance(chain, PrivateFederation):
            return chain.register(role, member.address, stake)
        vault = Vault(member.directory / _VAULT, self._password, stretch=False)
        with contextlib.closing(vault):
            vault.bind(chain.chain_id, chain.address, member.address, 0)
            key = vault.newest or vault.make_key(0)
        return chain.register(role, member.address, stake, key)

    def _of(self, role: Role) -> list[Member]:
        return self.parties if role is Role.PARTY else self.aggregators

    def _admissions(self, chain: Federation, terms: Terms) -> Iterator[Call]:
        for role in (Role.PARTY, Role.AGGREGATOR):
            views = {m.address: _view(chain, m, role) for m in self._of(role)}
            outside = [address for address, view in views.items() if not view.admitted]
            if outside:
                yield chain.admit(outside, role)
        if chain.observe(self.owner.address).free_pot < terms.reward:
            yield chain.fund_rewards(1000 * terms.reward)

    def write_sites(self, chain: Federation, rpc: str, stores: Sequence[str], model: Model) -> None:
        """Write all members' settings, and the parties' data and trainers.

        The members use the ``stores`` in turn. A user's changes to the files are kept.
        """
        for member, store_url in zip(self.members(), itertools.cycle(stores), strict=False):
            settings: dict[str, Any] = {
                "rpc": rpc,
                "chain-id": chain.chain_id,
                "federation": chain.address,
                "deployments": str(self.deployments),
                "store": store_url,
                "key": "key.json",
                "password-file": str(self.directory / _PASSWORD),
                "home": "home",
                "cache": str(self.cache),
            }
            section, files = "", dict[str, bytes]()
            if member.role == "aggregator" and self.plan.private:
                section = f'\n[aggregator]\nencryption = "{_VAULT}"\n'
            if member.role == "party":
                section = '\n[party]\ntrainer = "trainer.py:make_trainer"\n'
                section += f"seed = {self.plan.seed}\n"
                trainer = model.trainer or _TRAINER.format(classes=model.classes)
                rows = _packed(model.rows[member.number])
                files = {"data.npz": rows, "trainer.py": trainer.encode()}
            write_site(member.directory, settings, section, files)


def _packed(rows: Rows) -> bytes:
    file = io.BytesIO()
    np.savez(file, x=rows.x, y=rows.y)
    return file.getvalue()


def _view(chain: Federation, member: Member, role: Role) -> StakeView:
    seen = chain.observe(member.address)
    return seen.party if role is Role.PARTY else seen.aggregator


def _claim(directory: Path, plan: Plan) -> None:
    """Create the directory, or check that it was made for this plan. Raises OtherPlan."""
    file = directory / _PLAN
    if not file.exists():
        if directory.exists() and any(directory.iterdir()):
            raise OtherPlan(
                f"{directory} contains files, but no federation.", "Choose an empty directory."
            )
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(file, to_json(asdict(plan)) + "\n")
        return
    try:
        found = TypeAdapter(Plan).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise OtherPlan(f"{file} cannot be read.", "Choose another directory.") from error
    if found != plan:
        raise OtherPlan(
            f"{directory} has a federation of {found.parties} parties, {found.aggregators} "
            f"aggregators, {found.watchers} watchers and seed {found.seed}, "
            f"{'' if found.private else 'not '}private.",
            "Give these options to continue with it, or choose another directory.",
        )


def _kept_password(file: Path) -> str:
    """The password of all keystores, generated once; only the file's owner can read it."""
    if not file.exists():
        new = file.with_name(f".{file.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
        new.rename(file)
    return file.read_text().strip()
