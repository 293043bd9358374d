"""Checks each accepted round, and logs findings on which no role has to act."""

from __future__ import annotations

from fl_orchestrator.chain.contract.events import AcceptedRound, RoundIndex
from fl_orchestrator.chain.types import Observation, included_indices
from fl_orchestrator.errors import ChainError, VerificationError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.monitor import Monitor
from fl_orchestrator.roles.numbers import weights_finding

_log = get_logger(__name__)


class Outcomes:
    """Whether the last accepted model includes what was revealed, and how much each counted."""

    def __init__(self, rounds: RoundIndex, monitor: Monitor) -> None:
        self._rounds = rounds
        self._monitor = monitor
        self._looked_at = (0, b"")
        self._said = ""

    def look(self, seen: Observation) -> None:
        """Look at the head's round, once."""
        head = (seen.head.round, seen.head.root)
        if seen.head.height == 0 or head == self._looked_at:
            return
        self._looked_at = head
        try:
            accepted = self._rounds.accepted(seen.head.round, seen.block_number)
        except (ChainError, VerificationError) as error:
            # The rounds continue without this check.
            _log.warning("outcome unknown", round=seen.head.round, reason=error.for_log)
            return
        self._tell(seen.head.round, accepted)

    def _tell(self, round_number: int, accepted: AcceptedRound) -> None:
        included = set(included_indices(accepted.result.included))
        left_out = [u.party for u in accepted.updates if u.index not in included]
        self._monitor.accepted(len(included), len(accepted.updates))
        if left_out:
            _log.error(
                "alert: the accepted model leaves out revealed updates",
                round=round_number,
                included=len(included),
                revealed=len(accepted.updates),
                left_out=left_out,
                advice="see in the aggregators' logs why they were excluded",
            )
        weights = [u.weight for u in accepted.updates if u.index in included]
        finding = weights_finding(weights) or ""
        if finding and finding != self._said:
            _log.warning("weights", round=round_number, reason=finding)
        self._said = finding
