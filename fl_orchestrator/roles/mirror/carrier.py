"""Carries the final rounds of a federation to a mirror, and answers demands there.

It keeps nothing: each step compares the federation's history with the mirror's, and does the first
thing that is missing. Several may run at the same time. See docs/mirror.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.mirror.index import MirrorIndex
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.mirror.types import ATTEMPT_BITS, MirroredModel
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.errors import ContentError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.disputes.answers import nodes_below, path_above
from fl_orchestrator.model.vector_file import read_tree
from fl_orchestrator.roles.attempt import attempt
from fl_orchestrator.roles.base import ANY_TIME, Step
from fl_orchestrator.roles.combination.plain import prove
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.mirror.evidence import NoQuorumOfSeats, SignedResult, SignedResults
from fl_orchestrator.roles.settlement import MirrorRefunds
from fl_orchestrator.roles.vectors import RootMismatch, require_root

_log = get_logger(__name__)

#: The mirror says so when another carrier was faster, or when its history has changed.
_NOT_NOW: Final = frozenset(
    {
        ContractError.AlreadyAnswered,
        ContractError.AlreadyMirrored,
        ContractError.AnswerOverdue,
        ContractError.NotFinalizable,
        ContractError.NotOnHead,
        ContractError.RoundDisputed,
        ContractError.RoundNotAlive,
        ContractError.RoundNotLater,
        ContractError.UnknownDemand,
    }
)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """The highest model that both histories have."""

    home: int
    mirror: int


class Carrier:
    """Carries final rounds to one mirror with this account, whose coin is on the mirror's chain.

    ``context`` is of the federation; ``mirror_from`` is the mirror's block of deployment, or 0.
    """

    def __init__(
        self, context: ReadContext, mirror: ModelMirror, sender: Sender, mirror_from: int = 0
    ) -> None:
        self._federation: Federation = context.federation
        self._mirror = mirror
        self._sender = sender
        self._events = MirrorIndex(mirror, mirror_from)
        self._refunds = MirrorRefunds(mirror, self._events, sender)
        self._rounds = context.round_index()
        self._results = SignedResults(context.federation, self._rounds, context.deployed_at)
        self._context = context
        self._vectors = context.vectors()
        self._told: str | None = None
        #: Whether nothing is left to carry now.
        self.idle = False

    def step(self) -> Step:
        seen = self._federation.observe(self._sender.address)
        self._rounds.search_to(seen.block_number)
        latest = self._mirror.latest()
        block = self._mirror.block(latest.number)
        self.idle = False
        if block is None:
            return Step(wait=ANY_TIME)
        try:
            if self._events.search_to(latest.number):
                self._refunds.look_anew()
            action = (
                self._answer(block[1])
                or self._finalize(block[1])
                or self._carry(seen)
                or self._refunds.collect()
            )
        except (MissingEvents, UntrueEvents):
            # A node that was behind may have left some out.
            self._events.read_anew()
            self._rounds.read_anew()
            raise
        self.idle = action is None
        return Step(action, ANY_TIME)

    # ------------------------------------------------------------------ rounds

    def _finalize(self, now: int) -> str | None:
        height = self._mirror.final_height() + 1
        if height > self._mirror.head().height or now < self._mirror.model(height).final_at:
            return None
        return "finalize" if attempt(self._sender, self._mirror.finalize(), _NOT_NOW) else None

    def _carry(self, seen: Observation) -> str | None:
        head = self._mirror.head()
        meeting = self._meeting(seen, head)
        if meeting is None:
            self._tell("the mirror's final model is not in the federation's history")
            return None
        if meeting.home >= seen.final_height:
            return None
        due = self._federation.model(meeting.home + 1)
        known = self._mirror.round_of(due.round)
        following = meeting.home + 2
        signed = self._results.of_round(due.round, seen.block_number)
        if known.is_of(signed.digest) and known.convicted:
            self._tell("the mirror has refused what the federation holds final", due.round)
            return None
        try:
            if known.disputed:
                if following > seen.final_height:
                    return None
                return self._decide(seen, signed, self._federation.model(following))
            return self._submit(head, due, signed)
        except NoQuorumOfSeats as error:
            self._tell(error.message, due.round)
            return None

    def _submit(self, head: MirroredModel, due: ModelView, signed: SignedResult) -> str | None:
        known = self._mirror.round_of(due.round)
        if due.round <= head.round and not (known.attempts and not known.is_of(signed.digest)):
            self._tell("the mirror's head is of a later round, which is not the federation's")
            return None
        seats = self._events.seats_for(due.round)
        call = signed.submission(self._mirror, seats)
        if known.attempts and not known.is_of(signed.digest):
            _log.error("alert: the mirror has another result of a quorum", round=due.round)
        if not attempt(self._sender, call, _NOT_NOW | {ContractError.AlreadyRecorded}):
            return None
        _log.info("mirrored", round=due.round, root="0x" + due.root.hex())
        return "mirror"

    def _decide(self, seen: Observation, chosen: SignedResult, later: ModelView) -> str | None:
        """The federation's next round is built on its own result: that decides."""
        following = self._results.of_round(later.round, seen.block_number)
        seats = self._events.seats_for(later.round)
        call = chosen.decision(self._mirror, following, seats)
        try_first = self._mirror.round_of(chosen.result.round)
        if not try_first.is_of(chosen.digest) and chosen.digest not in self._events.results:
            # The dispute is among other results: this one has to be on record first.
            own = self._events.seats_for(chosen.result.round)
            call = chosen.submission(self._mirror, own)
        return call.label if attempt(self._sender, call, _NOT_NOW) else None

    def _meeting(self, seen: Observation, head: MirroredModel) -> _Meeting | None:
        """Where the histories part: the next final model of the federation is due there.

        It looks from the mirror's head down to its final model.
        """
        for height in range(head.height, self._mirror.final_height() - 1, -1):
            model = head if height == head.height else self._mirror.model(height)
            home = self._home_height(seen, model.round)
            if home is not None and self._federation.model(home).root == model.root:
                return _Meeting(home, height)
        return None

    def _home_height(self, seen: Observation, round_number: int) -> int | None:
        """The height of a round in the federation's final history: a greater one is higher."""
        low, high = 0, seen.final_height
        while low < high:
            middle = (low + high) // 2
            if self._federation.model(middle).round < round_number:
                low = middle + 1
            else:
                high = middle
        return low if self._federation.model(low).round == round_number else None

    def _tell(self, reason: str, round_number: int = 0) -> None:
        """Log what only people can change, once."""
        told = f"{reason} ({round_number})"
        if told != self._told:
            _log.error("alert: not mirrored", reason=reason, round=round_number)
            self._told = told

    # ------------------------------------------------------------------ demands

    def _answer(self, now: int) -> str | None:
        """Answer a demand for a model that stands: without an answer the mirror refuses it."""
        for demand in self._events.demands.values():
            if demand.id in self._events.answers or now >= demand.deadline:
                continue
            if not self._mirror.window(demand.round).canonical:
                continue
            if self._answer_one(demand):
                return "answer"
        return None

    def _answer_one(self, demand: Demanded) -> bool:
        try:
            content, path = self._content_of(demand)
        except (ContentError, MissingEvents, RootMismatch) as error:
            _log.error("alert: cannot answer", demand=demand.id, reason=error.message)
            return False
        return attempt(self._sender, self._mirror.answer(demand.id, content, path), _NOT_NOW)

    def _content_of(self, demand: Demanded) -> tuple[bytes, bytes]:
        """What a demand asks for, from the model's file.

        Raises ContentError, RootMismatch and MissingEvents.
        """
        model = self._model_of(demand.round)
        meta = self._context.origin.state(demand.round >> ATTEMPT_BITS)
        file = self._vectors.fetch(self._context.store, model.cid, model.root, meta)
        layout = self._context.manifest.layout
        if demand.level == 0:
            proof = prove(layout, file, demand.index)
            return proof.chunk, b"".join(proof.siblings)
        with file.path.open("rb") as stream:
            tree = read_tree(stream, layout, file.meta)
        require_root(file, tree.root)
        level, index = demand.level, demand.index
        return nodes_below(tree, level, index), path_above(tree, level, index)

    def _model_of(self, submission: int) -> MirroredModel:
        for height in range(self._mirror.head().height, 0, -1):
            model = self._mirror.model(height)
            if model.submission == submission:
                return model
        raise MissingEvents("The mirror no longer has this model.", "The next step looks again.")
