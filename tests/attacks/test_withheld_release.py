"""Seats claim and confirm the lock of a private round, and then release nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.aggregator.opening import Opener

PARTIES, SEATS = 3, 4


@pytest.mark.parametrize("silent", [1, 2])
def test_a_third_cannot_stop_a_round_and_more_cannot_stop_the_next_one(
    tmp_path: Path, silent: int
) -> None:
    private = SmallPrivateFederation(tmp_path, PARTIES, SEATS)
    roles = private.everybody()
    withheld = [seat._opening for seat in roles[-silent:]]  # type: ignore[attr-defined]
    release = Opener.release

    def nothing_from_some(self: Opener, *arguments: Any) -> Any:
        return [] if self in withheld else release(self, *arguments)

    with patch.object(Opener, "release", nothing_from_some):
        seen = private.run_round(roles, 1)
    assert private.seen().claims.locked == 0b111
    assert all(private.vault(number).confirmed(1) is not None for number in range(SEATS))
    if silent == 1:
        assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
        return
    # Two of four equal seats have more than a third of the stake.
    assert seen.current.phase is Phase.VOID
    seen = private.run_round(roles, 2)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 2)
    assert private.included(2) == {0, 1, 2}
