"""The view of a local federation: what each member has done in the current round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_orchestrator.chain.contract.events import READ_AGAIN, MissingEvents, RoundIndex
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.history import HistoryFollower, HistoryHook
from fl_orchestrator.chain.types import ModelView, Observation, Phase
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import ContentError, VerificationError
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.service.local.federation import Member
from fl_orchestrator.training.trainer import FloatArray


@dataclass(frozen=True, slots=True)
class View:
    """The state at one block; ``did`` has the last action of each member in the round."""

    seen: Observation
    did: dict[str, str]


class RunMonitor:
    """Reads a federation's public state: the contract and the store."""

    def __init__(
        self,
        chain: Federation,
        store: ContentStore,
        manifest: Manifest,
        directory: Path,
        evaluate: Callable[[list[FloatArray]], tuple[float, float]],
        shared: Path | None = None,
    ) -> None:
        """``shared``: what the roles of this machine have in common."""
        self._chain = chain
        self.store = store
        self._manifest = manifest
        self._origin = Origin(chain.chain_id, chain.address)
        self._vectors = VectorCache(directory, manifest, shared)
        self._evaluate = evaluate
        self._rounds = RoundIndex(chain, 0)

    def look(self, parties: Sequence[Member], aggregators: Sequence[Member]) -> View:
        """The view: who has committed, revealed and signed."""
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
        for digest in self._chain.proposed_results(seen.current.seed_block, round_number=number):
            signers |= self._chain.attestation(digest).signers
        return signers

    def measure(self, model: ModelView, seen: Observation) -> dict[str, Any]:
        """How many updates an accepted model includes, and its loss and accuracy on the test set.

        Loss and accuracy are None if it is not the head and is no longer in the store. Raises
        ContentError, VerificationError and ChainError.
        """
        accepted = self._rounds.accepted(model.round, seen.block_number)
        measured: dict[str, Any] = {
            "updates": accepted.result.included.bit_count(),
            "loss": None,
            "accuracy": None,
        }
        try:
            meta = self._origin.state(model.round)
            file = self._vectors.fetch(self.store, model.cid, model.root, meta)
        except (ContentError, VerificationError):
            if model == seen.head:
                raise
            return measured
        weights = self._vectors.weights(file)
        measured["loss"], measured["accuracy"] = self._evaluate(weights)
        self._vectors.forget_rounds_before(model.round)
        return measured


class RoundReporter(HistoryHook):
    """Measures each accepted round and shows it once, also across revocations and restarts.

    ``rounds`` has the accepted rounds that were shown: their ``round`` and ``root``, the result of
    `RunMonitor.measure`, and whether they were ``revoked`` since. ``show`` is called with each
    round, and again when it is revoked.
    """

    # Set at the start of each look, for the hooks that it calls.
    _seen: Observation

    def __init__(
        self,
        follower: HistoryFollower,
        monitor: RunMonitor,
        show: Callable[[dict[str, Any]], None],
    ) -> None:
        self.rounds: list[dict[str, Any]] = []
        self._follower = follower
        self._monitor = monitor
        self._show = show
        self._lacking_since: int | None = None

    def look(self, seen: Observation) -> None:
        """Show new rounds. Raises what the store and the chain raise.

        A node may show a block before the block's events. A round whose events are missing is shown
        later, unless they are missing for as long as they are read again.
        """
        self._seen = seen
        try:
            self._follower.deliver(self, seen)
        except MissingEvents:
            if self._lacking_since is None:
                self._lacking_since = seen.block_number
            if seen.block_number >= self._lacking_since + READ_AGAIN - 1:
                raise
        else:
            self._lacking_since = None

    def on_accepted(self, model: ModelView) -> None:
        found = {**_named(model), **self._monitor.measure(model, self._seen), "revoked": False}
        self.rounds.append(found)
        self._show(found)

    def on_revoked(self, model: ModelView) -> None:
        named = {**_named(model), "revoked": True}
        for found in self.rounds:
            if (found["round"], found["root"]) == (named["round"], named["root"]):
                found["revoked"] = True
        self._show(named)


def _named(model: ModelView) -> dict[str, Any]:
    return {"round": model.round, "root": "0x" + model.root.hex()}
