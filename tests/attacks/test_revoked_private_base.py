"""Three of four aggregators sign a wrong model. It is undone while the next private round, which
starts from it, is in progress. PrivateRevokedBase does so on the contract, in the claim phase too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.disputes import off_by_one, run_watchers, watcher
from support.private_disputes import open_seeds
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import Phase

HONEST = 3


@pytest.mark.parametrize("phase", [Phase.COMMIT, Phase.REVEAL, Phase.ATTEST])
def test_the_round_on_it_is_void_and_all_go_on_from_the_base_before(
    tmp_path: Path, phase: Phase
) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private)
    wrong = opened.wrong_model(off_by_one(4))
    signatures = [private.contract.sign(key, wrong) for key in private.aggregators[:HONEST]]
    attest = private.contract.attest_private(wrong, opened.seeds, signatures)
    private.send(private.keeper_key, attest)
    roles = private.everybody()
    seen = private.run_to(phase, [*roles, private.keeper(2)], 2)
    assert seen.current.base_root == wrong.global_root
    locked = private.seen().claims.locked if phase is Phase.ATTEST else 0

    run_watchers(private, watcher(private))
    seen = private.seen()
    assert (seen.current.round, seen.current.phase, seen.head.height) == (2, Phase.VOID, 0)
    for role in roles:
        role.step()
    released = private.vault(HONEST).released(2)
    assert released is None
    assert bool(locked) == (phase is Phase.ATTEST)

    # The list of the base before is that of round 1: all of it joins in again.
    seen = private.run_round(roles, 3)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 3)
    assert seen.current.base_root == private.params.genesis_root
    assert private.included(3) == {0, 1, 2, 3, 4}
    listed = private.vault(HONEST).list_of(private.params.genesis_root)
    assert listed is not None
    assert {party for party, _ in listed} == {key.address for key in private.parties}
