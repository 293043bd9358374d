"""A private federation on a development chain, with real processes in this one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, cast

from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import PrivateObservation, PrivateParams, Role
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles import base
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.keeper.private import PrivateKeeper
from fl_orchestrator.roles.masked.relay import PrivateMailbox
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.roles.relay import Mailbox, Relay
from support.federation import SmallFederation, consortium, small_manifest


def packed_manifest(**changes: Any) -> Manifest:
    """The small manifest, as a private federation has it."""
    plain = small_manifest(**{key: changes[key] for key in changes if key != "noise"})
    places = [(t.name, t.shape, t.offset) for t in plain.layout.tensors]
    depth = Layout.of(places, packed=True).depth
    return small_manifest(**{**changes, "layout_kind": "packed", "depth": depth})


class SmallPrivateFederation(SmallFederation):
    """A deployed private federation with everybody registered, before its first round."""

    CONTRACT: ClassVar[type[Federation]] = PrivateFederation

    def __init__(
        self,
        directory: Path,
        parties: int = 5,
        aggregators: int = 4,
        *,
        private: dict[str, Any] | None = None,
        manifest: Manifest | None = None,
        **options: Any,
    ) -> None:
        manifest = manifest or packed_manifest()
        settings = {
            "parameters": manifest.layout.parameters,
            "step_limit": 32_767,
            "claim_period": 600,
            "secrecy": 2,
            "relock": False,
        }
        self.private = PrivateParams(**{**settings, **(private or {})})
        terms = options.pop("terms", None) or consortium(parties, min_updates=3)
        self._home = directory
        super().__init__(directory, parties, aggregators, terms, manifest=manifest, **options)

    @property
    def contract(self) -> PrivateFederation:
        return cast(PrivateFederation, self.federation)

    def seen(self) -> PrivateObservation:
        return self.contract.observe(self.keeper_key.address)

    def _new_mailbox(self) -> Mailbox:
        return PrivateMailbox()

    def _private_params(self) -> PrivateParams:
        return self.private

    def _registration(self, number: int, stake: int) -> Call:
        account = self.aggregators[number].address
        key = self.vault(number).newest or self.vault(number).make_key(0)
        return self.contract.register(Role.AGGREGATOR, account, stake, key)

    # ------------------------------------------------------------------ processes

    def vault(self, number: int) -> Vault:
        """An aggregator's vault, opened anew."""

        def draw() -> bytes:
            return hashlib.sha256(f"key of aggregator {number}".encode()).digest()

        home = self._home / "aggregators" / str(number)
        return Vault(home / "private" / "vault.sqlite", "secret", draw, stretch=False)

    def private_aggregator(self, number: int, relay: Relay | None = None) -> PrivateAggregator:
        context = self.context(
            self.aggregators[number], self.home("aggregators", number), relay=relay
        )
        return PrivateAggregator(context, self.vault(number))

    def keeper(self, last_round: int = 1_000_000, *_: Any, **__: Any) -> PrivateKeeper:
        return PrivateKeeper(
            self.federation,
            self.sender(self.keeper_key),
            self.mailbox,
            self.deployment.block,
            lambda round_number: round_number <= last_round,
        )

    def everybody(self, relay: Relay | None = None) -> list[base.Worker]:
        parties: list[Party] = [self.party(i, relay=relay) for i in range(len(self.parties))]
        seats = [self.private_aggregator(i, relay) for i in range(len(self.aggregators))]
        return [*parties, *seats]
