"""Decides when a role gets its next step, from what it waits for and the observed chain."""

from __future__ import annotations

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import NEVER, Step, Wait, Worker


class Schedule:
    """The time of one worker's next step.

    A worker that waits for events gets a step every ``events_every`` blocks. With ``check_every``
    every worker gets one after at most that many blocks, because a reorg may have dropped its
    transactions.

    All observations must be of the same account.
    """

    def __init__(self, worker: Worker, events_every: int = 1, check_every: int = 0) -> None:
        self.worker = worker
        self.wait: Wait = NEVER
        self._events_every = events_every
        self._check_every = check_every
        self._asked: Observation | None = None
        self._moved = False

    def is_due(self, seen: Observation) -> bool:
        """Whether a step may have something to do, according to this observation."""
        asked, wait = self._asked, self.wait
        if asked is None or wait.any_time or seen.block_number < asked.block_number:
            return True
        if self.blocks_left(seen) == 0:
            return True
        if wait.reveals and seen.current.reveals != asked.current.reveals:
            return True
        time = wait.next_time(asked.timestamp)
        if time is not None and time <= seen.timestamp:
            return True
        # A reorg may bring the round back to where the worker was asked, and undo what it did then.
        self._moved = self._moved or _moment(seen) != _moment(asked)
        return seen.current.phase in wait.phases and self._moved

    def blocks_left(self, seen: Observation) -> int | None:
        """After how many more blocks it is due in any case; None if no number is fixed."""
        every = self._events_every if self.wait.events else self._check_every
        if self._asked is None or every == 0:
            return None
        return max(0, self._asked.block_number + every - seen.block_number)

    def ask(self, seen: Observation | None) -> Step:
        """Give the worker a step. Raises what it raises; then it is due again.

        ``seen`` is an observation from before the step, so that the next check notices changes
        during the step.
        """
        self._asked, self._moved = None, False
        step = self.worker.step()
        self._asked, self.wait = seen, step.wait
        return step


def _moment(seen: Observation) -> tuple[object, ...]:
    """The state of the round for this account.

    The seed, the updates and the account's own commit show what a reorg has changed.
    """
    current = seen.current
    updates_hash = current.updates_hash if current.phase >= Phase.ATTEST else b""
    return (current.round, current.phase, current.seed, updates_hash, seen.committed)
