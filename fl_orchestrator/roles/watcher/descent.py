"""A watcher's way down the tree of a model that nobody shows, one demand after the other."""

from __future__ import annotations

from typing import Final

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.types import Demand, Observation, Window
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.chunk_tree import ChunkTree
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.dispute_proof import (
    Answer,
    ChunkProof,
    first_wrong_node,
    proof_from_answers,
)
from fl_orchestrator.units import ether

_MAX_BONDS: Final = 100


class BondTooHigh(ChainError):
    """So many descents are open in the round that a new one costs more than is allowed."""


class TooLate(ChainError):
    """The time to begin a descent is over."""


class Descents:
    """The descents of one account. The chain alone knows them: nothing is kept here.

    ``max_bond``, in wei, is what one demand may cost; None is a hundred times the least.
    """

    def __init__(
        self, federation: Federation, rounds: RoundIndex, address: str, max_bond: int | None
    ) -> None:
        self._federation = federation
        self._rounds = rounds
        self._address = address
        self._demand_bond = federation.params().demand_bond
        self._max_bond = _MAX_BONDS * self._demand_bond if max_bond is None else max_bond

    def made_in(self, round_number: int) -> list[Demanded]:
        """This account's demands in a round, in their order."""
        made = self._rounds.demands.values()
        return [d for d in made if (d.round, d.demander) == (round_number, self._address)]

    def next(
        self,
        seen: Observation,
        window: Window,
        result: Result,
        right: ChunkTree,
        wake_ats: list[int],
    ) -> Call | ChunkProof | None:
        """How to go on in an accepted and living round: a call, until the wrong chunk is reached.

        None is to wait, until a time that is added to ``wake_ats``. Raises BondTooHigh, TooLate.
        """
        mine = self.made_in(result.round)
        tip = self._federation.demand_by_id(mine[-1].id) if mine else None
        if tip is None:
            return self._begin(seen, window, result.round, right)
        made = mine[-1]
        if tip.answerer is None:
            wake_ats.append(tip.until)
            overdue = seen.timestamp >= tip.until
            return self._federation.expire(made.id, result) if overdue else None
        answers = self._answers(made)
        if answers is None:
            return None  # The answer is in a block that has not been searched yet.
        if made.level == 0:
            return proof_from_answers(answers)
        if seen.timestamp >= tip.until:
            return self._begin(seen, window, result.round, right)
        index = first_wrong_node(right, answers[-1])
        if index is None:
            raise UntrueEvents(f"the answer to demand {made.id} shows the expected nodes")
        return self._federation.descend(made.id, index, tip.bond)

    def _answers(self, last: Demanded) -> list[Answer] | None:
        """The answers from the root's to this demand's."""
        answers: list[Answer] = []
        number = last.id
        while number:
            made, answered = self._rounds.demands.get(number), self._rounds.answers.get(number)
            if made is None or answered is None:
                return None
            answers.append(Answer(made.level, made.index, answered.content))
            number = made.previous
        return answers[::-1]

    def _begin(
        self, seen: Observation, window: Window, round_number: int, right: ChunkTree
    ) -> Call:
        if seen.timestamp >= window.window_end:
            raise TooLate(f"No demand can be made in round {round_number} any more.")
        bond = self._demand_bond * (1 + window.open_descents)
        if bond <= self._max_bond:
            return self._federation.demand(round_number, right.depth, 0, bond)
        stale = self._stale_descent(seen, round_number)
        if stale is not None:
            return self._federation.close_descent(stale)
        raise BondTooHigh(
            f"A demand in round {round_number} costs {ether(bond)}, as {window.open_descents} "
            "descents are open.",
            f"At most {ether(self._max_bond)} is allowed.",
        )

    def _stale_descent(self, seen: Observation, round_number: int) -> int | None:
        """A descent that its demander has not continued in time: anyone may close it."""
        for made in self._rounds.demands.values():
            if made.round == round_number and made.level > 0:
                demand = self._federation.demand_by_id(made.id)
                if demand is not None and _is_stale(demand, seen.timestamp):
                    return made.id
        return None


def _is_stale(demand: Demand, now: int) -> bool:
    return demand.answerer is not None and not demand.ended and now >= demand.until
