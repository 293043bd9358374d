"""A party that sends arbitrary transactions, and stores and relays that fail."""

from __future__ import annotations

import io
from typing import Any

from fl_orchestrator.attacks import adversary
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentNotFound, StoreUnavailable
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from support.federation import SmallFederation


class Adversary(adversary.Adversary):
    """The account of one of a small federation's parties, controlled by the test."""

    def __init__(self, federation: SmallFederation, number: int) -> None:
        sender = federation.sender(federation.parties[number])
        super().__init__(federation.federation, sender, federation.manifest.layout)


class DeafRelay:
    """Accepts every message and forwards none."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def post_commit(self, *_: Any) -> None:
        self.dropped.append("commit")

    def put_update(self, *_: Any) -> None:
        self.dropped.append("update")

    def post_reveal(self, *_: Any) -> None:
        self.dropped.append("reveal")

    def post_attestation(self, *_: Any) -> None:
        self.dropped.append("attestation")


class PartialStore(LocalStore):
    """Does not have certain files, and has nothing while it is down."""

    def __init__(self, federation: SmallFederation) -> None:
        super().__init__(federation.directory / "store")
        self.denied: set[Cid] = set()
        self.down = False

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        if self.down:
            raise StoreUnavailable("The store is down.")
        if cid in self.denied:
            raise ContentNotFound(f"Nobody has {cid}.")
        return super().get(cid, max_bytes)


def run_to_attest(federation: SmallFederation) -> tuple[Observation, list[Cid]]:
    """Run until the updates are revealed; return their CIDs in the parties' order."""
    parties = [federation.party(i) for i in range(len(federation.parties))]
    seen = federation.run_to(Phase.ATTEST, [*parties, federation.keeper(1)], 1)
    cids = {update.party: update.cid for update in federation.federation.revealed_updates(0)}
    return seen, [cids[key.address] for key in federation.parties]


def aggregators_without(
    federation: SmallFederation, denied: list[set[Cid]]
) -> tuple[list[Aggregator], list[PartialStore]]:
    """Aggregators, one for each set, that cannot get the files in it; and their stores."""
    stores = [PartialStore(federation) for _ in denied]
    for store, cids in zip(stores, denied, strict=True):
        store.denied = cids
    return [federation.aggregator(i, store=s) for i, s in enumerate(stores)], stores
