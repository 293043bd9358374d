"""What a federation's events say of its rounds, every block searched only once."""

from __future__ import annotations

from dataclasses import dataclass

from fl_orchestrator.chain.federation import Federation
from fl_orchestrator.chain.types import Result, RevealedUpdate
from fl_orchestrator.errors import ChainError


class MissingEvents(ChainError):
    """The node does not give the events of a round that the contract has accepted."""


@dataclass(frozen=True, slots=True)
class AcceptedRound:
    """The accepted result of a round, and all its counted reveals in their order."""

    result: Result
    updates: list[RevealedUpdate]


class RoundIndex:
    """An index of a federation's rounds, from the block of its deployment on.

    It asks the node for the blocks that are new since the last time. It does not notice a
    reorganisation: ask it for final rounds.
    """

    def __init__(self, federation: Federation, from_block: int) -> None:
        self._federation = federation
        self._next_block = from_block
        self._results: dict[bytes, Result] = {}
        self._updates: dict[int, list[RevealedUpdate]] = {}
        self._accepted: dict[int, bytes] = {}

    def accepted(self, round_number: int, block_number: int) -> AcceptedRound:
        """An accepted round, of which ``block_number`` and earlier blocks have all events.

        Raises MissingEvents.
        """
        if round_number not in self._accepted:
            self._search_to(block_number)
        try:
            result = self._results[self._accepted[round_number]]
            return AcceptedRound(result, self._updates[round_number])
        except KeyError as error:
            raise MissingEvents(
                f"The node has no events of round {round_number}, which the contract accepted.",
                "Use an RPC endpoint that keeps all logs.",
            ) from error

    def _search_to(self, last: int) -> None:
        first = self._next_block
        if first > last:
            return
        self._results |= self._federation.proposed_results(first, last)
        for update in self._federation.revealed_updates(first, last):
            self._updates.setdefault(update.round, []).append(update)
        self._accepted |= self._federation.accepted_digests(first, last)
        self._next_block = last + 1
