"""A party commits with the mask key of another party, and drops out: its secrets with all others
are those of its victim, and the seeds of who drops out are opened.
"""

from __future__ import annotations

from pathlib import Path

from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.privacy.dealing import deal
from fl_orchestrator.roles.masked.rounds import MaskedRounds
from fl_orchestrator.roles.party.masked import MaskedSubmission

VICTIM, THIEF = 0, 4


def test_the_seeds_that_the_copy_opens_are_none_of_its_victim(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    parties = [private.party(number) for number in range(THIEF)]
    private.open_round()
    assert parties[VICTIM].step().action == "commit"
    submission = parties[VICTIM].submission
    assert isinstance(submission, MaskedSubmission)
    entry = submission.entry(1)
    assert entry is not None
    # It stands in the mempool, and on the chain.
    private.send(private.parties[THIEF], private.contract.commit_masks(1, 1, entry.mask_key))
    seats = [private.private_aggregator(number) for number in range(4)]
    seen = private.run_round([*parties, *seats])
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)

    index = PrivateRoundIndex(private.contract, private.deployment.block)
    index.search_to(seen.block_number)
    current = MaskedRounds(private.contract, index).read(1, private.genesis.root)
    commits = current.context.commits
    victim, thief = (current.index_of(private.parties[n].address) for n in (VICTIM, THIEF))
    assert victim is not None
    assert thief is not None
    assert commits[victim].mask_key == commits[thief].mask_key
    opened = index.seeds(index.accepted_digests[1])
    assert opened is not None
    seeds = {opened[start : start + 32] for start in range(0, len(opened), 32)}
    # Of each of four updates its own seed, and the one of its pair with the thief.
    assert len(seeds) == 8
    dealing = deal(current.context, victim, entry.z)
    assert len(set(dealing.seeds)) == 5
    assert seeds & set(dealing.seeds) == {dealing.seeds[victim], dealing.seeds[thief]}
