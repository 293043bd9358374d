"""The auditor of a recorded run: replays it on a new chain and recomputes every model of it.

The auditor trusts none of the recorded results. It takes roots, reveals and results from the replay
of the signed transactions, and computes every model from the stored updates.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fl_orchestrator.audit.difference import describe, first_difference, flipped_bit
from fl_orchestrator.audit.history import KERAS, SAFETENSORS, file_sha256
from fl_orchestrator.audit.model_audit import IncorrectModel, ModelAudit
from fl_orchestrator.audit.recorded_run import open_run
from fl_orchestrator.audit.recording import WrongRecord
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import ModelView, included_indices
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError, InputError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import VectorMeta
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.manifests import manifest_cid, manifest_of
from fl_orchestrator.roles.recomputation import UnavailableUpdates
from fl_orchestrator.roles.vectors import Origin, RootMismatch, VectorCache, VectorFile
from fl_orchestrator.training.trainer import WeightSpec
from fl_orchestrator.training.weights_file import load_weights, max_weights_bytes


class Audit:
    """An audit of the run in ``directory``; recomputed models are written to ``workspace``.

    Raises UnreadableRun when there is no record, DamagedRun when it is damaged, and WrongRecord
    when it contradicts itself.
    """

    def __init__(self, directory: Path, workspace: Path) -> None:
        self._directory = directory
        run = open_run(directory)
        self.history, self._store, self._federation = run.history, run.store, run.federation
        self._manifest = self._read_manifest()
        self._origin = Origin(self._federation.chain_id, self._federation.address)
        self._cache = VectorCache(workspace / "checked", self._manifest)
        context = ReadContext(
            federation=self._federation,
            store=self._store,
            manifest=self._manifest,
            home=workspace,
        )
        self._models = ModelAudit(context)

    def rounds(self) -> Iterator[Result]:
        """Audit the accepted rounds in their order; yield the result of each that is kept.

        The models of rounds whose updates were dropped are not computed again (see ``dropped``).
        Raises WrongRecord at the first wrong one.
        """
        self._compare_history()
        self._require_genesis()
        for height in range(1, self._federation.head().height + 1):
            model = self._federation.model(height)
            result = self._result(model)
            if model.round >= self.history.first_kept:
                yield self._check(model, result)

    @property
    def dropped(self) -> int:
        """How many accepted rounds the run says that it has dropped the updates of."""
        first = self.history.first_kept
        return sum(entry.accepted for entry in self.history.rounds if entry.round < first)

    @property
    def identity(self) -> dict[str, str]:
        """The values that identify this run; compare them with a source that you trust.

        The audit proves that a run is consistent. It cannot tell it from another consistent run.
        """
        lineage = self._manifest.lineage
        before = {} if lineage is None else {"lineage": str(lineage)}
        return before | {
            "federation": self._federation.address,
            "manifest_digest": "0x" + self._manifest.digest.hex(),
            "genesis_root": "0x" + self._federation.model(0).root.hex(),
            "head_root": self.head_root,
        }

    @property
    def head_root(self) -> str:
        return "0x" + self._federation.head().root.hex()

    def check_exports(self) -> None:
        """Compare exported models with the head. Call it after ``rounds``. Raises WrongRecord."""
        head = self._federation.head()
        if self.history.complete and set(self.history.exports) != self.history.exported:
            raise WrongRecord("history.json does not list the exported models of a complete run.")
        for name, recorded in self.history.exports.items():
            path = self._directory / name
            if name not in (SAFETENSORS, KERAS) or path.is_symlink() or not path.is_file():
                raise WrongRecord(f"Round {head.round}: the exported {name} is missing.")
            try:
                found = file_sha256(path, max_weights_bytes(self._tensors))
            except OSError as error:
                raise WrongRecord(
                    f"Round {head.round}: the exported {name} cannot be read: {error.strerror}."
                ) from error
            if found != recorded:
                wrong = "" if name == KERAS else self._wrong_weight(path, head)
                where = f"; {wrong}" if wrong else ""
                raise WrongRecord(f"Round {head.round}: the exported {name} was changed{where}.")
            if name == SAFETENSORS and (wrong := self._wrong_weight(path, head)):
                raise WrongRecord(f"Round {head.round}: the exported {name} is wrong; {wrong}.")

    @property
    def _tensors(self) -> list[WeightSpec]:
        return [WeightSpec(t.name, t.shape) for t in self._manifest.layout.tensors]

    def _wrong_weight(self, path: Path, head: ModelView) -> str:
        """Describe the first difference of an exported model from the head's; empty if none."""
        layout = self._manifest.layout
        file = self._cache.fetch(self._store, head.cid, head.root, self._origin.state(head.round))
        right = self._cache.weights(file)
        try:
            found = load_weights(path, self._tensors)
        except InputError as error:
            return f"it cannot be read ({error.message})"
        for tensor, a, b in zip(layout.tensors, found, right, strict=True):
            differing = np.flatnonzero(a.view(np.uint32) != b.view(np.uint32))
            if differing.size:
                coordinate = tensor.padded_start + int(differing[0])
                return f"the first wrong coordinate is {describe(layout, coordinate)}"
        return ""

    def _read_manifest(self) -> Manifest:
        try:
            return manifest_of(self._store, self._federation)
        except ContentError as error:
            raise WrongRecord(
                f"Round 0: the stored manifest was changed, no coordinate of a model: {error}"
            ) from error

    def _require_genesis(self) -> None:
        model = self._federation.model(0)
        meta = self._origin.state(0)
        try:
            self._cache.fetch(self._store, model.cid, model.root, meta)
        except (ContentError, RootMismatch) as error:
            raise self._damaged(f"model {model.cid}", model.cid, model.root, meta) from error

    def _result(self, model: ModelView) -> Result:
        """The result that the contract accepted for a model, compared with the record."""
        result = self._models.result_of(model)
        claimed = self.history.rounds[model.round - 1].included
        included = len(included_indices(result.included))
        self._compare(model.round, (("number of included updates", claimed, included),))
        return result

    def _check(self, model: ModelView, result: Result) -> Result:
        try:
            checked = self._models.check(model)
        except UnavailableUpdates as error:
            reveal, _ = error.missing[0]
            masked = isinstance(self._federation, PrivateFederation)
            meta = (self._origin.masked if masked else self._origin.update)(reveal.round)
            what = f"update {reveal.cid} of {reveal.party}"
            raise self._damaged(what, reveal.cid, reveal.root, meta) from error
        except IncorrectModel as error:
            raise WrongRecord(error.message) from error
        if difference := self._difference(model, self._models.recomputation.right_file(result)):
            raise WrongRecord(
                f"Round {model.round}: the stored model {model.cid} was changed; {difference}."
            )
        return checked

    def _difference(self, model: ModelView, right: VectorFile) -> str:
        """Describe how the stored file of a model differs from the right one; empty if equal."""
        place = self._store.locate(model.cid)
        if place is None:
            return "it is not in the store"
        try:
            if filecmp.cmp(place, right.path, shallow=False):
                return ""
            return first_difference(self._manifest.layout, right.meta.kind, place, right.path)
        except OSError as error:
            return f"it cannot be read: {error.strerror}"

    def _damaged(self, what: str, cid: Cid, root: bytes, meta: VectorMeta) -> WrongRecord:
        """The error for a stored vector whose root is not the one on the chain."""
        place = self._store.locate(cid)
        if place is None:
            return WrongRecord(f"Round {meta.round}: the {what} is not in the store.")
        try:
            commits = len(self._models.commits(meta.round))
            where = flipped_bit(self._manifest.layout, meta, place, root, commits)
        except OSError as unreadable:
            where = f"it cannot be read: {unreadable.strerror}"
        return WrongRecord(f"Round {meta.round}: the stored {what} was changed; {where}.")

    def _compare_history(self) -> None:
        """Compare what history.json says about the chain with the replayed chain."""
        federation, history = self._federation, self.history
        genesis = federation.model(0)
        heights = range(1, federation.head().height + 1)
        models = {model.round: model for model in map(federation.model, heights)}
        setting = (
            ("kind (private or not)", history.private, isinstance(federation, PrivateFederation)),
            ("chain id", history.chain_id, federation.chain_id),
            ("rule", history.rule, self._manifest.rule.kind.label),
            ("manifest CID", history.manifest_cid, str(manifest_cid(self._manifest.digest))),
            ("root", history.genesis_root, "0x" + genesis.root.hex()),
            ("CID", history.genesis_cid, str(genesis.cid)),
        )
        self._compare(0, setting)
        current = genesis
        for number, entry in enumerate(history.rounds, start=1):
            current = models.get(number, current)
            claims = (
                ("number", entry.round, number),
                ("acceptance", entry.accepted, number in models),
                ("root", entry.root, "0x" + current.root.hex()),
                ("CID", entry.cid, str(current.cid)),
            )
            self._compare(number, claims)
        last = federation.observe(federation.address).current.round
        self._compare(last, (("number of rounds", len(history.rounds), last),))

    @staticmethod
    def _compare(round_number: int, claims: Iterable[tuple[str, Any, Any]]) -> None:
        for what, claimed, right in claims:
            if claimed != right:
                raise WrongRecord(
                    f"Round {round_number}: history.json has the {what} {claimed}, the chain "
                    f"{right}; no coordinate of the model is concerned, the record itself was "
                    "changed."
                )


__all__ = ["Audit", "WrongRecord"]
