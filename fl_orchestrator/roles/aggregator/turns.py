"""Whose turn it is to answer a demand, so that signers do not all pay for the same answer.

The signers of a result share its demands by the demands' ids: each has one signer that answers at
once. If there is no answer, the next signer has its turn a while later, and so on: in half of the
answer period every signer has had one. Anybody may answer at any time; this only saves gas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.types import StakeView

# After this fraction of the answer period, every signer has had its turn.
_TURNS_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """``rank`` 0 is the signer that answers first. ``begins`` is a time of the chain."""

    rank: int
    begins: int


class Turns:
    """The turns of one account, in rounds whose results it may have signed."""

    def __init__(self, federation: Federation, address: str) -> None:
        self._federation = federation
        self._address = address
        self._answer_period = federation.params().answer_period

    def place(self, digest: bytes, account: StakeView) -> tuple[int, int]:
        """The account's position among the signers of a result, and the number of signers.

        An account that did not sign it shares the place of one that did.
        """
        signers = self._federation.attestation(digest).signers
        count = max(1, signers.bit_count())
        if account.stake and signers >> account.seat & 1:
            return (signers & ((1 << account.seat) - 1)).bit_count(), count
        return int(self._address, 16) % count, count

    def of(self, demand: Demanded, place: int, signers: int) -> Turn:
        """The turn of the account in this place among so many signers."""
        rank = (place - demand.id) % signers
        made = demand.deadline - self._answer_period
        return Turn(rank, made + int(rank * self._answer_period * _TURNS_SHARE / signers))
