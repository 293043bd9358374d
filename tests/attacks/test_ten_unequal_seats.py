"""Ten seats with unequal stakes, of which some are away: as many as may be, with the largest."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.federation import SmallFederation, consortium, head_state
from support.private_federation import SmallPrivateFederation, packed_manifest

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.types import Phase

STAKES = (1, 1, 1, 1, 1, 2, 2, 3, 3, 5)
PARTIES = 3


class Unequal(SmallPrivateFederation):
    """Each seat has so many of the smallest stakes."""

    def _registration(self, number: int, stake: int) -> Call:
        return super()._registration(number, stake * STAKES[number])


@pytest.mark.parametrize(
    ("away", "accepted"),
    [((), True), ((9, 0), True), ((9, 5), False)],
    ids=["all there", "a quorum", "a third and one away"],
)
def test_a_quorum_of_stake_opens_the_sum_and_no_less(
    tmp_path: Path, away: tuple[int, ...], accepted: bool
) -> None:
    private = Unequal(tmp_path / "private", PARTIES, len(STAKES))
    parties = [private.party(number) for number in range(PARTIES)]
    there = [number for number in range(len(STAKES)) if number not in away]
    seats = [private.private_aggregator(number) for number in there]
    seen = private.run_round([*parties, *seats])
    # 14 of 20 are more than two thirds, and 13 are not.
    assert (sum(STAKES[number] for number in there) >= 14) == accepted
    if not accepted:
        assert (seen.current.phase, private.seen().claims.locked) == (Phase.VOID, 0)
        assert all(private.vault(number).released(1) is None for number in there)
        return
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    terms = consortium(PARTIES, min_updates=3)
    plain = SmallFederation(tmp_path / "plain", PARTIES, 1, terms, manifest=packed_manifest())
    assert plain.run_round(plain.everybody()).head.round == 1
    assert (head_state(private) == head_state(plain)).all()
