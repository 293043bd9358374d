"""Bad input through the real contract: each has its own named error, and nothing is spent on it.

The federation stands still in each phase while the tests ask it: what would be refused is known
before it is sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from support.accounts import balance_of
from support.adversary import Adversary
from support.federation import SmallFederation, consortium, signer

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Phase, Role, SignedCommit, Update
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.units import ETHER

COMMITMENT = b"\5" * 32
ZERO = bytes(32)


def refusal(federation: SmallFederation, key: LocalSigner, call: Call) -> ContractReverted:
    """The error that a call would revert with."""
    with pytest.raises(ContractReverted) as refused:
        federation.sender(key).check(call)
    return refused.value


# Registering


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    """Nobody is admitted or registered yet."""
    directory = tmp_path_factory.mktemp("new")
    return SmallFederation(directory, terms=consortium(2), register=False)


@pytest.mark.parametrize("role", Role)
def test_an_account_that_was_not_admitted_cannot_register(new: SmallFederation, role: Role) -> None:
    call = new.federation.register(role, new.outsider.address, ETHER)
    assert refusal(new, new.outsider, call).error is ContractError.NotAdmitted


def test_only_the_owner_admits(new: SmallFederation) -> None:
    call = new.federation.admit([new.outsider.address], Role.PARTY)
    refused = refusal(new, new.outsider, call)
    assert refused.error is ContractError.OwnableUnauthorizedAccount
    assert refused.arguments == (new.outsider.address,)


def test_a_round_without_parties_or_aggregators_does_not_open(new: SmallFederation) -> None:
    refused = refusal(new, new.keeper_key, new.federation.open_round())
    assert (refused.error, refused.arguments) == (ContractError.NotEnoughParties, (0, 1))


def test_a_stake_below_the_minimum_is_refused(small: SmallFederation) -> None:
    call = small.federation.register(Role.PARTY, small.owner.address, 5)
    refused = refusal(small, small.owner, call)
    assert (refused.error, refused.arguments) == (
        ContractError.StakeTooLow,
        (5, small.terms.min_party_stake),
    )


def test_nobody_registers_twice(small: SmallFederation) -> None:
    key = small.parties[0]
    call = small.federation.register(Role.PARTY, key.address, small.terms.min_party_stake)
    assert refusal(small, key, call).error is ContractError.AlreadyRegistered


def test_a_full_federation_takes_nobody(full: SmallFederation) -> None:
    call = full.federation.register(Role.PARTY, full.outsider.address, full.terms.min_party_stake)
    assert refusal(full, full.outsider, call).error is ContractError.FederationFull


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    federation = SmallFederation(tmp_path_factory.mktemp("full"), parties=1)
    admit = federation.federation.admit([federation.outsider.address], Role.PARTY)
    federation.send(federation.owner, admit)
    return federation


# A round of three parties, one of whom came late and one of whom only watches


class Standing(SmallFederation):
    """A federation that has been brought into a phase and stays there."""

    late: LocalSigner
    adversary: Adversary
    update: Update


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Standing:
    """In the commit phase: party 0 has committed, party 1 and the adversary (2) have not."""
    federation = Standing(
        tmp_path_factory.mktemp("small"), parties=3, aggregators=2, terms=consortium(5)
    )
    federation.late = signer("late")
    address = federation.chain.web3.to_checksum_address(federation.late.address)
    federation.send(federation.owner, Call(address, b"", 10 * ETHER, "gift"))
    admitted = [federation.late.address, federation.owner.address]
    federation.send(federation.owner, federation.federation.admit(admitted, Role.PARTY))
    federation.open_round()
    federation.party(0).step()
    return federation


@pytest.fixture(scope="module")
def revealing(tmp_path_factory: pytest.TempPathFactory) -> Standing:
    """In the reveal phase: all have committed, and party 0 has revealed."""
    federation = Standing(tmp_path_factory.mktemp("revealing"), parties=3, aggregators=2)
    federation.adversary = Adversary(federation, 2)
    federation.update = federation.adversary.update(*federation.adversary.file())
    federation.open_round()
    parties = [federation.party(i) for i in range(2)]
    for party in parties:
        party.step()
    federation.adversary.commit(federation.update)
    parties[0].step()
    assert federation.observe().current.phase is Phase.REVEAL
    return federation


@pytest.fixture(scope="module")
def attesting(tmp_path_factory: pytest.TempPathFactory) -> Standing:
    """In the attest phase: the first of two aggregators has attested."""
    federation = Standing(tmp_path_factory.mktemp("attesting"), parties=2, aggregators=2)
    parties = [federation.party(i) for i in range(2)]
    federation.run_to(Phase.ATTEST, [*parties, federation.keeper(1)], 1)
    federation.aggregator(0).step()
    return federation


# Committing


def commit(federation: SmallFederation, commitment: bytes = COMMITMENT) -> Call:
    return federation.federation.commit(federation.observe().current.round, commitment)


def test_an_unregistered_account_cannot_commit(small: Standing) -> None:
    assert refusal(small, small.outsider, commit(small)).error is ContractError.NotRegistered


def test_a_party_that_came_after_the_freeze_cannot_commit_yet(small: Standing) -> None:
    stake = small.terms.min_party_stake
    small.send(small.late, small.federation.register(Role.PARTY, small.late.address, stake))
    assert refusal(small, small.late, commit(small)).error is ContractError.NotActive
    view = small.observe(small.late)
    assert (view.party.stake, view.party.frozen_stake, view.drawn) == (stake, 0, False)


def test_a_second_commit_is_refused(small: Standing) -> None:
    assert refusal(small, small.parties[0], commit(small)).error is ContractError.AlreadyCommitted


def test_a_commit_for_another_round_is_told_so(small: Standing) -> None:
    call = small.federation.commit(2, COMMITMENT)
    refused = refusal(small, small.parties[1], call)
    assert refused.message == "The commit is for another round. [WrongRound(round 1)]"


def test_a_zero_commitment_is_refused(small: Standing) -> None:
    assert (
        refusal(small, small.parties[1], commit(small, ZERO)).error is ContractError.ZeroCommitment
    )


def test_an_aggregator_is_no_party(small: Standing) -> None:
    assert refusal(small, small.aggregators[0], commit(small)).error is ContractError.NotRegistered


def test_a_commit_in_the_reveal_phase_is_too_late(revealing: Standing) -> None:
    assert (
        refusal(revealing, revealing.parties[1], commit(revealing)).error
        is ContractError.WrongPhase
    )


def test_a_commit_at_the_deadline_is_too_late(tmp_path_factory: pytest.TempPathFactory) -> None:
    federation = SmallFederation(tmp_path_factory.mktemp("late"), parties=2)
    seen = federation.open_round()
    federation.pass_until(seen.current.commit_end - 1)
    assert federation.sender(federation.parties[0]).check(commit(federation)) > 0
    federation.pass_until(seen.current.commit_end)
    assert (
        refusal(federation, federation.parties[0], commit(federation)).error
        is ContractError.WrongPhase
    )


def test_a_commit_before_the_first_round_is_too_early(new: SmallFederation) -> None:
    assert refusal(new, new.outsider, commit(new)).error is ContractError.WrongPhase


def test_a_party_that_was_not_drawn_cannot_commit(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    terms = Terms(max_parties=8, participants=2)
    federation = SmallFederation(tmp_path_factory.mktemp("crowd"), parties=8, terms=terms)
    federation.open_round()
    drawn = {key.address for key in federation.parties if federation.observe(key).drawn}
    assert 0 < len(drawn) < 8
    for number, key in enumerate(federation.parties):
        if key.address in drawn:
            assert federation.sender(key).check(commit(federation)) > 0
        else:
            assert refusal(federation, key, commit(federation)).error is ContractError.NotDrawn
            assert federation.party(number).step().action is None


# Commits that a keeper carries


def signed(federation: SmallFederation, key: LocalSigner, round_number: int = 1) -> SignedCommit:
    return federation.federation.sign_commit(key, round_number, COMMITMENT)


def carried_refusal(federation: SmallFederation, *commits: SignedCommit) -> ContractReverted:
    call = federation.federation.commit_for(list(commits))
    return refusal(federation, federation.keeper_key, call)


@pytest.mark.parametrize(
    "forge",
    [
        lambda f: dataclasses.replace(signed(f, f.outsider), party=f.parties[1].address),
        lambda f: dataclasses.replace(signed(f, f.parties[1]), commitment=b"\6" * 32),
        lambda f: dataclasses.replace(signed(f, f.parties[1]), r=ZERO),
        lambda f: dataclasses.replace(signed(f, f.parties[1]), vs=b"\xff" * 32),
        lambda f: signed(f, f.parties[1], round_number=2),
    ],
    ids=["of another account", "of another commitment", "r", "high s", "of another round"],
)
def test_a_signature_that_is_not_the_partys_is_refused(
    small: Standing, forge: Callable[[Standing], SignedCommit]
) -> None:
    refused = carried_refusal(small, forge(small))
    assert (refused.error, refused.reason) == (
        ContractError.NothingAccepted,
        ContractError.InvalidSignature,
    )


def test_a_signature_for_another_federation_is_refused(small: Standing) -> None:
    key = small.parties[1]
    domain = {**small.federation.domain, "verifyingContract": small.outsider.address}
    message = {"round": 1, "party": key.address, "commitment": COMMITMENT}
    types = {
        "Commit": [
            {"name": "round", "type": "uint64"},
            {"name": "party", "type": "address"},
            {"name": "commitment", "type": "bytes32"},
        ]
    }
    for elsewhere in (domain, {**small.federation.domain, "chainId": 1}):
        signature = key.sign_typed_data(elsewhere, types, message)
        replayed = SignedCommit(key.address, COMMITMENT, signature.r, signature.vs)
        assert carried_refusal(small, replayed).reason is ContractError.InvalidSignature
    # The same message for this federation is taken.
    signature = key.sign_typed_data(small.federation.domain, types, message)
    good = SignedCommit(key.address, COMMITMENT, signature.r, signature.vs)
    assert small.sender(small.keeper_key).check(small.federation.commit_for([good])) > 0


def test_an_empty_batch_is_refused(small: Standing) -> None:
    assert carried_refusal(small).error is ContractError.EmptyBatch
    assert (
        refusal(small, small.keeper_key, small.federation.reveal([])).error
        is ContractError.EmptyBatch
    )


def test_the_reason_of_a_batch_is_that_of_its_first_item(small: Standing) -> None:
    commits = [signed(small, key) for key in (small.parties[0], small.outsider)]
    assert carried_refusal(small, *commits).reason is ContractError.AlreadyCommitted
    assert carried_refusal(small, *commits[::-1]).reason is ContractError.NotRegistered


def test_a_bad_item_does_not_sink_a_batch(tmp_path_factory: pytest.TempPathFactory) -> None:
    federation = SmallFederation(tmp_path_factory.mktemp("batch"), parties=3)
    federation.open_round()
    forged = dataclasses.replace(signed(federation, federation.parties[2]), r=ZERO)
    good = [signed(federation, key) for key in federation.parties[:2]]
    batch = [forged, good[0], signed(federation, federation.outsider), good[1], good[0]]
    federation.send(federation.keeper_key, federation.federation.commit_for(batch))
    assert federation.observe().current.commits == 2


# Revealing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weight": 0}, ContractError.InvalidWeight),
        ({"weight": 256}, ContractError.InvalidWeight),
        ({"weight": 65_535}, ContractError.InvalidWeight),
        ({"weight": 2}, ContractError.CommitmentMismatch),
        ({"root": ZERO}, ContractError.ZeroRoot),
        ({"root": b"\1" * 32}, ContractError.CommitmentMismatch),
        ({"cid": Cid(ZERO, 0x55)}, ContractError.InvalidCid),
        ({"cid": Cid(b"\1" * 32, 0x55)}, ContractError.CommitmentMismatch),
        ({"salt": ZERO}, ContractError.CommitmentMismatch),
    ],
    ids=str,
)
def test_a_reveal_that_does_not_match_is_refused(
    revealing: Standing, change: dict[str, Any], reason: ContractError
) -> None:
    call = revealing.federation.reveal([dataclasses.replace(revealing.update, **change)])
    refused = refusal(revealing, revealing.outsider, call)
    assert (refused.error, refused.reason) == (ContractError.NothingAccepted, reason)


def test_a_committed_weight_of_zero_or_256_is_refused_when_it_is_revealed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A commitment hides what is wrong with it; what it opens to does not count."""
    federation = SmallFederation(tmp_path_factory.mktemp("weights"), parties=2)
    federation.open_round()
    cid = Cid(b"\1" * 32, 0x55)
    updates = []
    for number, weight in enumerate((0, 256)):
        key = federation.parties[number]
        updates.append(Update(key.address, weight, b"\2" * 32, cid, ZERO))
        federation.send(key, commit(federation, bytes([number + 1]) * 32))
    for update in updates:
        refused = refusal(federation, federation.outsider, federation.federation.reveal([update]))
        assert refused.reason is ContractError.InvalidWeight


