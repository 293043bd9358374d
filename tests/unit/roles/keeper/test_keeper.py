"""A keeper and what waits for it: gathered, carried in one transaction, and kept until then."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from support.federation import SmallFederation, consortium
from support.relays import signed_result

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.sending.send import Receipt, Sender, TransactionFailed
from fl_orchestrator.chain.types import Phase, SignedCommit
from fl_orchestrator.roles.relay import SignedResult


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    """Round 1 of three parties is open."""
    federation = SmallFederation(tmp_path, parties=3, aggregators=4)
    federation.open_round()
    return federation


def post_commit(federation: SmallFederation, number: int) -> None:
    assert federation.party(number, relay=federation.mailbox).step().action == "post commit"


def waiting(federation: SmallFederation) -> list[str]:
    return [commit.party for commit in federation.mailbox.waiting(1, SignedCommit)]


def sent(federation: SmallFederation) -> Counter[str]:
    return Counter(receipt.label for receipt in federation.receipts)


def test_messages_wait_for_the_others_and_leave_together(federation: SmallFederation) -> None:
    keeper = federation.keeper(1)
    for number in range(2):
        post_commit(federation, number)
        assert keeper.step().action is None
    post_commit(federation, 2)
    assert keeper.step().action == "commitFor"
    assert waiting(federation) == []
    assert federation.observe().current.phase is Phase.REVEAL
    assert sent(federation)["commitFor"] == 1


def test_who_committed_by_itself_is_not_waited_for(federation: SmallFederation) -> None:
    assert federation.party(0).step().action == "commit"
    post_commit(federation, 1)
    post_commit(federation, 2)
    assert federation.keeper(1).step().action == "commitFor"


def test_messages_wait_for_a_quarter_of_what_is_left_at_most(federation: SmallFederation) -> None:
    keeper = federation.keeper(1)
    post_commit(federation, 0)
    step = keeper.step()
    seen = federation.observe()
    left = seen.current.commit_end - seen.timestamp
    due_at = federation.due_at(step)
    assert due_at == seen.timestamp + left // 4
    federation.pass_until(due_at - 1)
    assert keeper.step().action is None
    federation.pass_until(due_at)
    assert keeper.step().action == "commitFor"
    # The next one gathers anew.
    post_commit(federation, 1)
    assert federation.due_at(keeper.step()) > federation.observe().timestamp


def test_one_bad_message_sinks_no_batch_and_does_not_come_back(
    federation: SmallFederation,
) -> None:
    post_commit(federation, 0)
    post_commit(federation, 1)
    (good, other) = federation.mailbox.waiting(1, SignedCommit)
    federation.mailbox.post_commit(1, dataclasses.replace(other, commitment=b"\1" * 32))
    outsider = federation.federation.sign_commit(federation.outsider, 1, b"\1" * 32)
    federation.mailbox.post_commit(1, outsider)
    assert federation.keeper(1).step().action == "commitFor"
    assert federation.observe().current.commits == 1
    assert federation.observe(federation.parties[0]).committed.commitment == good.commitment[:26]
    assert waiting(federation) == []


def test_a_batch_of_which_nothing_is_accepted_costs_nothing_and_is_forgotten(
    federation: SmallFederation,
) -> None:
    for key in (federation.outsider, federation.owner, federation.keeper_key):
        commit = federation.federation.sign_commit(key, 1, b"\1" * 32)
        federation.mailbox.post_commit(1, commit)
    assert federation.keeper(1).step().action is None
    assert sent(federation)["commitFor"] == 0
    assert waiting(federation) == []


class FailingSender(Sender):
    """Sends nothing."""

    def send(self, call: Call) -> Receipt:
        raise TransactionFailed(f"{call.label} was not mined in time.")


def test_messages_that_were_sent_in_vain_are_kept(federation: SmallFederation) -> None:
    for number in range(3):
        post_commit(federation, number)
    web3, reverts = federation.chain.web3, federation.reverts
    failing = federation.keeper(1, FailingSender(web3, federation.keeper_key, reverts))
    assert failing.step().action is None
    assert len(waiting(federation)) == 3
    assert federation.keeper(1).step().action == "commitFor"


def to_attest(federation: SmallFederation) -> None:
    parties = [federation.party(i) for i in range(3)]
    federation.run_to(Phase.ATTEST, [*parties, federation.keeper(1)], 1)


def test_attestations_wait_for_a_quorum_and_leave_together(federation: SmallFederation) -> None:
    to_attest(federation)
    keeper = federation.keeper(1)
    for number in range(3):
        assert keeper.step().action is None
        signed = signed_result(federation, number)
        federation.mailbox.post_attestation(signed.result, signed.signature)
    # Three of four stakes are more than two thirds.
    assert keeper.step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED
    assert sent(federation)["attest"] == 1


def test_attestations_do_not_wait_until_their_authors_give_up(federation: SmallFederation) -> None:
    to_attest(federation)
    keeper = federation.keeper(1)
    signed = signed_result(federation)
    federation.mailbox.post_attestation(signed.result, signed.signature)
    step = keeper.step()
    current = federation.observe().current
    due_at = federation.due_at(step)
    assert due_at < (current.reveal_end + current.attest_end) // 2
    federation.pass_until(due_at)
    assert keeper.step().action == "attest"
    assert federation.mailbox.waiting(1, SignedResult) == []


def test_a_junk_result_does_not_hold_up_the_right_one(federation: SmallFederation) -> None:
    to_attest(federation)
    signed = [signed_result(federation, number) for number in range(4)]
    junk = dataclasses.replace(signed[0].result, updates_hash=b"\1" * 32)
    for number in range(4):
        signature = federation.federation.sign_result(federation.aggregators[number], junk)
        federation.mailbox.post_attestation(junk, signature)
        federation.mailbox.post_attestation(signed[number].result, signed[number].signature)
    assert federation.keeper(1).step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED


def test_a_keeper_has_settled_when_the_rewards_are_credited(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2, terms=consortium(2))
    keeper = federation.keeper(1)
    federation.run_round(federation.everybody(), keeper=keeper)
    assert not keeper.has_settled(federation.observe())
    federation.pass_until(federation.observe().finalizable_at)
    assert keeper.step().action == "finalize"
    assert not keeper.has_settled(federation.observe())
    assert keeper.step().action == "distribute"
    keeper.step()
    assert keeper.has_settled(federation.observe())
