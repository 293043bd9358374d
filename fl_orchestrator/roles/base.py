"""The base of every role: a loop of observe, decide, act, whose state is on the chain.

A step also returns what the role waits for. From that, `fl_orchestrator.roles.schedule` decides
when the role gets its next step, in a simulation as well as in a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from fl_orchestrator.chain.types import Phase


@dataclass(frozen=True, slots=True)
class Wait:
    """The conditions that a role waits for. Until one holds, another step would do nothing.

    ``times`` are times of the chain, in seconds; those in the past are ignored. ``phases``: the
    round has changed to one of these phases. ``events``: there are new blocks, which may have
    events that an observation does not contain. ``reveals``: the number of updates that are
    revealed in the round has changed. ``any_time``: something that is not on the chain.

    Waits are combined with ``|``; an empty one never ends.
    """

    times: frozenset[int] = frozenset()
    phases: frozenset[Phase] = frozenset()
    events: bool = False
    reveals: bool = False
    any_time: bool = False

    def __or__(self, other: Wait) -> Wait:
        return Wait(
            self.times | other.times,
            self.phases | other.phases,
            self.events or other.events,
            self.reveals or other.reveals,
            self.any_time or other.any_time,
        )

    def next_time(self, now: int) -> int | None:
        """The first of the times that are later than ``now``."""
        return min((time for time in self.times if time > now), default=None)


#: Waits for ever, for a role that never does anything.
NEVER: Final = Wait()
#: Waits for actions of others that an observation does not contain.
NEW_EVENTS: Final = Wait(events=True)
#: Waits for the next update that is revealed; a change of the phase is none.
NEW_REVEALS: Final = Wait(reveals=True)
#: Waits for something that is not on the chain, such as a message or a file, or for nothing,
#: because the role has more to do.
ANY_TIME: Final = Wait(any_time=True)


def at(*times: int) -> Wait:
    """Waits for the first of these times of the chain that is in the future."""
    return Wait(times=frozenset(times))


def in_phase(*phases: Phase) -> Wait:
    """Waits for a change of the round in one of these phases, or to one of them."""
    return Wait(phases=frozenset(phases))


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step of a role, and the conditions that it waits for now.

    ``action`` names the action, or is None if there was nothing to do.
    """

    action: str | None = None
    wait: Wait = ANY_TIME


class Worker(Protocol):
    """A process of the protocol. Safe to stop at any moment and to start again."""

    def step(self) -> Step:
        """Observe the chain, decide, and act at most once."""
        ...
