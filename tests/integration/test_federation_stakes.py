"""Money: who is paid for a round, and how a stake comes back."""

from __future__ import annotations

import pytest
from support.accounts import balance_of
from support.federation import Build, SmallFederation, consortium, signer

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Phase, Role
from fl_orchestrator.units import ETHER

BENEFICIARY = signer("beneficiary")


def balance(federation: SmallFederation, key: LocalSigner = BENEFICIARY) -> int:
    return balance_of(federation.chain.web3, key.address)


def credit(federation: SmallFederation, key: LocalSigner) -> int:
    return federation.observe(key).credit


def register_for(federation: SmallFederation, key: LocalSigner, role: Role, stake: int) -> None:
    """Admit and register an account whose money goes to the beneficiary."""
    contract = federation.federation
    federation.send(federation.owner, contract.admit([key.address], role))
    federation.send(key, contract.register(role, BENEFICIARY.address, stake))


def settle(federation: SmallFederation, height: int = 1) -> None:
    """Let a keeper make the rounds final and distribute their rewards."""
    keeper = federation.keeper(0)
    federation.run([keeper], lambda _: federation.federation.distributed(height))


def refusal(federation: SmallFederation, key: LocalSigner, call: Call) -> ContractReverted:
    with pytest.raises(ContractReverted) as refused:
        federation.send(key, call)
    return refused.value


