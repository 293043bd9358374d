"""A reorg gives a private round another seat table, with the same commits: their hash, which signed
reveals name, is the same. Somebody sends a party's first reveal again, which is sealed for others.
"""

from __future__ import annotations

from pathlib import Path

from support.private_federation import SmallPrivateFederation
from support.reorg import Fork

from fl_orchestrator.chain.types import MaskedUpdate, Phase
from fl_orchestrator.model.private_digests import PrivateReveal
from fl_orchestrator.privacy.keys import public_key, secret_of
from fl_orchestrator.roles.party.masked import MaskedSubmission

VICTIM, ROTATES = 0, 3


def reveal_of(private: SmallPrivateFederation, submission: MaskedSubmission) -> MaskedUpdate:
    """The victim's reveal as it gives it to a relay."""
    key = private.parties[VICTIM]
    entry = submission.entry(1)
    assert entry is not None
    masked = submission._mask(private.contract.observe(key.address), entry)
    message = PrivateReveal(1, key.address, masked.commits_hash, masked.root, masked.cid)
    signature = private.contract.sign(key, message)
    return MaskedUpdate(key.address, masked.root, masked.cid, signature.r, signature.vs)


def test_an_update_that_is_sealed_for_other_seats_stays_closed(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    parties = [private.party(number) for number in range(5)]
    seats = [private.private_aggregator(number) for number in range(4)]
    submission = parties[VICTIM].submission
    assert isinstance(submission, MaskedSubmission)
    fork = Fork(private.chain)
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    first, before = reveal_of(private, submission), private.seen().claims.commits_hash
    private.run_to(Phase.CLAIM, [*parties, private.keeper(1)], 1)

    fork.reorganise()
    other = public_key(secret_of(b"another key of this seat".ljust(32)))
    private.send(private.aggregators[ROTATES], private.contract.set_key(other))
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    assert private.seen().claims.commits_hash == before
    again = reveal_of(private, submission)
    assert (again.root, again.cid) != (first.root, first.cid)
    replay = private.contract.reveal_masked(before, [first])
    private.send(private.outsider, replay)
    assert private.observe(private.parties[VICTIM]).committed.revealed

    seen = private.run_round([*parties, *seats[:ROTATES]])
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    # Its old update is closed, and costs it nothing: it did reveal.
    assert private.included() == {1, 2, 3, 4}
    assert private.observe(private.parties[VICTIM]).party.stake == private.params.min_party_stake
