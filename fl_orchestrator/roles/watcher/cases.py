"""A watcher's cases: the results that somebody signed, and how far each is looked into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fl_orchestrator.model.digests import Result


class State(Enum):
    UNCHECKED = auto()
    WRONG = auto()
    DONE = auto()
    #: Its data is pruned: nobody has to keep it, and nobody has it.
    PRUNED = auto()


@dataclass(slots=True)
class Case:
    """A result that somebody signed, and how far this process is with it.

    ``fetching``: updates that it takes to compute it are on their way.
    """

    digest: bytes
    result: Result
    state: State = State.UNCHECKED
    attempts: int = 0
    retry_at: int = 0
    fetching: bool = False
