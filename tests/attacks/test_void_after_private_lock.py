"""A private round gets a lock and no result, because the seats stop. In the next round on the same
base one party is missing: the difference of both sums would be its update.
"""

from __future__ import annotations

from pathlib import Path

from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import Phase

AWAY = 4


def test_nothing_but_the_same_list_is_opened_on_the_base(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    roles = private.everybody()
    parties, seats = roles[:5], roles[5:]
    private.run_to(Phase.ATTEST, [*roles, private.keeper(1)], 1)
    assert private.seen().claims.locked == 0b11111
    assert private.run_round([], 1).current.phase is Phase.VOID

    others = [party for number, party in enumerate(parties) if number != AWAY]
    seen = private.run_round([*others, *seats], 2)
    assert seen.current.phase is Phase.VOID
    assert all(private.vault(number).confirmed(2) is None for number in range(4))

    seen = private.run_round(roles, 3)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 3)
    assert private.included(3) == {0, 1, 2, 3, 4}
