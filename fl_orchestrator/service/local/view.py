"""What there is to see of a local federation: who has done what in the current round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.digests import result_digest
from fl_orchestrator.model.fixed_point import float_view
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.service.local.federation import Member
from fl_orchestrator.training.trainer import FloatArray

ENDED = (Phase.IDLE, Phase.ACCEPTED, Phase.VOID)


@dataclass(frozen=True, slots=True)
class View:
    """What was seen at one block; ``did`` has the last thing each member did in the round."""

    seen: Observation
    did: dict[str, str]


@dataclass(frozen=True, slots=True)
class Head:
    """A head and how good it is on the test set."""

    round: int
    root: bytes
    updates: int
    loss: float
    accuracy: float


class Watcher:
    """Looks at a federation as anybody can: at the contract and at the store."""

    def __init__(
        self,
        chain: Federation,
        store: ContentStore,
        manifest: Manifest,
        directory: Path,
        evaluate: Callable[[list[FloatArray]], tuple[float, float]],
    ) -> None:
        self._chain = chain
        self._store = store
        self._manifest = manifest
        self._origin = Origin(chain.chain_id, chain.address)
        self._vectors = VectorCache(directory, manifest)
        self._evaluate = evaluate

    def look(self, parties: Sequence[Member], aggregators: Sequence[Member]) -> View:
        """Who has committed, revealed and signed."""
        did: dict[str, str] = {}
        seen = self._chain.observe(aggregators[0].address)
        for party in parties:
            slot = self._chain.observe(party.address).committed
            if slot.round == seen.current.round and seen.current.round:
                did[party.name] = "revealed" if slot.revealed else "committed"
        if seen.current.phase in (Phase.ATTEST, Phase.ACCEPTED):
            signers = self._signers(seen)
            for aggregator in aggregators:
                seat = self._chain.observe(aggregator.address).aggregator.seat
                if signers >> seat & 1:
                    did[aggregator.name] = "signed"
        return View(seen, did)

    def _signers(self, seen: Observation) -> int:
        """The seats that have signed any result of the current round."""
        signers = 0
        number = seen.current.round
        results = self._chain.proposed_results(seen.current.seed_block, round_number=number)
        for result in results.values():
            digest = result_digest(self._origin.chain_id, self._origin.federation, result)
            signers |= self._chain.attestation(digest).signers
        return signers

    def head(self, seen: Observation) -> Head:
        """The head, its model fetched, checked and evaluated. Raises ContentError."""
        head = seen.head
        file = self._vectors.fetch(self._store, head.cid, head.root, self._origin.state(head.round))
        weights = float_view(self._manifest.layout, self._vectors.load(file))
        loss, accuracy = self._evaluate(weights)
        self._vectors.forget_rounds_before(head.round)
        return Head(head.round, head.root, seen.current.reveals, loss, accuracy)
