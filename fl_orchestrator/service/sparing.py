"""Asks a role whose steps take many requests only when its last answer may have changed."""

from __future__ import annotations

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.roles.base import Step, Worker


class Sparing:
    """A role that makes one request a block while ``role`` has nothing to do.

    It asks it when the round moves, when the time has come that it named, and every so many blocks:
    a reorganisation may have dropped what it did, and others post what no observation shows.
    """

    def __init__(self, role: Worker, chain: Federation, account: str, every: int) -> None:
        self.phases = role.phases
        self._role = role
        self._chain = chain
        self._account = account
        self._every = every
        self._asked: Observation | None = None
        self._last = Step()

    def step(self) -> Step:
        seen = self._chain.observe(self._account)
        if not self._is_due(seen):
            return Step(wake_at=self._last.wake_at)
        # After a failure it is asked again.
        self._asked = None
        self._last = self._role.step()
        # Not what the step has seen: what came meanwhile is noticed next time.
        self._asked = seen
        return self._last

    def _is_due(self, seen: Observation) -> bool:
        asked = self._asked
        if asked is None or self._last.action is not None:
            return True
        if not 0 <= seen.block_number - asked.block_number < self._every:
            return True
        moment = (seen.current.round, seen.current.phase, seen.current.updates_hash)
        if moment != (asked.current.round, asked.current.phase, asked.current.updates_hash):
            return True
        return asked.timestamp < self._last.wake_at <= seen.timestamp
