"""What a party does next, decided from the chain and its own journal."""

from __future__ import annotations

from enum import Enum, auto

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.party.submission import Entry


class PartyDecision(Enum):
    """The next action of a party, decided from the chain and its own journal."""

    COME_BACK = auto()
    TRAIN = auto()
    COMMIT = auto()
    REVEAL = auto()
    UPLOAD = auto()
    LOST = auto()
    NOTHING = auto()


def decide(seen: Observation, journal: Entry | None, paused: bool = False) -> PartyDecision:
    """The next duty of a party whose journal entry for the current round is ``journal``.

    A paused party does not commit.
    """
    current, slot = seen.current, seen.committed
    committed = slot.round == current.round
    if current.phase is Phase.COMMIT and seen.drawn and not committed and not paused:
        return PartyDecision.TRAIN if journal is None else PartyDecision.COMMIT
    if current.phase is Phase.REVEAL and committed and not slot.revealed:
        if journal is None or not journal.opens(slot):
            return PartyDecision.LOST
        return PartyDecision.REVEAL
    return PartyDecision.NOTHING
