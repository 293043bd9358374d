"""A party and its relay: what goes there when, and what becomes of it when the relay fails."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.adversary import DeafRelay
from support.federation import SmallFederation
from support.relays import RecordingRelay, drain, entry_of
from support.reorg import Fork

from fl_orchestrator.chain.types import Observation, Phase, SignedCommit, Update
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.roles.relay import Mailbox, RelayFailed
from fl_orchestrator.roles.schedule import Schedule


class DeadRelay:
    """Answers nothing, until it is ``back``."""

    def __init__(self) -> None:
        self.asked = 0
        self.back: Mailbox | None = None

    def _ask(self, name: str, *arguments: Any) -> None:
        self.asked += 1
        if self.back is None:
            raise RelayFailed("The relay does not answer.")
        getattr(self.back, name)(*arguments)

    def post_commit(self, *arguments: Any) -> None:
        self._ask("post_commit", *arguments)

    def put_update(self, *arguments: Any) -> None:
        self._ask("put_update", *arguments)

    def post_reveal(self, *arguments: Any) -> None:
        self._ask("post_reveal", *arguments)

    def post_attestation(self, *arguments: Any) -> None:
        self._ask("post_attestation", *arguments)


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    """Round 1 of two parties is open."""
    federation = SmallFederation(tmp_path, parties=2)
    federation.open_round()
    return federation


def to_reveal(federation: SmallFederation) -> None:
    """Have both parties commit."""
    for number in range(2):
        assert federation.party(number).step().action == "commit"
    assert federation.observe().current.phase is Phase.REVEAL


def test_a_party_sends_at_once_when_the_relay_does_not_answer(federation: SmallFederation) -> None:
    relay = DeadRelay()
    assert federation.party(0, relay=relay).step().action == "commit"
    assert relay.asked == 1


def test_a_party_without_coin_asks_again_until_the_relay_is_back(
    federation: SmallFederation,
) -> None:
    drain(federation, federation.parties[0])
    relay = DeadRelay()
    party = federation.party(0, relay=relay)
    first = party.step()
    seen = federation.observe()
    assert first.action is None
    due_at = federation.due_at(first)
    assert seen.timestamp < due_at < seen.current.commit_end
    # It does not ask in every block.
    assert party.step() == first
    assert relay.asked == 1
    federation.pass_until(due_at)
    assert party.step().action is None
    relay.back = Mailbox()
    federation.pass_until(federation.due_at(party.step()))
    assert party.step().action == "post commit"
    (commit,) = relay.back.waiting(1, SignedCommit)
    assert commit.party == federation.parties[0].address


def test_a_party_without_coin_whom_a_relay_ignores_asks_again(
    federation: SmallFederation,
) -> None:
    drain(federation, federation.parties[0])
    relay = DeafRelay()
    party = federation.party(0, relay=relay)
    with capture_logs() as logs:
        for _ in range(3):
            step = party.step()
            assert step.action == "post commit"
            federation.pass_until(federation.due_at(step))
    assert relay.dropped == ["commit"] * 3
    assert any(entry["event"].startswith("cannot pay") for entry in logs)


def test_a_party_uploads_and_then_reveals_only_after_the_commit_phase(
    federation: SmallFederation,
) -> None:
    relay = RecordingRelay()
    parties = [federation.party(number, relay=relay) for number in range(2)]
    assert [party.step().action for party in parties] == ["post commit"] * 2
    assert [party.step().action for party in parties] == [None, None]
    entry = entry_of(federation, 0)
    assert relay.asked == []
    assert not federation.store.has(entry.update.cid)
    commits = relay.waiting(1, SignedCommit)
    federation.send(federation.keeper_key, federation.federation.commit_for(commits))
    assert parties[0].step().action == "post reveal"
    assert relay.asked == ["update", "reveal"]
    assert federation.store.has(entry.update.cid)
    # A restart in between does it all again.
    assert federation.party(0, relay=relay).step().action == "post reveal"
    assert relay.asked == ["update", "reveal"] * 2
    assert relay.waiting(1, Update) == [entry.update]


def test_a_party_asks_again_at_once_for_what_a_reorganisation_undid(
    federation: SmallFederation,
) -> None:
    relay = RecordingRelay()
    party = federation.party(0, relay=relay)
    assert party.step().action == "post commit"
    fork = Fork(federation.chain)
    commits = relay.waiting(1, SignedCommit)
    federation.send(federation.keeper_key, federation.federation.commit_for(commits))
    assert party.step().action is None
    fork.reorganise()
    assert party.step().action == "post commit"
    assert party.step().action is None


def test_a_party_asks_again_at_once_for_the_last_reveal_that_a_reorganisation_undid(
    federation: SmallFederation,
) -> None:
    to_reveal(federation)
    relay = RecordingRelay()
    schedule = Schedule(federation.party(0, relay=relay))

    def observe() -> Observation:
        return federation.observe(federation.parties[0])

    assert schedule.ask(observe()).action == "post reveal"
    fork = Fork(federation.chain)
    assert federation.party(1).step().action == "reveal"
    reveals = relay.waiting(1, Update)
    federation.send(federation.keeper_key, federation.federation.reveal(reveals))
    # The round waits for no more reveals, and the party has nothing to do in this phase.
    seen = observe()
    assert (seen.current.phase, schedule.is_due(seen)) == (Phase.ATTEST, True)
    assert schedule.ask(seen).action is None
    assert not schedule.is_due(observe())
    fork.reorganise()
    for _ in range(3):
        federation.chain.mine()
    seen = observe()
    assert (seen.current.phase, schedule.is_due(seen)) == (Phase.REVEAL, True)
    assert schedule.ask(seen).action == "post reveal"
    assert relay.asked == ["update", "reveal"] * 2


def reveal_without_relay(federation: SmallFederation, relay: DeadRelay) -> Party:
    """Have a party reveal by itself, whose upload has failed twice."""
    to_reveal(federation)
    party = federation.party(0, relay=relay)
    first = party.step()
    seen = federation.observe()
    due_at = federation.due_at(first)
    assert (first.action, relay.asked) == (None, 1)
    assert due_at - seen.timestamp < (seen.current.reveal_end - seen.timestamp) / 10
    federation.pass_until(due_at)
    assert party.step().action == "reveal"
    assert relay.asked == 2
    return party


def test_a_party_whose_upload_fails_twice_reveals_by_itself(federation: SmallFederation) -> None:
    reveal_without_relay(federation, DeadRelay())


def test_a_relay_that_restarts_still_gets_the_update_before_it_is_revealed(
    federation: SmallFederation,
) -> None:
    """Otherwise the last reveal ends the phase, and the aggregators leave the update out."""
    to_reveal(federation)
    relay, back = DeadRelay(), RecordingRelay()
    party = federation.party(0, relay=relay)
    federation.pass_until(federation.due_at(party.step()))
    relay.back = back
    assert party.step().action == "post reveal"
    assert back.asked == ["update", "reveal"]


@pytest.mark.parametrize("phase", [Phase.REVEAL, Phase.ATTEST])
def test_an_update_that_was_revealed_without_the_relay_is_uploaded_when_it_is_back(
    federation: SmallFederation, phase: Phase
) -> None:
    relay, back = DeadRelay(), RecordingRelay()
    party = reveal_without_relay(federation, relay)
    if phase is Phase.ATTEST:
        assert federation.party(1).step().action == "reveal"
    assert federation.observe().current.phase is phase
    failed = party.step()
    assert (failed.action, relay.asked) == (None, 3)
    assert party.step().action is None
    assert relay.asked == 3
    relay.back = back
    federation.pass_until(federation.due_at(failed))
    assert party.step().action == "upload"
    assert party.step().action is None
    assert back.asked == ["update"]


def test_a_party_that_the_relay_forestalled_is_content(
    federation: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay included the message in the block in which the party gave it up."""
    to_reveal(federation)
    party = federation.party(0, relay=DeafRelay())
    posted = party.step()
    federation.pass_until(federation.due_at(posted))
    seen = federation.observe(federation.parties[0])
    update = entry_of(federation, 0).update
    federation.send(federation.keeper_key, federation.federation.reveal([update]))
    with monkeypatch.context() as patch:
        patch.setattr(federation.federation, "observe", lambda _: seen)
        assert party.step().action is None
    assert federation.observe(federation.parties[0]).committed.revealed


