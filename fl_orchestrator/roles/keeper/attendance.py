"""Which parties a round need not wait for: docs/protocol.md, section 5.3."""

from __future__ import annotations

from collections.abc import Iterator

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Observation, Phase, Role


class Attendance:
    """The parties of a federation, from the block of its deployment on, and who is missing.

    It asks the node once in a round, and only where commits were waited for in vain.
    """

    def __init__(self, federation: Federation, deployed_at: int) -> None:
        self._federation = federation
        self._next_block = deployed_at
        self._parties: set[str] = set()
        params = federation.params()
        self._everybody_drawn = params.max_parties <= params.participants
        self._asked_round = 0

    def missing(self, seen: Observation) -> Iterator[str]:
        """The parties that can be marked absent, once in each round that takes no more commits."""
        current = seen.current
        incomplete = current.phase > Phase.COMMIT and current.commits < current.commit_quota
        if not self._everybody_drawn or not incomplete or self._asked_round == current.round:
            return
        self._read_to(seen.block_number)
        for party in sorted(self._parties):
            if self._federation.observe(party).missing:
                yield party
        self._asked_round = current.round

    def _read_to(self, block_number: int) -> None:
        registered = self._federation.registered(Role.PARTY, self._next_block, block_number)
        self._parties.update(registered)
        self._next_block = block_number + 1
