"""Whole rounds of a private federation: the same models as in the clear, and nobody's update."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.federation import SmallFederation, consortium, head_state
from support.private_federation import SmallPrivateFederation, packed_manifest

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles import base


@pytest.mark.parametrize("relayed", [True, False], ids=["relayed", "direct"])
def test_a_private_round_gives_the_bits_of_a_plain_one(tmp_path: Path, relayed: bool) -> None:
    manifest = packed_manifest()
    plain = SmallFederation(
        tmp_path / "plain", 5, 4, consortium(5, min_updates=3), manifest=manifest
    )
    private = SmallPrivateFederation(tmp_path / "private", manifest=manifest)
    plain_roles = plain.everybody()
    roles = private.everybody(private.mailbox if relayed else None)
    for number in (1, 2):
        plain.run_round(plain_roles, number)
        seen = private.run_round(roles, number)
        assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, number)
        assert private.included(number) == {0, 1, 2, 3, 4}
        assert (head_state(private) == head_state(plain)).all()


def test_a_round_goes_on_without_parties_and_an_aggregator(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    parties = [private.party(i) for i in range(5)]
    seats = [private.private_aggregator(i) for i in range(3)]
    private.open_round()
    # Party 4 commits and does not come back.
    assert parties[4].step().action == "commit"
    seen = private.run_round([*parties[:4], *seats])
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {0, 1, 2, 3}


class Restarted:
    """An aggregator that starts anew for every step."""

    def __init__(self, private: SmallPrivateFederation, number: int) -> None:
        self._private = private
        self._number = number

    def step(self) -> base.Step:
        return self._private.private_aggregator(self._number).step()


def test_every_process_may_be_restarted_at_every_step(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)

    parties = [private.party(i) for i in range(5)]
    roles: list[base.Worker] = [*parties, *(Restarted(private, i) for i in range(4))]
    seen = private.run_round(roles)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
