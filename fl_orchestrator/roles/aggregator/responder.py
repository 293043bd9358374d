"""Answers demands for the models that this process holds, or can fetch.

The signers must answer: a demand that nobody answers makes the result fraudulent. Anybody may
answer, and gets half of the bond if the round becomes final. docs/protocol.md, section 6.

A flood of demands must be answered faster than it is made. So answers are sent in batches without
waiting for receipts, the signers of a result take turns, and before each batch the responder checks
which demands others have answered or are answering.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.events import MissingEvents, RoundIndex
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.sending.batches import ANSWER_GAS
from fl_orchestrator.chain.sending.send import Flight, Receipt
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.errors import ChainError, ContentError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.disputes.answers import nodes_below, path_above
from fl_orchestrator.roles.aggregator.trees import Trees
from fl_orchestrator.roles.aggregator.turns import Turns
from fl_orchestrator.roles.base import NEW_EVENTS, Step, at
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.settlement import Bonds
from fl_orchestrator.roles.vectors import RootMismatch, VectorFile

_log = get_logger(__name__)

_RETRY_SECONDS: Final = 30
# The size of a batch: after it, the chain is observed again, and other work gets its turn.
_BATCH: Final = 32
# Above this number of demands, no gas is estimated per answer, which would take half of the time.
_FEW: Final = 8
# More than an answer takes: for itself, and for every byte of its call (benchmarks/gas.py).
_ANSWER_GAS: Final = 90_000
_BYTE_GAS: Final = 48
# An answer in the pending block is left to its sender for this many blocks only: a node may show
# transactions that nobody sent.
_LEFT_BLOCKS: Final = 3
# The contract's errors if another account was faster, or if the demand is over.
_NOT_NOW: Final = frozenset(
    {
        ContractError.AlreadyAnswered,
        ContractError.AnswerOverdue,
        ContractError.RoundNotAlive,
        ContractError.UnknownDemand,
        ContractError.NotFinal,
    }
)


@dataclass(frozen=True, slots=True)
class _Job:
    """A call about one demand."""

    demand: int
    call: Call


@dataclass(slots=True)
class _Batch:
    """Pending jobs, whose outcome is not known yet."""

    flight: Flight
    jobs: deque[_Job]


class Responder:
    """Answers every demand it can, with the vectors that the role of this context keeps.

    It waits for its turn among the signers, unless it is to answer ``at_once``.
    """

    def __init__(self, context: Context, rounds: RoundIndex, *, at_once: bool = False) -> None:
        self._federation = context.federation
        self._sender = context.sender
        self._store = context.store
        self._rounds = rounds
        self._origin = context.origin
        self._vectors = context.vectors()
        self._trees = Trees(context.manifest.layout)
        self._turns = None if at_once else Turns(context.federation, context.address)
        self._bonds = Bonds(context.federation, rounds, context.address)
        self._batches: list[_Batch] = []
        self._sent: set[tuple[str, int]] = set()
        # Rounds whose model is not available, and demands whose answer was refused.
        self._retry_round_at: dict[int, int] = {}
        self._retry_at: dict[int, int] = {}
        self._seen_pending: dict[int, int] = {}
        self.answered = 0

    @property
    def busy(self) -> bool:
        """Whether something that was sent is not mined yet."""
        return bool(self._batches)

    def step(self) -> Step:
        seen = self._federation.observe(self._sender.address)
        if self._rounds.search_to(seen.block_number):
            # After a reorg, a demand that was settled or answered may be open again.
            self._bonds = Bonds(self._federation, self._rounds, self._sender.address)
            on_their_way = (job for batch in self._batches for job in batch.jobs)
            self._sent = {(job.call.label, job.demand) for job in on_their_way}
        self._collect(seen)
        if not self._rounds.demands:
            return Step(wait=NEW_EVENTS)
        wake_ats: list[int] = []
        for jobs in (self._answers(seen, wake_ats), self._settlements(seen)):
            if label := self._start(jobs):
                return Step(label)
        if self._batches:
            wake_ats.append(seen.timestamp + 1)
        retries = at(*self._retry_round_at.values(), *self._retry_at.values())
        return Step(wait=NEW_EVENTS | at(*wake_ats) | retries)

    # ------------------------------------------------------------------ sending

    def _start(self, jobs: Iterator[_Job]) -> str | None:
        """Send a batch of these jobs; return the label of the calls."""
        first = next(jobs, None)
        if first is None:
            return None
        flying = sum(batch.flight.waiting for batch in self._batches)
        room = min(_BATCH, max(1, self._sender.block_gas() // ANSWER_GAS) - flying)
        if room <= 0:
            return None
        taken: list[_Job] = []

        def calls() -> Iterator[Call]:
            for job in itertools.islice(itertools.chain([first], jobs), room):
                taken.append(job)
                yield job.call

        flight = self._sender.start(calls())
        # The last call may have been left out, because the block has no room for it.
        batch = _Batch(flight, deque(taken[: flight.waiting]))
        self._sent |= {(job.call.label, job.demand) for job in batch.jobs}
        self._batches.append(batch)
        return first.call.label if flight.launched else None

    def _collect(self, seen: Observation) -> None:
        """Process the outcomes of the calls that were sent."""
        for batch in self._batches:
            for outcome in batch.flight.collect():
                self._take(batch.jobs.popleft(), outcome, seen)
        self._batches = [batch for batch in self._batches if not batch.flight.done]

    def _take(self, job: _Job, outcome: Receipt | ChainError, seen: Observation) -> None:
        if isinstance(outcome, Receipt):
            self.answered += job.call.label == "answer"
            _log.info("sent", call=job.call.label, id=job.demand, gas=outcome.gas_used)
            return
        self._sent.discard((job.call.label, job.demand))
        if isinstance(outcome, ContractReverted) and outcome.cause in _NOT_NOW:
            _log.info("refused", call=job.call.label, id=job.demand, reason=outcome.message)
            return
        _log.warning("failed", call=job.call.label, id=job.demand, reason=outcome.message)
        if isinstance(outcome, ContractReverted):
            self._retry_at[job.demand] = seen.timestamp + _RETRY_SECONDS

    def _settlements(self, seen: Observation) -> Iterator[_Job]:
        federation = self._federation
        for demand, call in self._bonds.due(lambda: federation.model(seen.final_height).round):
            if (call.label, demand) not in self._sent:
                yield _Job(demand, call)

    # ------------------------------------------------------------------ answers

    def _answers(self, seen: Observation, wake_ats: list[int]) -> Iterator[_Job]:
        """The answers that this account should send now; adds the times of later ones to
        ``wake_ats``. The nearest deadline comes first.
        """
        due = self._due(seen, wake_ats)
        if not due:
            return
        pending = self._federation.pending_answers()
        for demand in due:
            left = self._is_left(seen, demand, pending)
            if left or self._retry_round_at.get(demand.round, 0) > seen.timestamp:
                continue
            try:
                content, path = self.answer_to(demand)
            except (ContentError, MissingEvents, RootMismatch) as error:
                _log.error("cannot answer", round=demand.round, id=demand.id, reason=error.message)
                self._retry_round_at[demand.round] = seen.timestamp + _RETRY_SECONDS
                continue
            call = self._federation.answer(demand.id, content, path)
            if len(due) > _FEW:
                call = dataclasses.replace(call, gas=_ANSWER_GAS + _BYTE_GAS * len(call.data))
            yield _Job(demand.id, call)

    def _due(self, seen: Observation, wake_ats: list[int]) -> list[Demanded]:
        """The demands of canonical rounds that nobody has answered, and whose turn has come."""
        answers, now = self._rounds.answers, seen.timestamp
        places: dict[int, tuple[int, int] | None] = {}
        due: list[tuple[int, int, int, Demanded]] = []
        for demand in self._rounds.demands.values():
            if demand.id in answers or now >= demand.deadline:
                continue
            sent = ("answer", demand.id) in self._sent
            if sent or self._retry_at.get(demand.id, 0) > now:
                continue
            if demand.round not in places:
                places[demand.round] = self._place(seen, demand)
            place = places[demand.round]
            if place is None:
                continue
            rank, begins = 0, 0
            if self._turns is not None:
                turn = self._turns.of(demand, *place)
                rank, begins = turn.rank, turn.begins
            if begins > now:
                wake_ats.append(begins)
            else:
                due.append((demand.deadline, rank, demand.id, demand))
        return [demand for *_, demand in sorted(due, key=lambda one: one[:3])]

    def _place(self, seen: Observation, demand: Demanded) -> tuple[int, int] | None:
        """The place among those who answer in a round; None where nothing can be answered."""
        if not self._federation.window(demand.round).canonical:
            return None
        digest = self._rounds.accepted_digests.get(demand.round)
        if self._turns is None or digest is None:
            return 0, 1
        return self._turns.place(digest, seen.aggregator)

    def _is_left(self, seen: Observation, demand: Demanded, pending: frozenset[int]) -> bool:
        """Whether the pending block has an answer by another account."""
        if demand.id not in pending:
            return False
        first = self._seen_pending.setdefault(demand.id, seen.block_number)
        return seen.block_number < first + _LEFT_BLOCKS

    def answer_to(self, demand: Demanded) -> tuple[bytes, bytes]:
        """The content and the path that a demand asks for.

        Raises ContentError, RootMismatch and MissingEvents if the model is not available.
        """
        file = self._model(demand)
        tree, level, index = self._trees.of(file), demand.level, demand.index
        if level == 0:
            return self._trees.chunk(file, index), path_above(tree, 0, index)
        return nodes_below(tree, level, index), path_above(tree, level, index)

    def _model(self, demand: Demanded) -> VectorFile:
        result = self._rounds.accepted(demand.round, demand.block_number).result
        meta = self._origin.state(demand.round)
        return self._vectors.fetch(self._store, result.global_cid, result.global_root, meta)