def test_the_right_reveal_may_be_sent_by_anybody(revealing: Standing) -> None:
    call = revealing.federation.reveal([revealing.update])
    assert revealing.sender(revealing.outsider).check(call) > 0


def test_a_reveal_of_a_party_that_did_not_commit_is_refused(revealing: Standing) -> None:
    update = dataclasses.replace(revealing.update, party=revealing.outsider.address)
    call = revealing.federation.reveal([update])
    assert refusal(revealing, revealing.outsider, call).reason is ContractError.NoCommitment


def test_a_second_reveal_is_refused(revealing: Standing) -> None:
    entry = revealing.party(0).submission.entry(1)
    assert entry is not None
    call = revealing.federation.reveal([entry.update])
    assert refusal(revealing, revealing.parties[0], call).reason is ContractError.AlreadyRevealed


def test_a_reveal_in_the_commit_phase_is_too_early(small: Standing) -> None:
    entry = small.party(0).submission.entry(1)
    assert entry is not None
    call = small.federation.reveal([entry.update])
    assert refusal(small, small.parties[0], call).reason is ContractError.WrongPhase


def test_a_reveal_in_the_attest_phase_is_too_late(attesting: Standing) -> None:
    entry = attesting.party(0).submission.entry(1)
    assert entry is not None
    call = attesting.federation.reveal([entry.update])
    assert refusal(attesting, attesting.parties[0], call).reason is ContractError.WrongPhase


