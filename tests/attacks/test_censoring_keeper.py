"""A keeper accepts messages and forwards none, or none of one party; or it does nothing.

Nobody has to trust a keeper: a party whose message is not forwarded sends it itself and pays the
gas.
"""

from __future__ import annotations

from collections import Counter

from support.adversary import DeafRelay
from support.federation import Build

from fl_orchestrator.chain.types import Phase, SignedCommit
from fl_orchestrator.roles.relay import Mailbox


def test_whoever_is_not_heard_by_the_relay_sends_by_itself(build: Build) -> None:
    federation = build()
    relay = DeafRelay()
    seen = federation.run_round(federation.everybody(relay))
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {0, 1, 2}
    dropped = Counter(relay.dropped)
    # A result is posted again and again: a reorg might have undone what the relay sent.
    assert dropped.pop("attestation") > 1
    assert dropped == {"commit": 3, "update": 3, "reveal": 3}
    sent = Counter(receipt.label for receipt in federation.receipts)
    assert (sent["commit"], sent["reveal"], sent["attest"]) == (3, 3, 1)


def test_a_party_gives_its_relay_half_of_what_is_left_of_the_phase(build: Build) -> None:
    federation = build()
    relay = DeafRelay()
    party = federation.party(0, relay=relay)
    seen = federation.open_round()
    posted = party.step()
    half = seen.timestamp + federation.terms.commit_period // 2
    assert (posted.action, federation.due_at(posted)) == ("post commit", half)
    federation.pass_until(half - 1)
    assert (waiting := party.step()).action is None
    assert federation.due_at(waiting) == half
    federation.pass_until(half)
    assert party.step().action == "commit"
    assert relay.dropped == ["commit"]


class Censor(Mailbox):
    """Drops the commits of one party."""

    victim = ""

    def post_commit(self, round_number: int, commit: SignedCommit) -> None:
        if commit.party != self.victim:
            super().post_commit(round_number, commit)


def test_a_party_that_is_left_out_takes_part_all_the_same(build: Build) -> None:
    federation = build()
    federation.mailbox = censor = Censor()
    censor.victim = federation.parties[1].address
    seen = federation.run_round(federation.everybody(censor))
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {0, 1, 2}
    sent = Counter(receipt.label for receipt in federation.receipts)
    # The party sent its commit itself, at its own cost; the keeper sent those of the others.
    assert (sent["commit"], sent["commitFor"]) == (1, 1)


def test_a_federation_whose_keeper_does_nothing_is_kept_by_anybody(build: Build) -> None:
    """Anybody may open, finalise and distribute: here an outsider does so."""
    federation = build(parties=2)
    federation.keeper_key = federation.outsider
    assert federation.run_round(federation.everybody()).current.phase is Phase.ACCEPTED
    federation.pass_until(federation.observe().finalizable_at)
    contract = federation.federation
    federation.send(federation.outsider, contract.finalize())
    result = contract.proposed_results(0)[contract.accepted_digests(0)[1]]
    distribute = contract.distribute(result, contract.revealed_updates(0))
    federation.send(federation.outsider, distribute)
    share = (
        federation.terms.reward * (10_000 - federation.terms.aggregator_share_bps) // 10_000 // 2
    )
    assert [federation.observe(key).credit for key in federation.parties] == [share, share]
    assert federation.observe(federation.outsider).credit == 0
