"""What fails in a round, and what the others make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.adversary import Adversary, PartialStore, aggregators_without, run_to_attest
from support.federation import Build, SmallFederation, consortium
from support.reorg import Fork

from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.roles.schedule import Schedule
from fl_orchestrator.training.trainer import FloatArray, Metrics

# Relays and updates that come late


Fitted = tuple[list[FloatArray], int, Metrics]


def test_a_keeper_carries_signatures_that_come_after_acceptance(build: Build) -> None:
    federation = build(parties=2, aggregators=4)
    roles = federation.everybody(federation.mailbox)
    keeper = federation.keeper(1)
    assert federation.run_round(roles[:-1], keeper=keeper).current.phase is Phase.ACCEPTED
    (digest,) = federation.federation.proposed_results(0)
    assert federation.federation.attestation(digest).signers == 0b0111
    assert roles[-1].step().action == "post attestation"
    assert keeper.step().action == "attest"
    assert federation.federation.attestation(digest).signers == 0b1111
    assert keeper.step().action is None


def test_a_relayed_signature_that_a_reorganisation_undid_is_posted_again_at_once(
    build: Build,
) -> None:
    federation = build(parties=2)
    run_to_attest(federation)
    aggregator, keeper = federation.aggregator(0, relay=federation.mailbox), federation.keeper(1)
    schedule, key = Schedule(aggregator), federation.aggregators[0]
    assert schedule.ask(federation.observe(key)).action == "post attestation"
    fork = Fork(federation.chain)
    assert keeper.step().action == "attest"
    seen = federation.observe(key)
    assert (seen.current.phase, schedule.is_due(seen)) == (Phase.ACCEPTED, True)
    assert schedule.ask(seen).action is None
    fork.reorganise()
    for _ in range(3):
        federation.chain.mine()
    seen = federation.observe(key)
    assert (seen.current.phase, schedule.is_due(seen)) == (Phase.ATTEST, True)
    assert schedule.ask(seen).action == "post attestation"
    assert keeper.step().action == "attest"


def test_an_update_that_arrives_late_is_still_included(build: Build) -> None:
    federation = build(parties=2)
    _, cids = run_to_attest(federation)
    (aggregator,), (store,) = aggregators_without(federation, [{cids[0], cids[1]}])
    waiting = aggregator.step()
    assert waiting.action is None
    store.denied.clear()
    due_at = federation.due_at(waiting)
    federation.pass_until(due_at - 1)
    assert aggregator.step().action is None
    federation.pass_until(due_at)
    assert aggregator.step().action == "attest"
    assert federation.included() == {0, 1}


def test_an_aggregator_whose_store_is_down_for_a_while_attests_afterwards(build: Build) -> None:
    federation = build(parties=2)
    run_to_attest(federation)
    (aggregator,), (store,) = aggregators_without(federation, [set()])
    store.down = True
    assert aggregator.step().action is None
    store.down = False
    seen = federation.run_round([aggregator])
    assert seen.current.phase is Phase.ACCEPTED
    assert federation.included() == {0, 1}


# Rounds that come to nothing


def assert_next_round_is_accepted(federation: SmallFederation, round_number: int = 2) -> None:
    seen = federation.run_round(federation.everybody(), round_number)
    assert (seen.current.phase, seen.current.round) == (Phase.ACCEPTED, round_number)
    assert (seen.head.height, seen.head.round) == (1, round_number)


def test_a_round_with_too_few_commits_is_void_and_the_next_one_opens(build: Build) -> None:
    federation = build(parties=3, terms=consortium(3, min_updates=2))
    seen = federation.run_round([federation.party(0), federation.aggregator(0)])
    assert (seen.current.phase, seen.current.commits) == (Phase.VOID, 1)
    assert seen.head.height == 0
    assert_next_round_is_accepted(federation)
    # Nothing was owed: the round was void before it came to reveals.
    stake = federation.observe(federation.parties[0]).party.stake
    assert stake == federation.terms.min_party_stake


def test_a_round_with_too_few_reveals_is_void_and_the_next_one_opens(build: Build) -> None:
    federation = build(parties=3, terms=consortium(3, min_updates=2))
    parties = [federation.party(i) for i in range(3)]
    federation.run_to(Phase.REVEAL, [*parties, federation.keeper(1)], 1)
    seen = federation.run_round([parties[0], federation.aggregator(0)])
    assert (seen.current.phase, seen.current.reveals) == (Phase.VOID, 1)
    assert_next_round_is_accepted(federation)


def test_a_round_without_aggregators_is_void_and_the_next_one_opens(build: Build) -> None:
    federation = build()
    seen = federation.run_round([federation.party(i) for i in range(3)])
    assert (seen.current.phase, seen.current.reveals) == (Phase.VOID, 3)
    assert seen.head.height == 0
    assert_next_round_is_accepted(federation)


def test_a_round_in_which_no_quorum_signs_is_void(build: Build) -> None:
    federation = build(parties=2, aggregators=3)
    parties = [federation.party(0), federation.party(1)]
    aggregators = [federation.aggregator(0), federation.aggregator(1)]
    # Two of three stakes are not more than two thirds.
    assert federation.run_round([*parties, *aggregators]).current.phase is Phase.VOID


def test_a_party_trains_again_after_a_void_round_and_the_same_root_counts(build: Build) -> None:
    """The same weights give the same update: a round that came to nothing did not use it up."""
    federation = build(parties=2)

    class Still:
        """A trainer that learns the same in every round."""

        def fit(self, weights: list[FloatArray], config: object) -> Fitted:
            return [weight + np.float32(0.01) for weight in weights], 24, {}

    federation.trainers[0] = Still()  # type: ignore[call-overload]
    federation.run_round([federation.party(i) for i in range(2)])
    seen = federation.run_round(federation.everybody(), 2)
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 2)
    roots = {
        update.round: update.root
        for update in federation.federation.revealed_updates(0)
        if update.party == federation.parties[0].address
    }
    assert roots[1] == roots[2]


# Commitments that are not opened, and copies


def test_a_commit_that_is_never_revealed_costs_a_tenth_of_the_stake(build: Build) -> None:
    federation = build(parties=3, terms=consortium(3, min_updates=2))
    parties = [federation.party(i) for i in range(3)]
    federation.run_to(Phase.REVEAL, [*parties, federation.keeper(1)], 1)
    lazy, stake = federation.parties[2], federation.terms.min_party_stake
    slash = federation.federation.slash_unrevealed(lazy.address)
    with pytest.raises(ContractReverted, match="NotSlashable"):
        federation.send(federation.outsider, slash)

    seen = federation.run_round([*parties[:2], federation.aggregator(0)])
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 2)
    assert federation.observe(lazy).unrevealed_slashable
    before = federation.chain.web3.eth.get_balance(federation.federation.address)
    federation.send(federation.outsider, slash)
    assert federation.observe(lazy).party.stake == stake - stake // 10
    # Burnt: it left the stake and went to nobody.
    assert federation.chain.web3.eth.get_balance(federation.federation.address) == before
    with pytest.raises(ContractReverted, match="NotSlashable"):
        federation.send(federation.outsider, slash)


def test_an_unrevealed_commit_cannot_hide_behind_the_next_one(build: Build) -> None:
    stakes = [2 * 10**17] * 3
    federation = build(parties=3, terms=consortium(3, min_updates=2), stakes=stakes)
    parties = [federation.party(i) for i in range(3)]
    federation.run_to(Phase.REVEAL, [*parties, federation.keeper(1)], 1)
    federation.run_round([*parties[:2], federation.aggregator(0)])
    seen = federation.run_round(federation.everybody(), 2)
    assert (seen.current.phase, seen.current.commits) == (Phase.ACCEPTED, 3)
    present = [federation.observe(key).party.stake for key in federation.parties]
    assert present == [stakes[0], stakes[1], stakes[2] * 9 // 10]


def test_a_root_of_an_earlier_round_is_a_duplicate_too(build: Build) -> None:
    federation = build(parties=2, terms=consortium(2, min_updates=1))
    federation.run_round(federation.everybody())
    (first, _) = federation.federation.revealed_updates(0)
    adversary = Adversary(federation, 0)
    federation.open_round()
    copy = adversary.update(b"anything", first.root)
    adversary.commit(copy, 2)
    honest = federation.party(1)
    federation.run_to(Phase.REVEAL, [honest], 2)
    adversary.reveal(copy)
    honest.step()
    seen = federation.observe()
    assert (seen.current.opened, seen.current.reveals) == (2, 1)
    (counted,) = federation.federation.revealed_updates(0, round_number=2)
    assert counted.party == federation.parties[1].address


# Training that fails


def test_a_party_whose_training_diverged_does_not_commit(build: Build) -> None:
    federation = build(parties=3)
    calls = 0

    class Diverging:
        def fit(self, weights: list[FloatArray], config: object) -> Fitted:
            nonlocal calls
            calls += 1
            return [np.full_like(weight, np.nan) for weight in weights], 10, {}

    federation.trainers[0] = Diverging()  # type: ignore[call-overload]
    roles = federation.everybody()
    seen = federation.run_round(roles)
    assert (seen.current.phase, seen.current.commits) == (Phase.ACCEPTED, 2)
    assert federation.included() == {1, 2}
    assert calls == 1
    assert federation.observe(federation.parties[0]).committed.round == 0
    assert list((federation.home("parties", 0) / "journal").iterdir()) == []

    federation.trainers[0] = federation.trainers[1]
    roles[0] = federation.party(0)
    assert federation.run_round(roles, 2).current.commits == 3


@pytest.mark.parametrize("next_round", [False, True], ids=["phase", "round"])
def test_a_party_that_trained_for_too_long_sends_nothing(build: Build, next_round: bool) -> None:
    """A commitment names no round that the contract could see: it must not land in the next one."""
    federation = build(parties=1)
    trainer = federation.trainers[0]

    class Slow:
        def fit(self, weights: list[FloatArray], config: dict[str, Any]) -> Fitted:
            federation.pass_until(federation.observe().current.commit_end)
            if next_round:
                federation.open_round()
            return trainer.fit(weights, config)

    federation.trainers[0] = Slow()  # type: ignore[call-overload]
    party = federation.party(0)
    federation.open_round()
    sent = len(federation.receipts)
    party.step()
    assert len(federation.receipts) == sent + 2 * next_round
    assert federation.observe(federation.parties[0]).committed.round == 0
    if next_round:
        federation.trainers[0] = trainer
        assert federation.party(0).step().action == "commit"
        assert federation.observe(federation.parties[0]).committed.round == 2


def test_a_keeper_that_is_late_by_one_block_goes_on(build: Build) -> None:
    federation = build(parties=1)
    contract, faster = federation.federation, federation.outsider

    class Late:
        """Another keeper opens the round between this one's check and its transaction."""

        address = federation.keeper_key.address
        sign_typed_data = federation.keeper_key.sign_typed_data

        def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
            federation.send(faster, contract.open_round())
            return federation.keeper_key.sign_transaction(transaction)

    late = Sender(federation.chain.web3, Late(), contract.reverts)
    assert federation.keeper(1, late).step().action is None
    assert federation.observe().current.phase is Phase.SEEDING
    federation.run_to(Phase.COMMIT, [federation.keeper(1)], 1)


def test_a_party_without_the_base_model_waits_for_it(build: Build) -> None:
    federation = build(parties=1)
    store = PartialStore(federation)
    store.denied.add(federation.genesis.cid)
    party = federation.party(0, store=store)
    federation.open_round()
    with pytest.raises(ContentNotFound, match="Nobody has"):
        party.step()
    store.denied.clear()
    assert party.step().action == "commit"