# Opening


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("small", Phase.COMMIT), ("revealing", Phase.REVEAL), ("attesting", Phase.ATTEST)],
)
def test_no_round_opens_while_another_is_in_progress(
    request: pytest.FixtureRequest, phase: str, expected: Phase
) -> None:
    federation: Standing = request.getfixturevalue(phase)
    refused = refusal(federation, federation.keeper_key, federation.federation.open_round())
    assert (refused.error, refused.arguments) == (ContractError.RoundInProgress, (int(expected),))


def test_a_round_does_not_open_before_its_seed_block(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    federation = SmallFederation(tmp_path_factory.mktemp("seeding"), parties=1)
    federation.send(federation.keeper_key, federation.federation.open_round())
    seed_block = federation.observe().current.seed_block
    refused = refusal(federation, federation.keeper_key, federation.federation.open_round())
    assert (refused.error, refused.arguments) == (ContractError.SeedPending, (seed_block,))


# Attesting


def result_of(federation: SmallFederation, **changes: Any) -> Result:
    (result,) = federation.federation.proposed_results(0).values()
    return dataclasses.replace(result, **changes)


def attest(federation: SmallFederation, key: LocalSigner, result: Result) -> Call:
    signature = federation.federation.sign_result(key, result)
    return federation.federation.attest(result, [signature])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"round": 2}, ContractError.WrongRound),
        ({"updates_hash": b"\1" * 32}, ContractError.StaleResult),
        ({"base_root": b"\1" * 32}, ContractError.StaleResult),
        ({"included": 0}, ContractError.InvalidBitmap),
        ({"included": 0b100}, ContractError.InvalidBitmap),
        ({"included": 1 << 127 | 1}, ContractError.InvalidBitmap),
        ({"global_root": ZERO}, ContractError.ZeroRoot),
        ({"global_cid": Cid(ZERO, 0x70)}, ContractError.InvalidCid),
    ],
    ids=str,
)
def test_a_result_that_cannot_be_right_is_refused(
    attesting: Standing, change: dict[str, Any], error: ContractError
) -> None:
    key = attesting.aggregators[1]
    call = attest(attesting, key, result_of(attesting, **change))
    assert refusal(attesting, key, call).error is error


