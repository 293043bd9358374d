"""Drives roles on a development chain: gives them steps in turn, and advances the time when idle.

Only this module mines blocks and moves the chain's clock; roles never do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.errors import ChainError
from fl_orchestrator.roles.base import Wait, at
from fl_orchestrator.roles.schedule import Schedule

_MAX_TURNS: Final = 10_000


class StuckFederation(ChainError):
    """No role has anything to do, and no deadline is left that would change this."""


def run_until(
    chain: DevelopmentChain,
    observe: Callable[[], Observation],
    schedules: Collection[Schedule],
    done: Callable[[Observation], bool],
) -> Observation:
    """Give the roles steps, in their order, until ``done``; return the last observation.

    Raises StuckFederation, and whatever a role raises.
    """
    for _ in range(_MAX_TURNS):
        seen = observe()
        if done(seen):
            return seen
        # Reading the chain takes milliseconds here, so roles that are not due are skipped.
        steps = [schedule.ask(seen) for schedule in schedules if schedule.is_due(seen)]
        if not any(step.action for step in steps):
            pass_time(chain, seen, [schedule.wait for schedule in schedules])
    raise StuckFederation(f"The end was not reached after {_MAX_TURNS} turns.")


def pass_time(chain: DevelopmentChain, seen: Observation, waits: Collection[Wait] = ()) -> None:
    """Mine one empty block, at the next time that a deadline or a role waits for."""
    current = seen.current
    if current.phase is Phase.SEEDING:
        chain.mine()
        return
    moments = at(seen.phase_end or 0, seen.finalizable_at)
    for wait in waits:
        moments |= wait
    later = moments.next_time(seen.timestamp)
    if later is None:
        raise StuckFederation(
            f"Round {current.round} is in phase {current.phase.name} and no role can continue."
        )
    chain.mine(later - seen.timestamp)
