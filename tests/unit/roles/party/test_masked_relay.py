"""A party of a private federation and its relay: what a reorganisation does to what it posted."""

from __future__ import annotations

from pathlib import Path

from support.private_federation import SmallPrivateFederation
from support.reorg import Fork

from fl_orchestrator.chain.types import MaskedUpdate, Phase

PARTIES = 3


def test_a_reveal_is_posted_again_when_a_reorganisation_has_changed_the_commits(
    tmp_path: Path,
) -> None:
    private = SmallPrivateFederation(tmp_path, PARTIES, 1)
    private.open_round()
    assert private.party(0).step().action == "commit"
    posts = private.party(0, relay=private.mailbox)
    others = [private.party(number) for number in range(1, PARTIES)]
    fork = Fork(private.chain)
    for other in others:
        assert other.step().action == "commit"
    assert posts.step().action == "post reveal"
    (first,) = private.mailbox.waiting(1, MaskedUpdate)

    fork.reorganise()
    for other in reversed(others):
        assert other.step().action == "commit"
    assert private.seen().current.phase is Phase.REVEAL
    # What it posted names commits that are not those of the round any more.
    assert posts.step().action == "post reveal"
    (again,) = private.mailbox.waiting(1, MaskedUpdate)
    assert (again.root, again.cid) != (first.root, first.cid)
    assert posts.step().action is None
    # The file is the new one too.
    assert private.store.has(again.cid)
    seats = [private.private_aggregator(0)]
    seen = private.run_round([posts, *others, *seats], 1)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {0, 1, 2}
