"""A relay takes what every aggregator of a private federation confirms and releases, shows it to
its author, and hides it from the others.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.masked.relay import PrivateMailbox
from fl_orchestrator.roles.masked.words import SignedWord

SEATS = 4


class TwoFaced(PrivateMailbox):
    """The relay as one seat sees it. Claims go through."""

    def __init__(self, private: SmallPrivateFederation, seat: int) -> None:
        super().__init__()
        self._chain = private.contract
        self._seat = private.aggregators[seat].address
        self._all = private.mailbox

    def post(self, round_number: int, message: object) -> None:
        self._all.post(round_number, message)

    def words(self, round_number: int) -> list[SignedWord]:
        found = self._all.waiting(round_number, SignedWord)
        return [
            word
            for word in found
            if recover(self._chain.digest(word.message), word.signature) == self._seat
        ]


@pytest.mark.parametrize("away", [0, 1])
def test_what_the_relay_hides_is_announced_on_the_chain(tmp_path: Path, away: int) -> None:
    private = SmallPrivateFederation(tmp_path, 3, SEATS)
    there = range(SEATS - away)
    seats = [private.private_aggregator(seat, TwoFaced(private, seat)) for seat in there]
    parties = [private.party(number, relay=private.mailbox) for number in range(3)]
    seen = private.run_round([*parties, *seats], 1)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {0, 1, 2}
    # The relay has all of it, and a quorum has told it again without the relay.
    assert len(private.mailbox.waiting(1, SignedWord)) >= 2 * (SEATS - away)
    index = PrivateRoundIndex(private.contract, private.deployment.block)
    index.search_to(seen.block_number)
    assert len(list(index.announced)) >= 2 * (SEATS - away)