def test_a_result_for_another_round_is_told_so(attesting: Standing) -> None:
    key = attesting.aggregators[1]
    refused = refusal(attesting, key, attest(attesting, key, result_of(attesting, round=2)))
    assert refused.message == "The result is for another round. [WrongRound(round 1)]"


def test_a_second_signature_for_a_result_is_refused(attesting: Standing) -> None:
    key = attesting.aggregators[0]
    refused = refusal(attesting, key, attest(attesting, key, result_of(attesting)))
    assert (refused.error, refused.reason) == (
        ContractError.NothingAccepted,
        ContractError.AlreadyAttested,
    )


@pytest.mark.parametrize("who", ["outsider", "party"])
def test_only_an_aggregator_attests(attesting: Standing, who: str) -> None:
    key = attesting.outsider if who == "outsider" else attesting.parties[0]
    refused = refusal(attesting, key, attest(attesting, key, result_of(attesting)))
    assert (refused.error, refused.reason) == (
        ContractError.NothingAccepted,
        ContractError.NotAnAggregator,
    )


def test_a_result_in_the_reveal_phase_is_too_early(revealing: Standing) -> None:
    seen = revealing.observe().current
    result = Result(1, seen.updates_hash, seen.base_root, 1, b"\1" * 32, Cid(b"\2" * 32, 0x55))
    key = revealing.aggregators[0]
    assert refusal(revealing, key, attest(revealing, key, result)).error is ContractError.WrongPhase


def test_nothing_was_spent_on_what_was_refused(attesting: Standing) -> None:
    full = 1_000 * ETHER
    assert balance_of(attesting.chain.web3, attesting.outsider.address) == full
