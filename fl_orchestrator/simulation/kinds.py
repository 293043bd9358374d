"""What differs between the simulations of a plain and of a private federation: what is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import Params, PrivateParams, Role
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.keeper.private import PrivateKeeper
from fl_orchestrator.roles.masked.relay import PrivateMailbox
from fl_orchestrator.roles.masked.terms import PrivateTerms, private_params
from fl_orchestrator.roles.relay import Mailbox
from fl_orchestrator.simulation.accounts import encryption_keys

# The keys in it are derived from the seed, so the password keeps nothing secret.
_VAULT_PASSWORD: Final = "simulated"  # noqa: S105


class Kind(Protocol):
    """A kind of federation."""

    contract: ClassVar[type[Federation]]
    index: ClassVar[type[RoundIndex]]
    mailbox: ClassVar[type[Mailbox]]
    keeper: ClassVar[type[Keeper]]

    def params(self, manifest: Manifest, params: Params, /) -> PrivateParams | None:
        """The parameters that only this kind of federation has."""
        ...

    def registration(
        self, federation: Any, account: str, stake: int, home: Path, number: int, /
    ) -> Call:
        """The call that registers the aggregator of this number, with its stake in wei."""
        ...

    def aggregator(
        self, context: Context, number: int, responder: Responder | None, /
    ) -> Aggregator | PrivateAggregator: ...


class Plain:
    """A federation whose updates can be read."""

    contract: ClassVar[type[Federation]] = Federation
    index: ClassVar[type[RoundIndex]] = RoundIndex
    mailbox: ClassVar[type[Mailbox]] = Mailbox
    keeper: ClassVar[type[Keeper]] = Keeper

    def params(self, _manifest: Manifest, _params: Params) -> None:
        return None

    def registration(
        self, federation: Federation, account: str, stake: int, _home: Path, _number: int
    ) -> Call:
        return federation.register(Role.AGGREGATOR, account, stake)

    def aggregator(self, context: Context, _number: int, responder: Responder | None) -> Aggregator:
        return Aggregator(context, responder)


class Private:
    """A federation whose updates are masked. Keys are derived from ``seed``."""

    contract: ClassVar[type[Federation]] = PrivateFederation
    index: ClassVar[type[RoundIndex]] = PrivateRoundIndex
    mailbox: ClassVar[type[Mailbox]] = PrivateMailbox
    keeper: ClassVar[type[Keeper]] = PrivateKeeper

    def __init__(self, terms: PrivateTerms, seed: int) -> None:
        self._terms = terms
        self._seed = seed

    def params(self, manifest: Manifest, params: Params) -> PrivateParams:
        return private_params(manifest, params, self._terms)

    def registration(
        self, federation: PrivateFederation, account: str, stake: int, home: Path, number: int
    ) -> Call:
        vault = self._vault(home, number)
        key = vault.newest or vault.make_key(0)
        vault.close()
        return federation.register(Role.AGGREGATOR, account, stake, key)

    def aggregator(
        self, context: Context, number: int, responder: Responder | None
    ) -> PrivateAggregator:
        return PrivateAggregator(context, self._vault(context.home, number), responder)

    def _vault(self, home: Path, number: int) -> Vault:
        draw = encryption_keys(self._seed, number)
        return Vault(home / "private" / "vault.sqlite", _VAULT_PASSWORD, draw, stretch=False)
