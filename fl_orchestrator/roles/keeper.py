"""The keeper: opens rounds, carries signed messages, makes rounds final and distributes rewards.

Anyone can be one and nobody has to trust it; several may run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final

import structlog

from fl_orchestrator.chain.events import RoundIndex
from fl_orchestrator.chain.federation import Call, Federation
from fl_orchestrator.chain.reverts import ContractReverted
from fl_orchestrator.chain.send import Sender, TransactionFailed
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import EVERY_PHASE, Step
from fl_orchestrator.roles.relay import Mailbox

_log = structlog.get_logger(__name__)

# Keeps a batch far below any block's gas limit: a reveal takes about 60,000 gas.
MAX_BATCH: Final = 100

# The contract says so when there is nothing to do yet, or when another keeper was faster.
_NOT_NOW: Final = frozenset(
    {
        "AlreadyDistributed",
        "NotFinalizable",
        "RoundInProgress",
        "SeedPending",
    }
)


class Decision(Enum):
    """What there is to do for any keeper, from the chain alone."""

    OPEN = auto()
    RELAY_COMMITS = auto()
    RELAY_REVEALS = auto()
    RELAY_ATTESTATIONS = auto()
    FINALIZE = auto()
    NOTHING = auto()


def decide(seen: Observation, open_rounds: bool = True) -> Decision:
    """The next duty of a keeper; ``open_rounds`` says whether a next round is wanted."""
    phase = seen.current.phase
    if seen.finalizable_at and seen.timestamp >= seen.finalizable_at:
        return Decision.FINALIZE
    if phase is Phase.SEEDING and seen.block_number > seen.current.seed_block:
        return Decision.OPEN
    if phase is Phase.COMMIT:
        return Decision.RELAY_COMMITS
    if phase is Phase.REVEAL:
        return Decision.RELAY_REVEALS
    if phase is Phase.ATTEST:
        return Decision.RELAY_ATTESTATIONS
    if open_rounds and phase in (Phase.IDLE, Phase.ACCEPTED, Phase.VOID):
        return Decision.OPEN
    return Decision.NOTHING


class Keeper:
    """A keeper of one federation. ``wants_round(n)`` says whether round n is to be opened."""

    phases = EVERY_PHASE

    def __init__(
        self,
        federation: Federation,
        sender: Sender,
        mailbox: Mailbox,
        deployed_at: int,
        wants_round: Callable[[int], bool] = lambda _round: True,
    ) -> None:
        self._federation = federation
        self._sender = sender
        self._mailbox = mailbox
        self._rounds = RoundIndex(federation, deployed_at)
        self._wants_round = wants_round
        self._last_refusal = ""
        self._distributed = 0

    def step(self) -> Step:
        seen = self._federation.observe(self._sender.address)
        for call in self._calls(seen):
            try:
                receipt = self._sender.send(call)
            except ContractReverted as error:
                if error.cause_name not in _NOT_NOW and str(error) != self._last_refusal:
                    self._last_refusal = str(error)
                    _log.warning("refused", call=call.label, reason=str(error))
                continue
            except TransactionFailed as error:
                # Another keeper was faster by one block.
                _log.warning("failed", call=call.label, reason=str(error))
                continue
            _log.info("sent", call=call.label, round=seen.current.round, gas=receipt.gas_used)
            return Step(call.label)
        return Step(wake_at=seen.finalizable_at)

    def _calls(self, seen: Observation) -> Iterator[Call]:
        late = self._late_attestations(seen)
        if late is not None:
            yield late
        decision = decide(seen, self._wants_round(seen.current.round + 1))
        if decision is Decision.FINALIZE:
            yield self._federation.finalize()
        elif decision is Decision.OPEN:
            yield self._federation.open_round()
        elif decision in (Decision.RELAY_COMMITS, Decision.RELAY_REVEALS):
            yield from self._batches(seen, decision)
        elif decision is Decision.RELAY_ATTESTATIONS:
            yield from self._attestations(seen)
        yield from self._distributions(seen)

    def _batches(self, seen: Observation, decision: Decision) -> Iterator[Call]:
        if self._mailbox.round != seen.current.round:
            return
        # Taken out before they are sent: whoever posted a message watches the chain and posts it
        # again, and one that the contract refuses must not come back for ever.
        if decision is Decision.RELAY_COMMITS:
            parties = sorted(self._mailbox.commits)[:MAX_BATCH]
            if parties:
                yield self._federation.commit_for([self._mailbox.commits.pop(p) for p in parties])
        else:
            parties = sorted(self._mailbox.reveals)[:MAX_BATCH]
            if parties:
                yield self._federation.reveal([self._mailbox.reveals.pop(p) for p in parties])

    def _attestations(self, seen: Observation) -> Iterator[Call]:
        waiting = self._mailbox.attestations
        if waiting and self._mailbox.round == seen.current.round:
            result = max(waiting, key=lambda candidate: len(waiting[candidate]))
            yield self._federation.attest(result, waiting.pop(result))

    def _late_attestations(self, seen: Observation) -> Call | None:
        """Signatures that came after acceptance: their signers are paid too."""
        waiting = self._mailbox.attestations
        if not waiting or seen.current.phase is Phase.ATTEST:
            return None
        result = next(iter(waiting))
        return self._federation.attest(result, waiting.pop(result))

    def _distributions(self, seen: Observation) -> Iterator[Call]:
        for height in range(self._distributed + 1, seen.final_height + 1):
            if not self._federation.distributed(height):
                round_number = self._federation.model(height).round
                accepted = self._rounds.accepted(round_number, seen.block_number)
                yield self._federation.distribute(accepted.result, accepted.updates)
            self._distributed = height
