"""Computes the expected model of a result again, with the aggregator's own code."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import Observation, included_indices
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.errors import ContentError, FloError, VerificationError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.chunk_tree import Tree
from fl_orchestrator.model.digests import ZERO_HASH, Result
from fl_orchestrator.model.disputes.proof import ChunkProof, first_wrong_coordinate
from fl_orchestrator.model.vector_file import VectorReader, read_tree
from fl_orchestrator.roles.combination.interface import Combination, Evidence
from fl_orchestrator.roles.combination.masked import MaskedCombination
from fl_orchestrator.roles.combination.plain import PlainCombination, prove
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.numbers import SaturationAlert
from fl_orchestrator.roles.updates import (
    StillFetching,
    UpdateFetches,
    check_reveals,
)
from fl_orchestrator.roles.vectors import (
    RootMismatch,
    VectorCache,
    VectorFile,
    require_root,
)

_log = get_logger(__name__)

#: A watcher's step waits so long for updates that are being fetched, and so do demands that become
#: overdue.
STEP_SECONDS: Final = 5.0
_NO_CID: Final = Cid(ZERO_HASH, RAW)


class UnavailableUpdates(VerificationError):
    """Included updates that are not available; ``missing`` has each with the reason."""

    def __init__(self, missing: Sequence[tuple[RevealedUpdate, FloError]]) -> None:
        named = "; ".join(
            f"update {reveal.cid} of {reveal.party}: {reason.message}" for reveal, reason in missing
        )
        super().__init__(f"Round {missing[0][0].round} cannot be computed again: {named}")
        self.missing = tuple(missing)

    @property
    def still_fetching(self) -> bool:
        """Whether all of them are on their way, so that it is only a matter of time."""
        return all(isinstance(reason, StillFetching) for _, reason in self.missing)


class UnavailableBase(VerificationError):
    """The model that a round started from is not available."""


@dataclass(frozen=True, slots=True)
class ExpectedModel:
    """The model that a result should have: its root, and the CID of its canonical file.

    ``wrong_seed`` and ``limited`` are those of `Combined`.
    """

    root: bytes
    cid: Cid
    wrong_seed: int | None = None
    limited: bool = False

    def is_of(self, result: Result) -> bool:
        """Whether the numbers of a result, and the seeds that it opens, are right."""
        return result.global_root == self.root and self.wrong_seed is None


@dataclass(frozen=True, slots=True)
class _BaseModel:
    """An accepted model; ``result`` is None for genesis."""

    round: int
    cid: Cid
    result: Result | None


class _KnownModels:
    """A cache on disk of expected models, by the inputs of their computation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._models: dict[str, ExpectedModel] = {}
        # If the file is missing or damaged, everything is computed again.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, ContentError):
            for task, (root, cid, seed, limited) in from_json(path.read_bytes()).items():
                named = bytes.fromhex(root), Cid.parse(cid)
                self._models[task] = ExpectedModel(*named, seed, limited)

    def get(self, task: str) -> ExpectedModel | None:
        return self._models.get(task)

    def add(self, task: str, model: ExpectedModel) -> None:
        self._models[task] = model
        lines = {
            task: [m.root.hex(), str(m.cid), m.wrong_seed, m.limited]
            for task, m in self._models.items()
        }
        write_whole(self._path, to_json(lines, indent=0) + "\n")


