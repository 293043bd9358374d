"""A watcher's descent in the chunk tree of a withheld model, one demand after the other.

A demand that nobody answers in time convicts the result, whoever made the demand. So signers that
make demands themselves, to raise the bond for a watcher, have to answer them as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from web3 import Web3

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.sending.fees import highest, market_fees
from fl_orchestrator.chain.types import Window
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.chunk_tree import Tree
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.disputes.answers import Answer, first_wrong_node
from fl_orchestrator.model.disputes.proof import ChunkProof, proof_from_answers
from fl_orchestrator.roles.watcher.court import Court, Docket, Now
from fl_orchestrator.units import ether

# Gas that an account keeps, so that it can prove what it pays a bond for: for every demand; to
# register the challenge; for every vector of the challenge (benchmarks/gas.py, rounded up).
_DEMAND_GAS: Final = 150_000
_REGISTER_GAS: Final = 100_000
_VECTOR_GAS: Final = 60_000
# The most stale descents to close at a time.
_MAX_CLOSED: Final = 64
_NEVER: Final = 1 << 64


class BondTooHigh(ChainError):
    """So many descents are open in the round that a new one costs more than can be paid.

    ``closable`` are calls that lower the price: they close descents that were not continued.
    """

    def __init__(self, message: str, hint: str, closable: Sequence[Call]) -> None:
        super().__init__(message, hint)
        self.closable = tuple(closable)


class TooLate(ChainError):
    """The time to begin a descent is over."""


class Descents:
    """The descents of one account, which the chain alone knows, and what others have demanded.

    ``max_bond``, in wei, is what one demand may cost; None is all that the account holds, but for
    the gas: the bonds of a descent that ends in a proof come back.
    """

    def __init__(
        self, federation: Court, rounds: Docket, address: str, max_bond: int | None
    ) -> None:
        self._federation = federation
        self._rounds = rounds
        self._address = address
        self._demand_bond = federation.params().demand_bond
        self._max_bond = max_bond
        # The time from which each answered demand can be closed: a cache, against floods of them.
        self._closable_at: dict[int, int] = {}

    def overdue(self, seen: Now, result: Result, wake_ats: list[int]) -> Iterator[Call]:
        """Calls that convict a wrong result of the history: demands that nobody answered in time.

        This account's own come first, since the slashes are paid to the demander. ``wake_ats`` gets
        the next time at which a demand of the round will be overdue.
        """
        asked = self._unanswered(result.round)
        open_ones = [demand.deadline for demand in asked if seen.timestamp < demand.deadline]
        if open_ones:
            wake_ats.append(min(open_ones))
        late = [demand for demand in asked if seen.timestamp >= demand.deadline]
        for demand in sorted(late, key=lambda d: (d.demander != self._address, d.id)):
            yield self._federation.expire(demand.id, result)

    def unanswered_in(self, round_number: int) -> bool:
        """Whether somebody waits for an answer in a round, so that it can come to an end."""
        return bool(self._unanswered(round_number))

    def _unanswered(self, round_number: int) -> list[Demanded]:
        made, answers = self._rounds.demands.values(), self._rounds.answers
        return [d for d in made if d.round == round_number and d.id not in answers]

    def made_in(self, round_number: int) -> list[Demanded]:
        """This account's demands in a round, in their order."""
        made = self._rounds.demands.values()
        return [d for d in made if (d.round, d.demander) == (round_number, self._address)]

    def next(
        self,
        seen: Now,
        window: Window,
        result: Result,
        right: Tree,
        wake_ats: list[int],
    ) -> Call | ChunkProof | None:
        """The next call of the descent in an accepted, canonical round, down to the wrong chunk.

        None means to wait until a time that is added to ``wake_ats``. Raises BondTooHigh, TooLate.
        """
        mine = self.made_in(result.round)
        tip = self._federation.demand_by_id(mine[-1].id) if mine else None
        if tip is None:
            return self._begin(seen, window, result, right)
        made = mine[-1]
        if tip.answerer is None:
            wake_ats.append(tip.until)
            return None  # When it is overdue, it is one of those that `overdue` has.
        answers = self._answers(made)
        if answers is None:
            return None  # The answer is in a block that has not been searched yet.
        if made.level == 0:
            return proof_from_answers(answers)
        if seen.timestamp >= tip.until:
            return self._begin(seen, window, result, right)
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

    def _begin(self, seen: Now, window: Window, result: Result, right: Tree) -> Call:
        number = result.round
        if seen.timestamp >= window.window_end:
            raise TooLate(f"No demand can be made in round {number} any more.")
        bond = self._demand_bond * (1 + window.open_descents)
        most = self._affordable(result, right)
        if bond <= most:
            return self._federation.demand(number, right.depth, 0, bond)
        raise BondTooHigh(
            f"A demand in round {number} costs {ether(bond)}, as {window.open_descents} "
            "descents are open.",
            f"At most {ether(most)} can be paid: --max-bond allows no more, or the account has no "
            "more beside the gas for a proof.",
            [*itertools.islice(self._stale_descents(seen, number), _MAX_CLOSED)],
        )

    def _affordable(self, result: Result, right: Tree) -> int:
        """What one demand may cost, in wei."""
        web3 = self._federation.web3
        gas = _DEMAND_GAS * (2 + right.depth // 6) + _REGISTER_GAS
        gas += _VECTOR_GAS * (2 + result.included.bit_count())
        with self._federation.reverts.translated():
            balance = web3.eth.get_balance(Web3.to_checksum_address(self._address))
            held = max(0, balance - gas * highest(market_fees(web3, None)))
        return held if self._max_bond is None else min(held, self._max_bond)

    def _stale_descents(self, seen: Now, round_number: int) -> Iterator[Call]:
        """Closes descents that their demanders have not continued in time: anyone may."""
        continued = {demand.previous for demand in self._rounds.demands.values()}
        for number, answered in self._rounds.answers.items():
            made = self._rounds.demands.get(number)
            over = answered.round != round_number or made is None or made.level == 0
            if over or number in continued:
                continue
            if seen.timestamp < self._closable_at.get(number, 0):
                continue
            demand = self._federation.demand_by_id(number)
            if demand is None or demand.ended:
                self._closable_at[number] = _NEVER
                continue
            self._closable_at[number] = demand.until
            if demand.answerer is not None and seen.timestamp >= demand.until:
                yield self._federation.close_descent(number)
