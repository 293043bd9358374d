"""Drives roles on a development chain: gives them turns, and lets time pass when none acts.

Only this mines blocks and moves time; roles never do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.errors import ChainError
from fl_orchestrator.roles import base

_MAX_TURNS: Final = 10_000


class StuckFederation(ChainError):
    """No role has anything to do and time does not help."""


@dataclass(slots=True)
class Turn:
    """A role, and when it is to be asked again: looking at the chain takes milliseconds here."""

    role: base.Worker
    last: base.Step = field(default_factory=base.Step)
    asked_in: tuple[int, Phase] = (0, Phase.IDLE)

    def is_due(self, seen: Observation) -> bool:
        """Whether the role's last answer may have changed by now."""
        if self.role.phases == base.EVERY_PHASE:
            return True
        moment = (seen.current.round, seen.current.phase)
        if seen.current.phase not in self.role.phases:
            return False
        if 0 < self.last.wake_at <= seen.timestamp:
            return True
        if self.last.action is not None and self.last.wake_at == 0:
            return True
        if self.last.round_over and moment[0] == self.asked_in[0]:
            return False
        return moment != self.asked_in

    def take(self, seen: Observation) -> bool:
        """Give the role a step; whether it acted."""
        self.last = self.role.step()
        self.asked_in = (seen.current.round, seen.current.phase)
        return self.last.action is not None


def run_until(
    chain: DevelopmentChain,
    observe: Callable[[], Observation],
    turns: Collection[Turn],
    done: Callable[[Observation], bool],
) -> Observation:
    """Give the roles turns, in their order, until ``done``; what was seen then.

    Raises StuckFederation, and whatever a role raises.
    """
    for _ in range(_MAX_TURNS):
        seen = observe()
        if done(seen):
            return seen
        acted = [turn.take(seen) for turn in turns if turn.is_due(seen)]
        if not any(acted):
            pass_time(chain, seen, [turn.last.wake_at for turn in turns])
    raise StuckFederation(f"Nothing came of {_MAX_TURNS} turns.")


def pass_time(chain: DevelopmentChain, seen: Observation, wake_ats: Collection[int] = ()) -> None:
    """Mine one empty block, at the next moment that changes anything."""
    current = seen.current
    if current.phase is Phase.SEEDING:
        chain.mine()
        return
    ends = {
        Phase.COMMIT: current.commit_end,
        Phase.REVEAL: current.reveal_end,
        Phase.ATTEST: current.attest_end,
    }
    moments = [ends.get(current.phase, 0), seen.finalizable_at, *wake_ats]
    later = [moment for moment in moments if moment > seen.timestamp]
    if not later:
        raise StuckFederation(
            f"Round {current.round} is in phase {current.phase.name} and nobody can go on."
        )
    chain.mine(min(later) - seen.timestamp)