class Recomputation:
    """Expected models, and proofs against wrong ones, with files below the context's ``home``.

    The files are a cache, so that a restarted process need not compute them again; they are safe to
    delete. With a ``retention`` the store keeps the updates that were used. Updates that take
    longer than ``fetch_seconds`` are unavailable for now, and go on being fetched; None waits.
    """

    def __init__(
        self,
        context: ReadContext,
        rounds: RoundIndex,
        fetch_seconds: float | None = None,
    ) -> None:
        self._federation = context.federation
        params = self._federation.params()
        self._genesis = ExpectedModel(params.genesis_root, params.genesis_cid)
        self._rounds = rounds
        self._store = context.store
        self._layout = context.manifest.layout
        self._origin = context.origin
        self._vectors = context.vectors()
        self._combination = _combination(context, rounds, self._vectors)
        self._fetches = UpdateFetches(self._combination.fetch)
        self._fetch_seconds = fetch_seconds
        self._tree: Tree | None = None
        self._retention = context.retention
        self._saturation = SaturationAlert(context.monitor)
        self._known = _KnownModels(context.home / "right-models.json")

    def known(self, result: Result) -> ExpectedModel | None:
        """The expected model from the cache, or None."""
        return self._known.get(self._task(result))

    def compute(self, result: Result) -> ExpectedModel:
        """The expected model of a result.

        Raises UnavailableUpdates, UnavailableBase and InconsistentEvents.
        """
        return self.known(result) or self._compute_anew(result)[1]

    def right_file(self, result: Result) -> VectorFile:
        """The file of the expected model. Raises what ``compute`` raises."""
        known = self.known(result)
        held = known and self._vectors.held(known.root, self._origin.state(result.round))
        return held or self._compute_anew(result)[0]

    def _compute_anew(self, result: Result) -> tuple[VectorFile, ExpectedModel]:
        base = self._base(result)
        updates = self._updates(result)
        made = self._combination.combine(result, base, updates)
        file = made.file
        self._saturation.look(result.round, file.saturated)
        right = ExpectedModel(file.root, file.cid, made.wrong_seed, made.limited)
        self._known.add(self._task(result), right)
        if self._retention is not None:
            try:
                self._retention.keep([(reveal.cid, update) for update, reveal in updates])
            except ContentError as error:
                # Only other members need them in the store; this process has them on its own disk.
                _log.warning("updates not kept", round=result.round, reason=str(error))
        return file, right

    def inputs(self, result: Result) -> tuple[VectorFile, list[tuple[VectorFile, RevealedUpdate]]]:
        """The base of a result, and the included updates in their order. Raises as ``compute``."""
        return self._base(result), self._updates(result)

    def next_weights(
        self, base: VectorFile, updates: Sequence[tuple[VectorFile, RevealedUpdate]]
    ) -> list[NDArray[np.float32]]:
        """The weights that these updates in the clear alone would make of a base."""
        return self._vectors.next_weights(base, [(file, r.weight) for file, r in updates])

    def release(self, seen: Observation) -> None:
        """Let the store unpin the vectors that no dispute can need any more."""
        if self._retention is not None:
            self._retention.release(seen)

    def claimed_file(self, result: Result) -> VectorFile:
        """The model that the result claims.

        Raises ContentError if it is not available, and RootMismatch if it has another root.
        """
        meta = self._origin.state(result.round)
        return self._vectors.fetch(self._store, result.global_cid, result.global_root, meta)

    def base_round(self, result: Result) -> int:
        """The round whose model the result starts from; 0 for genesis."""
        return max((model.round for model in self._base_models(result)), default=0)

    def forget_rounds_before(self, round_number: int) -> None:
        """Delete the files of earlier rounds."""
        self._vectors.forget_rounds_before(round_number)

    # ------------------------------------------------------------------ proofs

    def first_wrong_coordinate(self, claimed: VectorFile, right: VectorFile) -> int:
        with claimed.path.open("rb") as one, right.path.open("rb") as other:
            found = first_wrong_coordinate(
                self._layout,
                VectorReader(one, self._layout, claimed.meta).blocks(),
                VectorReader(other, self._layout, right.meta).blocks(),
            )
        if found is None:
            raise ValueError(f"{claimed.path} and {right.path} do not differ")
        return found

    def tree(self, file: VectorFile) -> Tree:
        """The chunk tree of a file. The last tree is cached, because a descent needs it repeatedly.

        Raises RootMismatch if the file was damaged on this disk.
        """
        if self._tree is None or self._tree.root != file.root:
            with file.path.open("rb") as stream:
                self._tree = read_tree(stream, self._layout, file.meta)
            require_root(file, self._tree.root)
        return self._tree

    def prove_chunk(self, file: VectorFile, index: int) -> ChunkProof:
        """Prove a chunk of a model. Raises RootMismatch when it was damaged on this disk."""
        return prove(self._layout, file, index)

    def challenge(self, result: Result, coordinate: int, claimed: ChunkProof, salt: bytes) -> Call:
        """The challenge of a coordinate, whose chunk of the claimed model is proven.

        Raises what ``compute`` raises, and RootMismatch.
        """
        evidence = self._evidence(result, salt)
        base = self._base(result)
        needed = (
            self.prove_chunk(base, index) for index in self._layout.base_chunks(claimed.index)
        )
        return self._combination.challenge(evidence, coordinate, (*needed, claimed))

    def challenge_seed(self, result: Result, number: int, salt: bytes) -> Call:
        """The challenge of an opened seed. Raises what ``compute`` raises, and RootMismatch."""
        return self._combination.challenge_seed(self._evidence(result, salt), number)

    def _evidence(self, result: Result, salt: bytes) -> Evidence:
        updates = self._updates(result)
        return Evidence(result, self._rounds.updates(result.round), updates, salt)

    # ------------------------------------------------------------------ inputs

    def _updates(self, result: Result) -> list[tuple[VectorFile, RevealedUpdate]]:
        """The included updates, in their order."""
        reveals = self._rounds.updates(result.round)
        check_reveals(reveals, result.updates_hash)
        if result.included >> len(reveals):
            raise UntrueEvents(f"a result of round {result.round} includes updates without reveal")
        included = [reveals[index] for index in included_indices(result.included)]
        self._combination.prepare(result)
        files = self._fetches.fetch(included, self._fetch_seconds)
        found = list(zip(included, files, strict=True))
        missing = [(reveal, f) for reveal, f in found if not isinstance(f, VectorFile)]
        if missing:
            raise UnavailableUpdates(missing)
        return [(f, reveal) for reveal, f in found if isinstance(f, VectorFile)]

    def _base(self, result: Result) -> VectorFile:
        """The model that the result starts from: from the store, or else computed again."""
        models = self._base_models(result)
        reason = "no accepted round has it"
        for model in models:
            try:
                meta = self._origin.state(model.round)
                return self._vectors.fetch(self._store, model.cid, result.base_root, meta)
            except (ContentError, RootMismatch) as error:
                reason = error.message
        for model in models:
            earlier = model.result
            if earlier is not None and self.compute(earlier).root == result.base_root:
                return self.right_file(earlier)
        raise UnavailableBase(
            f"Round {result.round} cannot be computed again: the model it starts from, "
            f"0x{result.base_root.hex()}, cannot be had: {reason}"
        )

    def _base_models(self, result: Result) -> list[_BaseModel]:
        """The accepted models, genesis included, with the base's root; the last one first."""
        models = [_BaseModel(0, self._genesis.cid, None)]
        if result.base_root != self._genesis.root:
            models = []
        for number, digest in self._rounds.accepted_digests.items():
            earlier = self._rounds.results.get(digest)
            if earlier is None or number >= result.round:
                continue
            if earlier.global_root == result.base_root:
                models.append(_BaseModel(number, earlier.global_cid, earlier))
        return sorted(models, key=lambda model: model.round, reverse=True)

    def _task(self, result: Result) -> str:
        """An identifier of the computation's inputs, independent of the claimed model."""
        task = dataclasses.replace(result, global_root=ZERO_HASH, global_cid=_NO_CID)
        return self._federation.digest_of(task).hex()


def _combination(context: ReadContext, rounds: RoundIndex, vectors: VectorCache) -> Combination:
    """What combines the updates of this kind of federation."""
    federation, manifest, origin = context.federation, context.manifest, context.origin
    if not isinstance(federation, PrivateFederation):
        return PlainCombination(federation, vectors, context.store, origin, manifest.layout)
    if not isinstance(rounds, PrivateRoundIndex):
        raise TypeError("this index lacks what private rounds have")
    return MaskedCombination(federation, rounds, vectors, context.store, manifest, origin)
