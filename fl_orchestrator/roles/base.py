"""What every role is: a loop of observe, decide, act that keeps nothing the chain does not know.

A step also says what it waits for; `fl_orchestrator.roles.schedule` decides from that when the role
is asked again, in a simulation and in a process alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from fl_orchestrator.chain.types import Phase


@dataclass(frozen=True, slots=True)
class Wait:
    """What a role waits for: until one of these comes, asking it again gives the same answer.

    ``times`` are the chain's, in seconds; those that have passed mean nothing. ``phases``: the
    round has moved to one of these. ``events``: there are new blocks, which may have events that no
    observation shows. ``any_time``: something that is not on the chain at all.

    Waits are combined with ``|``; an empty one never ends.
    """

    times: frozenset[int] = frozenset()
    phases: frozenset[Phase] = frozenset()
    events: bool = False
    any_time: bool = False

    def __or__(self, other: Wait) -> Wait:
        return Wait(
            self.times | other.times,
            self.phases | other.phases,
            self.events or other.events,
            self.any_time or other.any_time,
        )

    def next_time(self, now: int) -> int | None:
        """The first of the times that are later than ``now``."""
        return min((time for time in self.times if time > now), default=None)


#: For ever: for a role that never does anything.
NEVER: Final = Wait()
#: For what others do that no observation shows, or that takes requests to find.
NEW_EVENTS: Final = Wait(events=True)
#: For what is not on the chain, as messages and files are not; or for nothing: it has more to do.
ANY_TIME: Final = Wait(any_time=True)


def at(*times: int) -> Wait:
    """For the first of these times of the chain that is still to come."""
    return Wait(times=frozenset(times))


def in_phase(*phases: Phase) -> Wait:
    """For the round to move, within one of these phases or to it."""
    return Wait(phases=frozenset(phases))


@dataclass(frozen=True, slots=True)
class Step:
    """What one turn of a role did, and what it ``wait``s for now.

    ``action`` names what it did, or is None when there was nothing to do.
    """

    action: str | None = None
    wait: Wait = ANY_TIME


class Worker(Protocol):
    """A process of the protocol. Safe to stop at any moment and to start again."""

    def step(self) -> Step:
        """Observe the chain, decide, and act at most once."""
        ...
