"""Tells a party's operator when its stake no longer counts, because then it is never drawn."""

from __future__ import annotations

from typing import Final

from fl_orchestrator.chain.types import Observation
from fl_orchestrator.log import get_logger
from fl_orchestrator.units import ether

_log = get_logger(__name__)

_TOO_SMALL: Final = "stop this process, add some with `flo party deposit`, and start it again"
_REQUESTED: Final = "wait until it is paid, with `flo party withdraw`, and register again"


class StakeAlert:
    """Logs it once when a stake is below ``minimum`` (wei), or was requested back."""

    def __init__(self, party: str, minimum: int) -> None:
        self._party = party
        self._minimum = minimum
        self._told = ""

    def look(self, seen: Observation) -> None:
        """Process what was observed of the party's account."""
        stake, advice = seen.party.stake, ""
        if seen.party.unbond_at:
            advice = _REQUESTED
        elif stake < self._minimum:
            advice = _TOO_SMALL
        if advice and advice != self._told:
            _log.error(
                "alert: the stake does not count, so this party is drawn in no new round",
                party=self._party,
                stake=ether(stake),
                minimum=ether(self._minimum),
                advice=advice,
            )
        self._told = advice