def test_an_update_leaves_only_when_the_end_of_the_commit_phase_is_confirmed(
    federation: SmallFederation,
) -> None:
    to_reveal(federation)
    relay = RecordingRelay()
    party = federation.party(0, relay=relay, confirmations=2)
    cid = entry_of(federation, 0).update.cid
    for _ in range(2):
        step = party.step()
        assert step.action is None
        assert federation.due_at(step) == federation.observe().timestamp + 1
        assert (relay.asked, federation.store.has(cid)) == ([], False)
        federation.chain.mine()
    assert party.step().action == "post reveal"


def test_confirmations_begin_anew_when_the_commit_phase_was_open_again(
    federation: SmallFederation,
) -> None:
    party, other = federation.party(0, confirmations=2), federation.party(1)
    assert party.step().action == "commit"
    fork = Fork(federation.chain)
    assert other.step().action == "commit"
    assert party.step().action is None
    fork.reorganise()
    for _ in range(5):
        federation.chain.mine()
    assert federation.observe().current.phase is Phase.COMMIT
    assert party.step().action is None
    assert other.step().action == "commit"
    for _ in range(2):
        assert party.step().action is None
        federation.chain.mine()
    assert party.step().action == "reveal"


def test_a_reveal_that_a_reorganisation_undid_is_repeated_although_the_next_round_had_begun(
    federation: SmallFederation,
) -> None:
    to_reveal(federation)
    fork = Fork(federation.chain)
    federation.run_round(federation.everybody())
    federation.open_round()
    assert federation.party(0).step().action == "commit"
    fork.reorganise()
    assert federation.party(0).step().action == "reveal"


def test_a_round_goes_on_when_everybodys_relay_is_dead(federation: SmallFederation) -> None:
    relay = DeadRelay()
    seen = federation.run_round(federation.everybody(relay))
    assert seen.current.phase is Phase.ACCEPTED
    sent = Counter(receipt.label for receipt in federation.receipts)
    assert (sent["commit"], sent["reveal"]) == (2, 2)


def test_a_paused_party_reveals_what_it_owes_and_commits_to_nothing(
    federation: SmallFederation,
) -> None:
    paused = False
    party = federation.party(0, paused=lambda: paused)
    assert party.step().action == "commit"
    assert federation.party(1).step().action == "commit"
    paused = True
    assert party.step().action == "reveal"
    federation.run_round([federation.party(1), federation.aggregator(0)])
    federation.open_round()
    assert party.step().action is None
    assert not party.has_prepared(2)
    paused = False
    assert party.step().action == "commit"
