"""The auditor: replays a recorded run on a fresh chain and recomputes every model of it.

Nothing of the run is believed: roots, reveals and results come from the replay of its signed
transactions, every model from the stored updates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eth_utils.exceptions import ValidationError as EthValidationError
from web3.exceptions import Web3Exception

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.development import DevelopmentChain, RecordedBlock
from fl_orchestrator.chain.events import RoundIndex
from fl_orchestrator.chain.federation import Federation
from fl_orchestrator.chain.types import ModelView, RevealedUpdate, included_indices
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.errors import ContentError, InputError, VerificationError
from fl_orchestrator.model.fixed_point import float_view
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.report.history import (
    KERAS,
    SAFETENSORS,
    STORE,
    History,
    UnreadableRun,
    file_sha256,
    load_blocks,
)
from fl_orchestrator.roles.aggregator import check_reveals
from fl_orchestrator.roles.difference import describe, first_difference, flipped_bit
from fl_orchestrator.roles.manifests import fetch_manifest
from fl_orchestrator.roles.vectors import Origin, RootMismatch, VectorCache, VectorFile
from fl_orchestrator.training.trainer import TensorSpec
from fl_orchestrator.training.weights_file import load_weights


class WrongRecord(VerificationError):
    """Something recorded or stored is not what the replayed chain says."""


@dataclass(frozen=True, slots=True)
class AuditedRound:
    """An accepted round whose model was recomputed and found right."""

    round: int
    height: int
    updates: int
    root: bytes


class Audit:
    """An audit of the run in ``directory``; ``workspace`` takes recomputed models.

    Raises UnreadableRun when there is no record, WrongRecord when it contradicts itself.
    """

    def __init__(self, directory: Path, workspace: Path) -> None:
        self._directory = directory
        self.history = History.load(directory)
        if not (directory / STORE).is_dir():
            raise UnreadableRun(f"{directory / STORE} is missing.")
        self._store = LocalStore(directory / STORE)
        self._federation = _replay(directory, self.history)
        self._manifest: Manifest = fetch_manifest(self._store, self._federation.params())
        self._origin = Origin(self._federation.chain_id, self._federation.address)
        self._cache = VectorCache(workspace, self._manifest)

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    def rounds(self) -> Iterator[AuditedRound]:
        """Audit one accepted round after the other. Raises WrongRecord at the first wrong one."""
        index = RoundIndex(self._federation, 0)
        last_block = self._federation.web3.eth.block_number
        head = self._federation.head()
        self._compare_history()
        model = self._federation.model(0)
        base = self._stored(model, self._fetch(model, 0))
        for height in range(1, head.height + 1):
            model = self._federation.model(height)
            accepted = index.accepted(model.round, last_block)
            check_reveals(accepted.updates, accepted.result.updates_hash)
            included = [accepted.updates[i] for i in included_indices(accepted.result.included)]
            base = self._recompute(model, base, included)
            yield AuditedRound(model.round, height, len(included), model.root)

    @property
    def head_root(self) -> str:
        return "0x" + self._federation.head().root.hex()

    def check_exports(self) -> None:
        """Check the exported models against the head; after ``rounds``. Raises WrongRecord."""
        head = self._federation.head()
        for name, recorded in self.history.exports.items():
            path = self._directory / name
            if name not in (SAFETENSORS, KERAS) or not path.is_file():
                raise WrongRecord(f"Round {head.round}: the exported {name} is missing.")
            if file_sha256(path) != recorded:
                wrong = "" if name == KERAS else self._wrong_weight(path, head)
                where = f"; {wrong}" if wrong else ""
                raise WrongRecord(f"Round {head.round}: the exported {name} was changed{where}.")
            if name == SAFETENSORS and (wrong := self._wrong_weight(path, head)):
                raise WrongRecord(f"Round {head.round}: the exported {name} is wrong; {wrong}.")

    def _wrong_weight(self, path: Path, head: ModelView) -> str:
        """The first coordinate at which an exported model is not the head's; empty if none."""
        layout = self._manifest.layout
        file = self._cache.fetch(self._store, head.cid, head.root, self._origin.state(head.round))
        right = float_view(layout, self._cache.load(file))
        try:
            found = load_weights(path, [TensorSpec(t.name, t.shape) for t in layout.tensors])
        except InputError as error:
            return f"it cannot be read ({error.message})"
        for tensor, a, b in zip(layout.tensors, found, right, strict=True):
            differing = np.flatnonzero(a.view(np.uint32) != b.view(np.uint32))
            if differing.size:
                coordinate = tensor.padded_start + int(differing[0])
                return f"the first wrong coordinate is {describe(layout, coordinate)}"
        return ""

    def _recompute(
        self, model: ModelView, base: VectorFile, included: Sequence[RevealedUpdate]
    ) -> VectorFile:
        updates = [(self._fetch_update(reveal), reveal.weight) for reveal in included]
        right = self._cache.aggregate(base, updates, self._origin.state(model.round))
        if right.root != model.root:
            raise WrongRecord(
                f"Round {model.round}: the model on-chain is not the rule applied to its updates; "
                f"{self._first_difference(model, right)}."
            )
        return self._stored(model, right)

    def _stored(self, model: ModelView, right: VectorFile) -> VectorFile:
        """Check that the stored file of a model is the right one, byte for byte."""
        place = self._store.locate(model.cid)
        if place is None:
            raise WrongRecord(f"Round {model.round}: the model {model.cid} is not in the store.")
        if place.read_bytes() != right.path.read_bytes():
            raise WrongRecord(
                f"Round {model.round}: the stored model {model.cid} was changed; "
                f"{self._first_difference(model, right)}."
            )
        return right

    def _first_difference(self, model: ModelView, right: VectorFile) -> str:
        place = self._store.locate(model.cid)
        if place is None:
            return "the claimed model is not in the store"
        return first_difference(self._manifest.layout, right.meta.kind, place, right.path)

    def _fetch(self, model: ModelView, round_number: int) -> VectorFile:
        try:
            return self._cache.fetch(
                self._store, model.cid, model.root, self._origin.state(round_number)
            )
        except (ContentError, RootMismatch) as error:
            place = self._store.locate(model.cid)
            meta = self._origin.state(round_number)
            where = (
                "it is missing"
                if place is None
                else flipped_bit(self._manifest.layout, meta, place, model.root)
            )
            raise WrongRecord(
                f"Round {round_number}: the stored model {model.cid} was changed; {where}."
            ) from error

    def _fetch_update(self, reveal: RevealedUpdate) -> VectorFile:
        meta = self._origin.update(reveal.round)
        try:
            return self._cache.fetch(self._store, reveal.cid, reveal.root, meta)
        except (ContentError, RootMismatch) as error:
            place = self._store.locate(reveal.cid)
            where = (
                "it is missing"
                if place is None
                else flipped_bit(self._manifest.layout, meta, place, reveal.root)
            )
            raise WrongRecord(
                f"Round {reveal.round}: the stored update {reveal.cid} of {reveal.party} was "
                f"changed; {where}."
            ) from error

    def _compare_history(self) -> None:
        """Check the roots and CIDs in history.json against the replayed chain."""
        genesis = self._federation.model(0)
        models = {m.round: m for m in map(self._federation.model, self._heights())}
        claimed = [(0, self.history.genesis_root, self.history.genesis_cid, genesis)]
        current = genesis
        for entry in self.history.rounds:
            if entry.accepted != (entry.round in models):
                raise WrongRecord(
                    f"Round {entry.round}: history.json and the chain differ on its acceptance."
                )
            current = models.get(entry.round, current)
            claimed.append((entry.round, entry.root, entry.cid, current))
        for number, root, cid, model in claimed:
            if (root, cid) != ("0x" + model.root.hex(), str(model.cid)):
                raise WrongRecord(
                    f"Round {number}: history.json has the root {root} and the CID {cid}, the "
                    f"chain 0x{model.root.hex()} and {model.cid}; no coordinate of the model is "
                    "concerned, the record itself was changed."
                )

    def _heights(self) -> range:
        return range(1, self._federation.head().height + 1)


def _replay(directory: Path, history: History) -> Federation:
    """Send the recorded transactions to a fresh chain; return the federation that they deployed."""
    blocks = load_blocks(directory)
    try:
        genesis = next(blocks)
        chain = DevelopmentChain(genesis["balances"], genesis["genesisTime"])
        for item in blocks:
            transactions = tuple(bytes.fromhex(raw[2:]) for raw in item["transactions"])
            chain.replay(RecordedBlock(item["timestamp"], transactions))
    except StopIteration:
        raise UnreadableRun(f"{directory} has an empty record of blocks.") from None
    except (KeyError, TypeError, ValueError, EthValidationError, Web3Exception) as error:
        raise WrongRecord(f"The recorded blocks cannot be replayed: {error}.") from error
    if chain.head_hash() != bytes.fromhex(history.chain_head[2:]):
        raise WrongRecord(
            "The recorded blocks were changed: the last one does not have the recorded hash."
        )
    federation = Federation(chain.web3, history.federation)
    code = bytes(chain.web3.eth.get_code(federation.address))
    if not load_artifact("Federation").runs_as(code):
        raise WrongRecord(
            f"The contract at {federation.address} is not the federation of this version."
        )
    return federation
