"""Drives roles on a development chain: gives them steps in turn, and advances the time when idle.

Only this module mines blocks and moves the chain's clock; roles never do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.types import Observation, Phase, RoundView
from fl_orchestrator.errors import ChainError
from fl_orchestrator.roles.base import Wait, Worker, at
from fl_orchestrator.roles.schedule import Schedule

_MAX_TURNS: Final = 10_000
_AFTER_DRAW: Final = frozenset(Phase) - {Phase.IDLE, Phase.SEEDING}


class StuckFederation(ChainError):
    """No role has anything to do, and no deadline is left that would change this."""


def run_until(
    chain: DevelopmentChain,
    observe: Callable[[], Observation],
    acting: Callable[[Observation], Collection[Schedule]],
    done: Callable[[Observation], bool],
) -> Observation:
    """Give the roles steps, in their order, until ``done``; return the last observation.

    ``acting`` are those that may have something to do.

    Raises StuckFederation, and whatever a role raises.
    """
    for _ in range(_MAX_TURNS):
        seen = observe()
        if done(seen):
            return seen
        schedules = acting(seen)
        # Reading the chain takes milliseconds here, so roles that are not due are skipped.
        steps = [schedule.ask(seen) for schedule in schedules if schedule.is_due(seen)]
        if not any(step.action for step in steps):
            pass_time(chain, seen, [schedule.wait for schedule in schedules])
    raise StuckFederation(f"The end was not reached after {_MAX_TURNS} turns.")


class Cast:
    """The roles of a simulation, in the order in which they act: parties first.

    A party that a round does not draw has nothing to do in it, and costs nothing: its role is made
    when it is drawn for the first time. ``parties`` make them, by account, and ``is_drawn`` says
    who may be drawn in a round.
    """

    def __init__(
        self,
        parties: Mapping[str, Callable[[], Worker]],
        is_drawn: Callable[[RoundView, str], bool],
    ) -> None:
        self._parties = parties
        self._is_drawn = is_drawn
        self._made: dict[str, Schedule] = {}
        self._others: dict[str, Schedule] = {}
        # Parties with a role that is not theirs, which may act at any time.
        self._replaced: set[str] = set()
        self._draw: tuple[int, bytes] = (0, b"")
        self._drawn: list[str] = []
        self._acting: list[Schedule] | None = None

    def replace(self, account: str, worker: Worker) -> None:
        """Let a role act for an account from now on."""
        of_party = account in self._parties
        (self._made if of_party else self._others)[account] = Schedule(worker)
        if of_party:
            self._replaced.add(account)
        self._acting = None

    def workers(self) -> Iterator[Worker]:
        """The roles that were made so far."""
        yield from (one.worker for one in (*self._made.values(), *self._others.values()))

    def drawn(self, current: RoundView) -> list[str]:
        """The parties that a round draws, in their order; none before its draw."""
        draw = (current.round, current.seed)
        if draw != self._draw and current.phase in _AFTER_DRAW:
            self._draw, self._acting = draw, None
            self._drawn = [one for one in self._parties if self._is_drawn(current, one)]
        return self._drawn if draw == self._draw else []

    def acting(self, seen: Observation) -> list[Schedule]:
        """Who may have something to do; until the next draw those of the last one."""
        self.drawn(seen.current)
        if self._acting is None:
            busy = {*self._drawn, *self._replaced}
            for account in self._drawn:
                if account not in self._made:
                    self._made[account] = Schedule(self._parties[account]())
            parties = [self._made[account] for account in self._parties if account in busy]
            self._acting = [*parties, *self._others.values()]
        return self._acting


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
