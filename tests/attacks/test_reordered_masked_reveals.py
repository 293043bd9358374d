"""A reorg changes the order of the reveals of a private round, after the aggregators have fetched
the updates. A place is another party's from then on, while masks and seats are the same.
"""

from __future__ import annotations

from pathlib import Path

from support.private_federation import SmallPrivateFederation
from support.reorg import Fork

from fl_orchestrator.chain.types import Phase


def test_seats_claim_what_they_hold_at_the_places_of_the_present_chain(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    parties = [private.party(number) for number in range(5)]
    seats = [private.private_aggregator(number) for number in range(4)]
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    fork = Fork(private.chain)
    for number in (0, 1, 2, 3):
        assert parties[number].step().action == "reveal"
    for seat in seats:
        seat.step()

    fork.reorganise()
    # Party 0 comes last, and nobody has its file: its place is another one, and so are all others.
    for number in (1, 2, 3, 4):
        assert parties[number].step().action == "reveal"
    seen = private.run_round([*parties[1:], *seats])
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {1, 2, 3, 4}
