"""Parties that are away: who is still waited for, and how a party comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.federation import SmallFederation
from support.relays import client_of, open_relay

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.event_types import RoundOpened
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.relay.messages import CommitMessage

AWAY = 2


def run_without(federation: SmallFederation, *away: int, first: int, last: int) -> None:
    """Run rounds with a keeper, to their acceptance, in which some of three parties stay away."""
    parties = [federation.party(n) for n in range(3) if n not in away]
    for number in range(first, last + 1):
        seen = federation.run_round([*parties, federation.aggregator(0)], number)
        assert seen.current.phase is Phase.ACCEPTED


def is_absent(federation: SmallFederation) -> bool:
    return federation.observe(federation.parties[AWAY]).committed.absent


def marks(federation: SmallFederation) -> int:
    return sum(receipt.label == "markAbsent" for receipt in federation.receipts)


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    """Three rounds without the last of three parties."""
    federation = SmallFederation(tmp_path)
    run_without(federation, AWAY, first=1, last=3)
    return federation


def test_a_keeper_marks_who_has_missed_three_rounds_and_later_rounds_do_not_wait(
    federation: SmallFederation,
) -> None:
    run_without(federation, AWAY, first=4, last=5)
    assert is_absent(federation)
    assert marks(federation) == 1
    stake = federation.observe(federation.parties[AWAY]).party.stake
    assert stake == federation.terms.min_party_stake
    opened = {event.round: event for event in federation.federation.events(RoundOpened, 0)}
    assert federation.chain.now < opened[5].commit_end
    for number in (2, 3):
        assert opened[number + 1].commit_end - opened[number].commit_end > 600


def test_who_is_there_is_never_marked(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path)
    run_without(federation, first=1, last=4)
    assert marks(federation) == 0
    call = federation.federation.mark_absent(federation.parties[0].address)
    with pytest.raises(ContractReverted) as caught:
        federation.send(federation.keeper_key, call)
    assert caught.value.error is ContractError.NotMissing


def test_a_marked_party_wishes_to_be_waited_for_and_then_trains(
    federation: SmallFederation,
) -> None:
    run_without(federation, AWAY, first=4, last=4)
    assert is_absent(federation)
    federation.open_round()
    others = [federation.party(number) for number in range(2)]
    party = federation.party(AWAY)
    assert others[0].step().action == "commit"
    assert party.step().action == "commit"
    assert not is_absent(federation)
    assert not party.has_prepared(5)
    # The others are faster, and the phase stays open.
    assert others[1].step().action == "commit"
    assert federation.observe().current.phase is Phase.COMMIT
    assert party.step().action == "commit"
    assert federation.observe().current.phase is Phase.REVEAL
    assert federation.observe().current.commits == 3


def test_a_party_without_coin_comes_back_by_a_relay(
    federation: SmallFederation,
) -> None:
    run_without(federation, AWAY, first=4, last=4)
    federation.open_round()
    party = federation.party(AWAY, relay=federation.mailbox)
    assert party.step().action == "post come_back"
    # It goes on with its update, whatever becomes of the wish.
    assert party.step().action == "post commit"
    keeper = federation.keeper(5)
    federation.run([keeper], lambda seen: seen.current.commits == 1)
    assert not is_absent(federation)
    assert federation.observe().current.phase is Phase.COMMIT


def test_a_relay_takes_the_wish_of_a_marked_party_only(
    federation: SmallFederation, tmp_path: Path
) -> None:
    run_without(federation, AWAY, first=4, last=4)
    federation.open_round()
    with client_of(open_relay(federation, tmp_path)) as client:
        for number, status in ((0, 403), (AWAY, 200)):
            wish = federation.federation.sign_commit(federation.parties[number], 5, bytes(32))
            message = CommitMessage.of(5, wish).model_dump(mode="json")
            assert client.post("/v1/commits", json=message).status_code == status
