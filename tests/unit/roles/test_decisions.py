"""What each role decides to do is a function of what it sees."""

import dataclasses
from pathlib import Path

import pytest
from support.observations import COMMITMENT, ROUND, SOME_CID, committed, seen

from fl_orchestrator.chain.types import Phase, Update
from fl_orchestrator.roles.aggregator import aggregator
from fl_orchestrator.roles.keeper import keeper
from fl_orchestrator.roles.party import decision as party
from fl_orchestrator.roles.party.journal import OpenCommitment

Party = party.PartyDecision
Aggregator = aggregator.AggregatorDecision
Keeper = keeper.KeeperDecision

JOURNAL = OpenCommitment(
    ROUND,
    COMMITMENT,
    Update("0x" + "11" * 20, 1, b"\1" * 32, SOME_CID, b"\2" * 32),
    Path("update.safetensors"),
)
OTHER_JOURNAL = dataclasses.replace(JOURNAL, commitment=bytes(32))
# The contract does not keep the last six bytes.
SAME_IN_THE_SLOT = dataclasses.replace(JOURNAL, commitment=COMMITMENT[:26] + bytes(6))

OTHERS = [p for p in Phase if p not in (Phase.COMMIT, Phase.REVEAL)]


# The party


def test_a_drawn_party_trains_in_the_commit_phase() -> None:
    assert party.decide(seen(Phase.COMMIT), None) is Party.TRAIN


def test_a_party_that_has_trained_commits() -> None:
    assert party.decide(seen(Phase.COMMIT), JOURNAL) is Party.COMMIT


@pytest.mark.parametrize("journal", [None, JOURNAL])
def test_a_paused_party_neither_trains_nor_commits(journal: OpenCommitment | None) -> None:
    assert party.decide(seen(Phase.COMMIT), journal, paused=True) is Party.NOTHING


def test_a_paused_party_reveals_what_it_has_committed_to() -> None:
    view = seen(Phase.REVEAL, committed=committed())
    assert party.decide(view, JOURNAL, paused=True) is Party.REVEAL


@pytest.mark.parametrize("journal", [None, JOURNAL])
def test_a_party_that_was_not_drawn_rests(journal: OpenCommitment | None) -> None:
    assert party.decide(seen(Phase.COMMIT, drawn=False), journal) is Party.NOTHING


@pytest.mark.parametrize("journal", [None, JOURNAL, OTHER_JOURNAL])
def test_a_party_that_has_committed_waits(journal: OpenCommitment | None) -> None:
    assert party.decide(seen(Phase.COMMIT, committed=committed()), journal) is Party.NOTHING


def test_a_commitment_of_an_earlier_round_does_not_count() -> None:
    earlier = committed(round_number=ROUND - 1)
    assert party.decide(seen(Phase.COMMIT, committed=earlier), None) is Party.TRAIN
    assert party.decide(seen(Phase.REVEAL, committed=earlier), JOURNAL) is Party.NOTHING


@pytest.mark.parametrize("journal", [JOURNAL, SAME_IN_THE_SLOT])
def test_a_committed_party_reveals_in_the_reveal_phase(journal: OpenCommitment) -> None:
    assert party.decide(seen(Phase.REVEAL, committed=committed()), journal) is Party.REVEAL


def test_a_party_reveals_although_it_is_not_drawn_any_more() -> None:
    view = seen(Phase.REVEAL, committed=committed(), drawn=False)
    assert party.decide(view, JOURNAL) is Party.REVEAL


def test_a_party_that_has_revealed_rests() -> None:
    view = seen(Phase.REVEAL, committed=committed(revealed=True))
    assert party.decide(view, JOURNAL) is Party.NOTHING


def test_a_party_that_did_not_commit_has_nothing_to_reveal() -> None:
    assert party.decide(seen(Phase.REVEAL), JOURNAL) is Party.NOTHING


@pytest.mark.parametrize("journal", [None, OTHER_JOURNAL])
def test_a_party_without_its_preimage_knows_that_it_is_lost(
    journal: OpenCommitment | None,
) -> None:
    assert party.decide(seen(Phase.REVEAL, committed=committed()), journal) is Party.LOST


@pytest.mark.parametrize("phase", OTHERS)
@pytest.mark.parametrize("journal", [None, JOURNAL])
def test_a_party_rests_in_every_other_phase(phase: Phase, journal: OpenCommitment | None) -> None:
    assert party.decide(seen(phase, committed=committed()), journal) is Party.NOTHING
    assert party.decide(seen(phase), journal) is Party.NOTHING


# The aggregator


@pytest.mark.parametrize("phase", [Phase.ATTEST, Phase.ACCEPTED])
def test_an_aggregator_attests_until_the_deadline(phase: Phase) -> None:
    assert aggregator.decide(seen(phase, timestamp=2_999)) is Aggregator.ATTEST
    assert aggregator.decide(seen(phase, timestamp=3_000)) is Aggregator.NOTHING


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.ATTEST, Phase.ACCEPTED)])
def test_an_aggregator_rests_in_every_other_phase(phase: Phase) -> None:
    assert aggregator.decide(seen(phase)) is Aggregator.NOTHING


def test_an_aggregator_whose_stake_does_not_count_rests() -> None:
    stake = dataclasses.replace(seen().aggregator, frozen_stake=0)
    assert aggregator.decide(seen(Phase.ATTEST, aggregator=stake)) is Aggregator.NOTHING


# The keeper


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.ACCEPTED, Phase.VOID])
def test_a_keeper_opens_the_next_round_when_one_is_wanted(phase: Phase) -> None:
    assert keeper.decide(seen(phase)) is Keeper.OPEN
    assert keeper.decide(seen(phase), open_rounds=False) is Keeper.NOTHING


def test_a_keeper_opens_a_seeding_round_once_its_block_is_there() -> None:
    assert keeper.decide(seen(Phase.SEEDING, block_number=100)) is Keeper.NOTHING
    assert keeper.decide(seen(Phase.SEEDING, block_number=101)) is Keeper.OPEN
    assert keeper.decide(seen(Phase.SEEDING), open_rounds=False) is Keeper.OPEN


@pytest.mark.parametrize(
    ("phase", "decision"),
    [
        (Phase.COMMIT, Keeper.RELAY_COMMITS),
        (Phase.REVEAL, Keeper.RELAY_REVEALS),
        (Phase.ATTEST, Keeper.RELAY_ATTESTATIONS),
    ],
)
def test_a_keeper_relays_what_the_phase_takes(phase: Phase, decision: Keeper) -> None:
    assert keeper.decide(seen(phase)) is decision


@pytest.mark.parametrize("phase", Phase)
def test_a_keeper_makes_a_round_final_first_of_all(phase: Phase) -> None:
    view = seen(phase, finalizable_at=500, timestamp=500)
    assert keeper.decide(view) is Keeper.FINALIZE
    assert keeper.decide(seen(phase, finalizable_at=501)) is not Keeper.FINALIZE
    assert keeper.decide(seen(phase, finalizable_at=0)) is not Keeper.FINALIZE