def test_rewards_are_shared_and_arrive_at_the_beneficiary(build: Build) -> None:
    federation = build(parties=2, aggregators=4, terms=consortium(3))
    worker = federation.outsider
    register_for(federation, worker, Role.PARTY, federation.terms.min_party_stake)
    federation.parties.append(worker)
    federation.trainers.append(federation.trainers[0])
    # The third party's update is its own: another seed draws another order of the rows.
    seen = federation.run_round(federation.everybody(federation.mailbox))
    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)
    assert credit(federation, worker) == 0
    settle(federation)

    reward = federation.terms.reward
    of_aggregators = reward * federation.terms.aggregator_share_bps // 10_000
    of_parties = reward - of_aggregators
    assert [credit(federation, key) for key in federation.parties] == [of_parties // 3] * 3
    assert [credit(federation, key) for key in federation.aggregators] == [of_aggregators // 4] * 4
    assert federation.observe().free_pot == 99 * reward + of_parties % 3

    assert balance(federation) == 0
    federation.send(worker, federation.federation.withdraw_rewards(worker.address))
    assert balance(federation) == of_parties // 3
    assert credit(federation, worker) == 0
    again = federation.federation.withdraw_rewards(worker.address)
    assert refusal(federation, worker, again).error is ContractError.NothingToWithdraw
    # Nobody else can send somebody's money anywhere.
    other = federation.federation.withdraw_rewards(federation.parties[0].address)
    assert refusal(federation, worker, other).error is ContractError.NotAccountOrBeneficiary


def test_rewards_wait_until_the_round_is_final(build: Build) -> None:
    federation = build(parties=2)
    federation.run_round(federation.everybody())
    digest = federation.federation.accepted_digests(0)[1]
    result = federation.federation.proposed_results(0)[digest]
    updates = federation.federation.revealed_updates(0)
    distribute = federation.federation.distribute(result, updates)
    outsider = federation.outsider
    assert refusal(federation, outsider, distribute).error is ContractError.NotFinal
    assert (
        refusal(federation, outsider, federation.federation.finalize()).error
        is ContractError.NotFinalizable
    )

    federation.pass_until(federation.observe().finalizable_at)
    federation.send(outsider, federation.federation.finalize())
    wrong = federation.federation.distribute(result, updates[:1])
    assert refusal(federation, outsider, wrong).error is ContractError.UpdatesMismatch
    federation.send(outsider, distribute)
    assert refusal(federation, outsider, distribute).error is ContractError.AlreadyDistributed
    assert federation.observe().final_height == 1


def test_an_aggregator_that_did_not_sign_gets_nothing(build: Build) -> None:
    federation = build(parties=2, aggregators=4)
    roles = [*federation.everybody()[:2], *map(federation.aggregator, range(3))]
    federation.run_round(roles)
    settle(federation)
    share = federation.terms.reward * federation.terms.aggregator_share_bps // 10_000 // 4
    assert [credit(federation, key) for key in federation.aggregators] == [share] * 3 + [0]


def test_a_partys_stake_comes_back_after_the_unbonding(build: Build) -> None:
    federation = build(parties=2, terms=consortium(3))
    key, contract = federation.outsider, federation.federation
    stake = 3 * federation.terms.min_party_stake
    register_for(federation, key, Role.PARTY, stake)
    assert refusal(federation, key, contract.withdraw(key.address, Role.PARTY)).error is (
        ContractError.NotUnbonding
    )
    request = contract.request_unbond(key.address, Role.PARTY)
    assert (
        refusal(federation, federation.parties[0], request).error
        is ContractError.NotAccountOrBeneficiary
    )
    federation.send(key, request)
    assert refusal(federation, key, request).error is ContractError.AlreadyUnbonding

    unbond_at = federation.observe(key).party.unbond_at
    assert unbond_at == federation.chain.now + federation.terms.unbond_period
    withdraw = contract.withdraw(key.address, Role.PARTY)
    federation.pass_until(unbond_at - 1)
    refused = refusal(federation, key, withdraw)
    assert (refused.error, refused.arguments) == (ContractError.StillUnbonding, (unbond_at,))
    federation.pass_until(unbond_at)
    federation.send(key, withdraw)
    assert balance(federation) == stake
    assert federation.observe(key).party.stake == 0
    assert refusal(federation, key, withdraw).error is ContractError.NotUnbonding
    # It may come back, for the same beneficiary.
    federation.send(key, contract.register(Role.PARTY, BENEFICIARY.address, stake))


def test_a_stake_that_counted_stays_until_its_rounds_are_final(build: Build) -> None:
    federation = build(parties=2, terms=consortium(2, unbond_period=1))
    key = federation.aggregators[0]
    roles = federation.everybody()
    federation.run_to(Phase.REVEAL, [*roles, federation.keeper(1)], 1)
    federation.send(key, federation.federation.request_unbond(key.address, Role.AGGREGATOR))
    # Unbonding, it still owes, and still has its vote in, the round that it was frozen for.
    seen = federation.run_round(roles)
    assert seen.current.phase is Phase.ACCEPTED
    withdraw = federation.federation.withdraw(key.address, Role.AGGREGATOR)
    unbond_at = federation.observe(key).aggregator.unbond_at
    federation.pass_until(max(unbond_at, federation.observe().finalizable_at) + 1)
    refused = refusal(federation, key, withdraw)
    assert (refused.error, refused.arguments) == (ContractError.StakeStillCounts, (1,))

    settle(federation)
    before = balance(federation, key)
    receipt = federation.send(key, withdraw)
    mined = federation.chain.web3.eth.get_transaction_receipt(receipt.transaction)  # type: ignore[arg-type]
    fee = mined["gasUsed"] * mined["effectiveGasPrice"]
    assert balance(federation, key) == before + federation.terms.min_aggregator_stake - fee
    # Without an aggregator no round opens.
    call = federation.federation.open_round()
    assert refusal(federation, federation.keeper_key, call).error is ContractError.NoAggregators


def test_a_stake_counts_from_the_round_after_it_arrived(build: Build) -> None:
    federation = build(parties=2, terms=consortium(3))
    federation.send(federation.keeper_key, federation.federation.open_round())
    register_for(federation, federation.outsider, Role.PARTY, ETHER)
    for _ in range(2):
        federation.chain.mine()
    federation.send(federation.keeper_key, federation.federation.open_round())
    seen = federation.observe(federation.outsider)
    assert (seen.current.phase, seen.current.active_parties) == (Phase.COMMIT, 2)
    assert (seen.party.stake, seen.party.frozen_stake, seen.drawn) == (ETHER, 0, False)
    federation.run_round(federation.everybody())
    seen = federation.open_round()
    view = federation.observe(federation.outsider)
    assert (seen.current.active_parties, view.party.frozen_stake, view.drawn) == (3, ETHER, True)
