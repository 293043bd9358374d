"""Decides when a role is asked again, from what it waits for and what is seen of the chain."""

from __future__ import annotations

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import NEVER, Step, Wait, Worker


class Schedule:
    """When one worker is asked again.

    Who waits for events is asked every ``events_every`` blocks. With ``check_every`` everybody is
    asked after so many blocks at least: a reorganisation may have dropped what the worker did.

    To be fair, all observations must be of the same account.
    """

    def __init__(self, worker: Worker, events_every: int = 1, check_every: int = 0) -> None:
        self.worker = worker
        self.wait: Wait = NEVER
        self._events_every = events_every
        self._check_every = check_every
        self._asked: Observation | None = None

    def is_due(self, seen: Observation) -> bool:
        """Whether the worker's last answer may have changed by what is seen now."""
        asked, wait = self._asked, self.wait
        if asked is None or wait.any_time or seen.block_number < asked.block_number:
            return True
        if self.blocks_left(seen) == 0:
            return True
        time = wait.next_time(asked.timestamp)
        if time is not None and time <= seen.timestamp:
            return True
        return seen.current.phase in wait.phases and _moment(seen) != _moment(asked)

    def blocks_left(self, seen: Observation) -> int | None:
        """After how many more blocks it is due, whatever they bring; None: it need not be."""
        every = self._events_every if self.wait.events else self._check_every
        if self._asked is None or every == 0:
            return None
        return max(0, self._asked.block_number + every - seen.block_number)

    def ask(self, seen: Observation | None) -> Step:
        """Give the worker a step. Raises what it raises; then it is due again.

        ``seen`` is from before the step, so that what came meanwhile is noticed next time.
        """
        self._asked = None
        step = self.worker.step()
        self._asked, self.wait = seen, step.wait
        return step


def _moment(seen: Observation) -> tuple[object, ...]:
    """Where the round stands for this account.

    The seed, the updates and the account's own commit tell what a reorganisation has changed.
    """
    current = seen.current
    updates_hash = current.updates_hash if current.phase >= Phase.ATTEST else b""
    return (current.round, current.phase, current.seed, updates_hash, seen.committed)
