"""A party of a private federation reveals another's masked update as its own: with the same root,
which need not be unique, and the same file or none. Seats must hold the other's all the same.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import MaskedUpdate, Phase
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.roles.party.masked import MaskedSubmission

VICTIM, THIEF = 0, 4
NOBODY_HAS = cid_of(io.BytesIO(b"nothing"))


def steal(
    private: SmallPrivateFederation, submission: MaskedSubmission, *, with_file: bool
) -> None:
    """The thief reveals what it saw of the victim's reveal in the mempool."""
    seen = private.contract.observe(private.parties[VICTIM].address)
    entry = submission.entry(1)
    assert entry is not None
    masked = submission._mask(seen, entry)
    cid = masked.cid if with_file else NOBODY_HAS
    thief = private.parties[THIEF]
    update = MaskedUpdate(thief.address, masked.root, cid, bytes(32), bytes(32))
    private.send(thief, private.contract.reveal_masked(masked.commits_hash, [update]))


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("with_file", [True, False], ids=["same file", "no file"])
def test_a_copy_of_a_masked_update_keeps_nobody_out(
    tmp_path: Path, first: bool, with_file: bool
) -> None:
    private = SmallPrivateFederation(tmp_path / "attacked")
    parties = [private.party(number) for number in range(5)]
    seats = [private.private_aggregator(number) for number in range(4)]
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    honest = parties[:THIEF]
    submission = parties[VICTIM].submission
    assert isinstance(submission, MaskedSubmission)
    if first:
        steal(private, submission, with_file=with_file)
    for party in honest:
        assert party.step().action == "reveal"
    if not first:
        # The seats may hold the victim's update already.
        for seat in seats:
            seat.step()
        steal(private, submission, with_file=with_file)
    seen = private.run_round([*honest, *seats])
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {0, 1, 2, 3}
