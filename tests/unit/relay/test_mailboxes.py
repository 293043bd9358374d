"""What waits for a keeper, in memory and in a file: round by round, until it is removed."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support.observations import SOME_CID

from fl_orchestrator.chain.types import Signature, SignedCommit, Update
from fl_orchestrator.model.digests import Result
from fl_orchestrator.relay.box import BoxUnusable, StoredMailbox
from fl_orchestrator.roles import relay
from fl_orchestrator.roles.relay import Mailbox, RelayFailed, SignedResult

COMMIT = SignedCommit("0x" + "11" * 20, b"\1" * 32, b"\2" * 32, b"\3" * 32)
UPDATE = Update("0x" + "11" * 20, 1, b"\1" * 32, SOME_CID, b"\2" * 32)
RESULT = Result(1, b"\1" * 32, b"\2" * 32, 1, b"\3" * 32, SOME_CID)
ONE, TWO = Signature(b"\1" * 32, b"\1" * 32), Signature(b"\2" * 32, b"\2" * 32)

Make = Callable[[], Mailbox]


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes an empty mailbox."""
    return Mailbox if request.param == "memory" else lambda: StoredMailbox(tmp_path / "box.sqlite")


def of(party: int) -> SignedCommit:
    return dataclasses.replace(COMMIT, party=f"0x{party:040x}")


def test_a_message_that_is_posted_twice_waits_once(make: Make) -> None:
    mailbox = make()
    for _ in range(2):
        mailbox.post_commit(1, COMMIT)
        mailbox.post_reveal(1, UPDATE)
        mailbox.post_attestation(RESULT, ONE)
    mailbox.post_attestation(RESULT, TWO)
    assert mailbox.waiting(1, SignedCommit) == [COMMIT]
    assert mailbox.waiting(1, Update) == [UPDATE]
    assert mailbox.waiting(1, SignedResult) == [
        SignedResult(RESULT, ONE),
        SignedResult(RESULT, TWO),
    ]


def test_what_was_replaced_meanwhile_is_not_removed(make: Make) -> None:
    mailbox = make()
    mailbox.post_commit(1, COMMIT)
    (taken,) = mailbox.waiting(1, SignedCommit)
    other = dataclasses.replace(COMMIT, commitment=b"\4" * 32)
    mailbox.post_commit(1, other)
    mailbox.remove(1, [taken])
    assert mailbox.waiting(1, SignedCommit) == [other]
    mailbox.remove(1, [other, other])
    assert mailbox.waiting(1, SignedCommit) == []


def test_messages_of_one_round_displace_none_of_another(make: Make) -> None:
    mailbox = make()
    mailbox.forget_before(3)
    mailbox.post_commit(3, COMMIT)
    for round_number in (4_000_000_000, 1, 2, 1_000_000, 5, 6, 7):
        mailbox.post_commit(round_number, of(round_number))
    assert mailbox.waiting(3, SignedCommit) == [COMMIT]
    # It keeps the next round's too, and those of no third.
    mailbox.post_commit(4, COMMIT)
    waiting = [n for n in (1, 2, 4, 5, 6, 7, 1_000_000) if mailbox.waiting(n, SignedCommit)]
    assert waiting == [4]


def test_a_round_that_is_over_is_forgotten(make: Make) -> None:
    mailbox = make()
    mailbox.post_commit(1, COMMIT)
    mailbox.post_commit(2, COMMIT)
    mailbox.forget_before(2)
    mailbox.post_commit(1, COMMIT)
    assert mailbox.waiting(1, SignedCommit) == []
    assert mailbox.waiting(2, SignedCommit) == [COMMIT]


def test_a_full_mailbox_says_so_and_keeps_what_it_has(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_MAX_WAITING", 3)
    mailbox = make()
    for party in range(3):
        mailbox.post_commit(1, of(party))
    with pytest.raises(RelayFailed, match="Too many messages"):
        mailbox.post_commit(1, of(3))
    mailbox.post_commit(1, dataclasses.replace(of(0), commitment=b"\5" * 32))
    assert len(mailbox.waiting(1, SignedCommit)) == 3
    mailbox.remove(1, [of(1)])
    mailbox.post_commit(1, of(3))


def test_what_waits_in_a_file_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "home" / "box.sqlite"
    mailbox = StoredMailbox(path)
    for round_number in (1, 2):
        mailbox.post_commit(round_number, COMMIT)
        mailbox.post_commit(round_number, of(2))
    mailbox.post_reveal(2, UPDATE)
    second = dataclasses.replace(RESULT, round=2, included=(1 << 128) - 1)
    mailbox.post_attestation(second, ONE)
    mailbox.remove(2, [of(2)])
    mailbox.forget_before(2)
    # Not closed: this is how a process is killed.
    again = StoredMailbox(path)
    assert again.waiting(1, SignedCommit) == []
    assert again.waiting(2, SignedCommit) == [COMMIT]
    assert again.waiting(2, Update) == [UPDATE]
    assert again.waiting(2, SignedResult) == [SignedResult(second, ONE)]


def test_a_damaged_message_is_left_out_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "box.sqlite"
    mailbox = StoredMailbox(path)
    mailbox.post_commit(1, COMMIT)
    mailbox.post_reveal(1, UPDATE)
    mailbox.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE messages SET message = '{' WHERE name LIKE 'reveal%'")
    database.close()
    again = StoredMailbox(path)
    assert again.waiting(1, SignedCommit) == [COMMIT]
    assert again.waiting(1, Update) == []
    again.close()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(BoxUnusable, match=r"box\.sqlite cannot be used"):
        StoredMailbox(path)
