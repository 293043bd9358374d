"""Answers demands for the models that this process holds, or can get.

Signers owe these answers: a demand that nobody answers makes the result fraudulent. Anybody may
give them, and gets half of the bond if the round becomes final. docs/protocol.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import structlog

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.chunk_tree import ChunkTree
from fl_orchestrator.model.dispute_proof import nodes_below, path_above, prove_chunk
from fl_orchestrator.model.vector_file import read_tree
from fl_orchestrator.roles.attempt import attempt
from fl_orchestrator.roles.base import NEW_EVENTS, Step, at
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.settlement import Bonds
from fl_orchestrator.roles.vectors import (
    RootMismatch,
    VectorFile,
    require_root,
)

_log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 30
# The contract says so when somebody was faster, or the demand is over.
_NOT_NOW: Final = frozenset(
    {
        ContractError.AlreadyAnswered,
        ContractError.AnswerOverdue,
        ContractError.RoundNotAlive,
        ContractError.UnknownDemand,
        ContractError.NotFinal,
    }
)


class Responder:
    """Answers every demand it can, with the vectors that the role of this context keeps."""

    def __init__(
        self,
        context: Context,
        rounds: RoundIndex,
    ) -> None:
        self._federation = context.federation
        self._sender = context.sender
        self._store = context.store
        self._layout = context.manifest.layout
        self._rounds = rounds
        self._origin = context.origin
        self._vectors = context.vectors()
        self._bonds = Bonds(context.federation, rounds, context.address)
        self._tree: ChunkTree | None = None
        self._retry_at: dict[int, int] = {}

    def step(self) -> Step:
        seen = self._federation.observe(self._sender.address)
        if self._rounds.search_to(seen.block_number):
            # What was settled may not be any more.
            self._bonds = Bonds(self._federation, self._rounds, self._sender.address)
        if not self._rounds.demands:
            return Step(wait=NEW_EVENTS)
        for calls in (self._answers(seen), self._bonds.due(seen)):
            for call in calls:
                if attempt(self._sender, call, _NOT_NOW):
                    return Step(call.label)
        return Step(wait=NEW_EVENTS | at(*self._retry_at.values()))

    def _answers(self, seen: Observation) -> Iterator[Call]:
        canonical: dict[int, bool] = {}
        for demand in list(self._rounds.demands.values()):
            number = demand.round
            if demand.id in self._rounds.answers or seen.timestamp >= demand.deadline:
                continue
            if number not in canonical:
                canonical[number] = self._federation.window(number).canonical
            if canonical[number] and self._retry_at.get(number, 0) <= seen.timestamp:
                try:
                    content, path = self.answer_to(demand)
                except (ContentError, MissingEvents, RootMismatch) as error:
                    _log.error("cannot answer", round=number, id=demand.id, reason=error.message)
                    self._retry_at[number] = seen.timestamp + _RETRY_SECONDS
                    continue
                yield self._federation.answer(demand.id, content, path)

    def answer_to(self, demand: Demanded) -> tuple[bytes, bytes]:
        """The content and the path that a demand asks for.

        Raises ContentError, RootMismatch and MissingEvents when the model cannot be had.
        """
        file = self._model(demand)
        if demand.level == 0:
            with file.path.open("rb") as stream:
                proof = prove_chunk(stream, self._layout, file.meta, demand.index)
            require_root(file, proof.root)
            return proof.chunk, b"".join(proof.siblings)
        tree = self._tree_of(file)
        return (
            nodes_below(tree, demand.level, demand.index),
            path_above(tree, demand.level, demand.index),
        )

    def _model(self, demand: Demanded) -> VectorFile:
        result = self._rounds.accepted(demand.round, demand.block_number).result
        meta = self._origin.state(demand.round)
        return self._vectors.fetch(self._store, result.global_cid, result.global_root, meta)

    def _tree_of(self, file: VectorFile) -> ChunkTree:
        """The last tree is kept: one descent asks for it again and again."""
        if self._tree is None or self._tree.root != file.root:
            with file.path.open("rb") as stream:
                self._tree = read_tree(stream, self._layout, file.meta)
            require_root(file, self._tree.root)
        return self._tree
