"""What every role is: a loop of observe, decide, act that keeps nothing the chain does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from fl_orchestrator.chain.types import Phase

#: The phases of a role that also waits for blocks and for what the others post: it has to be asked
#: all the time.
EVERY_PHASE: Final = frozenset(Phase)


@dataclass(frozen=True, slots=True)
class Step:
    """What one turn of a role did.

    ``action`` names it, or is None when there was nothing to do; then nothing will change before
    the round moves to another phase (with ``round_over``: before the next round), or the chain's
    time reaches ``wake_at`` (seconds; 0: never).
    """

    action: str | None = None
    wake_at: int = 0
    round_over: bool = False


class Worker(Protocol):
    """A process of the protocol. Safe to stop at any moment and to start again.

    It has nothing to do in a phase that is not one of ``phases``.
    """

    phases: frozenset[Phase]

    def step(self) -> Step:
        """Observe the chain, decide, and act at most once."""
        ...
