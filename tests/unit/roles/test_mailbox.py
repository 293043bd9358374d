"""The relay within a process: what is posted waits for a keeper, round by round."""

from support.observations import SOME_CID

from fl_orchestrator.chain.types import Result, Signature, SignedCommit, Update
from fl_orchestrator.roles.relay import Mailbox

COMMIT = SignedCommit("0x" + "11" * 20, b"\1" * 32, b"\2" * 32, b"\3" * 32)
UPDATE = Update("0x" + "11" * 20, 1, b"\1" * 32, SOME_CID, b"\2" * 32)
RESULT = Result(1, b"\1" * 32, b"\2" * 32, 1, b"\3" * 32, SOME_CID)
ONE, TWO = Signature(b"\1" * 32, b"\1" * 32), Signature(b"\2" * 32, b"\2" * 32)


def test_a_message_that_is_posted_twice_waits_once() -> None:
    mailbox = Mailbox()
    for _ in range(2):
        mailbox.post_commit(1, COMMIT)
        mailbox.post_reveal(1, UPDATE)
        mailbox.post_attestation(RESULT, ONE)
    mailbox.post_attestation(RESULT, TWO)
    assert mailbox.commits == {COMMIT.party: COMMIT}
    assert mailbox.reveals == {UPDATE.party: UPDATE}
    assert mailbox.attestations == {RESULT: [ONE, TWO]}


def test_the_next_round_begins_with_an_empty_mailbox() -> None:
    mailbox = Mailbox()
    mailbox.post_commit(1, COMMIT)
    mailbox.post_reveal(1, UPDATE)
    mailbox.post_attestation(RESULT, ONE)
    mailbox.post_commit(2, COMMIT)
    assert (mailbox.round, mailbox.reveals, mailbox.attestations) == (2, {}, {})
    assert mailbox.commits == {COMMIT.party: COMMIT}
