"""How much of its gas a keeper spends on each aggregator's signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.relay import SignedResult
from fl_orchestrator.roles.updates import MAX_OF_ONE_SIGNER


class Shares:
    """The results that a keeper has carried in the current round, by who signed them.

    An aggregator may sign many right results of one round. What a keeper does not carry, its author
    may send by itself.
    """

    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self._round = 0
        self._carried: Counter[str] = Counter()

    def signers(self, result: Result, signed: Sequence[SignedResult]) -> set[str]:
        """The accounts that made these signatures."""
        digest = self._federation.digest_of(result)
        found = (recover(digest, message.signature) for message in signed)
        return {signer for signer in found if signer is not None}

    def used_up(self, result: Result, signed: Sequence[SignedResult]) -> bool:
        """Whether every signer has had its share of this round."""
        if result.round != self._round:
            return False
        return all(
            self._carried[signer] >= MAX_OF_ONE_SIGNER for signer in self.signers(result, signed)
        )

    def count(self, result: Result, signed: Sequence[SignedResult]) -> None:
        """Note that this was carried."""
        if result.round != self._round:
            self._round, self._carried = result.round, Counter()
        self._carried.update(self.signers(result, signed))
