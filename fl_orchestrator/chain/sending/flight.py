"""Transactions that were sent together, and what has become of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fl_orchestrator.chain.sending.pending import PendingTransaction
from fl_orchestrator.errors import ChainError


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. ``label`` is that of its call; ``fee``, in wei, is what its gas cost."""

    label: str
    transaction: bytes
    block_number: int
    gas_used: int
    contract_address: str | None
    fee: int = 0


class Flight:
    """Calls that were sent with consecutive nonces, and that nobody needs to wait for.

    A node mines an account's transactions in the order of their nonces, so only the first one that
    is not mined yet is looked at. Whoever started a flight has to ask for its outcomes now and
    then: that is also what sends a transaction again, or offers more for it.
    """

    def __init__(
        self,
        sent: Sequence[PendingTransaction | ChainError],
        advance: Callable[[PendingTransaction], Receipt | ChainError | None],
    ) -> None:
        self._sent = sent
        self._advance = advance
        self._outcomes: list[Receipt | ChainError] = []
        self._taken = 0
        self._looking = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether the outcome of every call is known."""
        return len(self._outcomes) == len(self._sent)

    @property
    def waiting(self) -> int:
        """How many calls have no outcome yet."""
        return len(self._sent) - len(self._outcomes)

    @property
    def launched(self) -> int:
        """How many calls were handed to the node."""
        return sum(isinstance(one, PendingTransaction) for one in self._sent)

    def advance(self) -> None:
        """Look how far it is, without waiting for anything; not for another thread that looks."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            while not self.done and (outcome := self._next_outcome()) is not None:
                self._outcomes.append(outcome)
        finally:
            self._looking.release()

    def _next_outcome(self) -> Receipt | ChainError | None:
        one = self._sent[len(self._outcomes)]
        return self._advance(one) if isinstance(one, PendingTransaction) else one

    def collect(self) -> list[Receipt | ChainError]:
        """The outcomes that are new since the last time, in the order of the calls."""
        self.advance()
        new, self._taken = self._outcomes[self._taken :], len(self._outcomes)
        return new

    def advance_before(self, nonce: int) -> None:
        """As ``advance``, if it is in the way of a transaction with this nonce."""
        if not self.done and self._first_nonce < nonce:
            self.advance()

    @property
    def _first_nonce(self) -> int:
        return min(one.nonce for one in self._sent if isinstance(one, PendingTransaction))
