"""Disputes by their typed view: what is read, sent and found in the events is the contract's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.disputes import (
    accept_a_lie,
    liar,
    submit_updates,
    update_vector,
    vector_federation,
)
from support.federation import SmallFederation
from support.reorg import Fork

from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.event_types import (
    Answered,
    Demanded,
    FraudProven,
    RevealedUpdate,
    RoundRevoked,
    Slashed,
)
from fl_orchestrator.chain.types import Demand, Fraud, Phase, Role, Window
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.chunk_tree import Tree, chunk, tree_of
from fl_orchestrator.model.digests import Result, challenge_hash, result_digest
from fl_orchestrator.model.disputes.answers import nodes_below, path_above
from fl_orchestrator.model.disputes.proof import ChunkProof
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import VectorMeta, read_vector
from fl_orchestrator.roles.vectors import Origin

SALT = b"\7" * 32


class Case:
    """A result of round 1 that is wrong in coordinate 0, which the outsider disputes."""

    def __init__(self, small: SmallFederation, result: Result) -> None:
        self.small = small
        self.federation = small.federation
        self.index = RoundIndex(self.federation, small.deployment.block)
        self.result = result
        self.digest = result_digest(self.federation.chain_id, self.federation.address, self.result)
        self.terms = self.small.terms

    @property
    def block(self) -> int:
        return self.small.chain.web3.eth.block_number

    def look(self) -> RoundIndex:
        self.index.search_to(self.block)
        return self.index

    def act(self, call: Any) -> int:
        """Let the outsider send a call; return its block."""
        return self.small.send(self.small.outsider, call).block_number

    def vector(self, cid: Cid, meta: VectorMeta) -> NDArray[np.int32]:
        layout = self.small.manifest.layout
        with self.small.store.get(cid, 1 << 20) as stream:
            return read_vector(stream, layout, meta)[1]

    def model(self) -> tuple[NDArray[np.int32], Tree]:
        origin = Origin(self.federation.chain_id, self.federation.address)
        vector = self.vector(self.result.global_cid, origin.state(1))
        return vector, tree_of(self.small.manifest.layout, vector)

    def proofs(self) -> bytes:
        layout = self.small.manifest.layout
        numbers = {key.address: i for i, key in enumerate(self.small.parties)}
        parties = [numbers[update.party] for update in self.look().updates(1)]
        updates = [update_vector(self.small, party, 1) for party in parties]
        base = self.vector(self.small.genesis.cid, VectorMeta.genesis())
        vectors: list[NDArray[Any]] = [*updates, base, self.model()[0]]
        trees = ((v, tree_of(layout, v)) for v in vectors)
        proofs = (ChunkProof(0, chunk(layout, v, 0), tree.proof(0)) for v, tree in trees)
        return b"".join(proof.packed() for proof in proofs)

    def challenge(self, coordinate: int = 0) -> int:
        """Register and send a challenge; return its block."""
        by = self.small.outsider.address
        registered = challenge_hash(by, 1, self.digest, coordinate, SALT)
        self.act(self.federation.register_challenge(registered))
        self.small.chain.mine()
        updates = self.look().updates(1)
        return self.act(
            self.federation.challenge(self.result, updates, coordinate, self.proofs(), SALT)
        )


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Case:
    small = vector_federation(tmp_path_factory.mktemp("disputes"), aggregators=2)
    submit_updates(small)
    accept_a_lie(small)
    index = RoundIndex(small.federation, small.deployment.block)
    return Case(small, index.accepted(1, small.chain.web3.eth.block_number).result)


@pytest.fixture
def case(accepted: Case) -> Iterator[Case]:
    """The chain as it was when the wrong model had been accepted."""
    fork = Fork(accepted.small.chain)
    accepted.index = RoundIndex(accepted.federation, accepted.small.deployment.block)
    yield accepted
    fork.reorganise()


def test_a_round_that_nobody_disputes_has_a_window_and_no_disputes(case: Case) -> None:
    window = case.federation.window(1)
    end = window.attest_end + case.terms.challenge_period
    assert window == Window(True, window.attest_end, end, end, 0)
    assert window.attest_end > case.small.chain.now
    assert case.federation.window(2) == Window(False, 0, 0, 0, 0)
    assert case.federation.fraud(case.digest) == Fraud(None, 0, 0)
    assert case.federation.demand_by_id(1) is None
    assert case.federation.registered_at(bytes(32)) == 0
    for events in (case.federation.demands, case.federation.answers, case.federation.frauds):
        assert events(0) == []
    assert case.federation.revocations(0) == []
    assert case.federation.slashes(0) == []


def test_a_challenge_is_registered_under_the_hash_that_the_contract_asks_for(case: Case) -> None:
    hash_of_nobody = challenge_hash(case.small.parties[0].address, 1, case.digest, 0, SALT)
    case.act(case.federation.register_challenge(hash_of_nobody))
    case.small.chain.mine()
    call = case.federation.challenge(case.result, case.look().updates(1), 0, case.proofs(), SALT)
    with pytest.raises(ContractReverted, match="ChallengeNotRegistered"):
        case.act(call)
    own = challenge_hash(case.small.outsider.address, 1, case.digest, 0, SALT)
    block = case.act(case.federation.register_challenge(own))
    assert case.federation.registered_at(own) == block
    with pytest.raises(ContractReverted, match="not registered in an earlier block"):
        case.act(call)
    case.small.chain.mine()
    case.act(call)


def test_a_right_coordinate_is_no_fraud(case: Case) -> None:
    with pytest.raises(ContractReverted, match=r"correct at this coordinate\. \[NotFraud\]"):
        case.challenge(coordinate=1)


def test_a_proof_for_another_coordinate_is_refused_by_the_librarys_name_for_it(case: Case) -> None:
    with pytest.raises(ContractReverted, match=r"IndexOutOfTree\(index 8, depth 3\)"):
        case.challenge(coordinate=256 * 8)


def test_a_proven_fraud_revokes_the_round_and_its_signers_pay(case: Case) -> None:
    federation, outsider = case.federation, case.small.outsider.address
    block = case.challenge()
    proven = FraudProven(1, case.digest, outsider, block)
    assert federation.fraud(case.digest) == Fraud(outsider, 1, 0)
    assert federation.frauds(block) == federation.frauds(0, block, 1) == [proven]
    assert federation.frauds(0, block - 1) == federation.frauds(0, None, 2) == []
    assert federation.revocations(0) == [RoundRevoked(1, 1, block)]
    assert not federation.window(1).canonical
    assert dict(case.look().frauds) == {case.digest: proven}
    assert dict(case.look().revocations) == {1: RoundRevoked(1, 1, block)}

    stake = case.terms.min_aggregator_stake
    seats = {case.small.observe(key).aggregator.seat: key for key in case.small.aggregators}
    slashes = []
    for seat, key in seats.items():
        block = case.act(federation.slash_signer(case.digest, seat))
        slashes.append(Slashed(key.address, Role.AGGREGATOR, 1, stake, stake // 2, block))
        assert case.small.observe(key).aggregator.stake == 0
    assert federation.slashes(0) == federation.slashes(0, None, 1) == slashes
    assert federation.slashes(0, None, 2) == []
    assert federation.fraud(case.digest).slashed == sum(1 << seat for seat in seats)
    assert case.small.observe(case.small.outsider).credit == len(seats) * stake // 2
    with pytest.raises(ContractReverted, match="NotSlashable"):
        case.act(federation.slash_signer(case.digest, 0))


def test_a_result_that_was_not_accepted_is_found_and_disputed_without_a_revocation(
    tmp_path: Path,
) -> None:
    small = vector_federation(tmp_path, aggregators=2)
    submit_updates(small)
    liar(small, 0).step()
    ((digest, wrong),) = small.federation.proposed_results(0).items()
    small.run(
        [small.aggregator(0), small.aggregator(1)], lambda o: o.current.phase is Phase.ACCEPTED
    )
    case = Case(small, wrong)
    proposed = case.look().proposed(1)
    assert set(proposed) == {digest, case.index.accepted_digests[1]}
    assert proposed[digest] == wrong != case.index.accepted(1, case.block).result
    case.challenge()
    assert set(case.look().frauds) == {digest}
    assert dict(case.index.revocations) == {}
    assert case.federation.window(1).canonical
    assert not case.federation.attestation(digest).accepted


def test_the_round_that_takes_a_revoked_height_is_told_from_it(case: Case) -> None:
    case.challenge()
    submit_updates(case.small, 2)
    case.small.run(
        [case.small.aggregator(0), case.small.aggregator(1)],
        lambda o: o.head.round == 2,
    )
    head = case.federation.head()
    assert (head.height, head.round) == (1, 2)
    index = case.look()
    assert set(index.accepted_digests) == {1, 2}
    assert index.accepted(1, case.block).result == case.result
    assert index.accepted(2, case.block).result.global_root == head.root
    assert set(index.revocations) == {1}
    assert [len(index.updates(number)) for number in (1, 2)] == [3, 3]
    assert (case.federation.window(1).canonical, case.federation.window(2).canonical) == (
        False,
        True,
    )


def test_a_descent_is_followed_from_the_root_to_a_chunk(case: Case) -> None:
    federation, outsider = case.federation, case.small.outsider.address
    vector, tree = case.model()
    bond, period = case.terms.demand_bond, case.terms.answer_period
    block = case.act(federation.demand(1, 3, 0, bond + 5))
    until = case.small.chain.now + period
    assert federation.demand_by_id(1) == Demand(outsider, bond, None, until, 1, 3, False, 0)
    first = Demanded(1, 1, outsider, 3, 0, 0, bond, until, block)
    assert federation.demands(0) == federation.demands(block, block, 1) == [first]
    assert case.small.observe(case.small.outsider).credit == 5
    window = federation.window(1)
    assert (window.open_descents, window.canonical) == (1, True)
    assert window.final_at == window.window_end + 2 * period * 3
    assert dict(case.look().demands) == {1: first}

    key = case.small.aggregators[0]
    content = nodes_below(tree, 3, 0)
    answer = federation.answer(1, content, path_above(tree, 3, 0))
    block = case.small.send(key, answer).block_number
    answered = Answered(1, 1, key.address, content, block)
    assert federation.answers(0) == federation.answers(0, None, 1) == [answered]
    shown = federation.demand_by_id(1)
    assert shown is not None
    assert (shown.answerer, shown.until) == (key.address, case.small.chain.now + period)
    assert dict(case.look().answers) == {1: answered}

    block = case.act(federation.descend(1, 2, bond))
    second = Demanded(1, 2, outsider, 0, 2, 1, bond, case.small.chain.now + period, block)
    assert federation.demands(0) == [first, second]
    assert dict(case.look().demands) == {1: first, 2: second}
    last = chunk(case.small.manifest.layout, vector, 2)
    case.small.send(key, federation.answer(2, last, path_above(tree, 0, 2)))
    assert [a.content for a in federation.answers(0)] == [content, last]
    assert federation.window(1).open_descents == 0
    assert set(case.look().demands) == set(case.index.answers) == {1, 2}


def test_an_answer_with_another_node_is_refused(case: Case) -> None:
    _, tree = case.model()
    case.act(case.federation.demand(1, 3, 0, case.terms.demand_bond))
    content = bytes(32) + nodes_below(tree, 3, 0)[32:]
    with pytest.raises(ContractReverted, match="WrongAnswer"):
        case.act(case.federation.answer(1, content, b""))


def test_a_demand_below_its_bond_is_refused_with_the_bond(case: Case) -> None:
    bond = case.terms.demand_bond
    with pytest.raises(ContractReverted, match=r"BondTooLow\(paid 0.0\d*9 ETH, bond 0.01 ETH\)"):
        case.act(case.federation.demand(1, 3, 0, bond - 1))


def test_a_demand_that_nobody_answers_makes_the_result_guilty(case: Case) -> None:
    federation, outsider = case.federation, case.small.outsider.address
    case.act(federation.demand(1, 0, 4, case.terms.demand_bond))
    with pytest.raises(ContractReverted, match="NotOverdue"):
        case.act(federation.expire(1, case.result))
    case.small.pass_until(case.small.chain.now + case.terms.answer_period)
    block = case.act(federation.expire(1, case.result))
    assert case.look().frauds[case.digest] == FraudProven(1, case.digest, outsider, block)
    assert 1 in case.index.revocations
    assert (list(case.index.demands), dict(case.index.answers)) == ([1], {})
    case.act(federation.settle_bond(1))
    assert federation.demand_by_id(1) is None
    assert case.small.observe(case.small.outsider).credit == case.terms.demand_bond


def test_a_descent_that_is_left_is_closed_and_its_bond_settled_when_the_round_is_final(
    case: Case,
) -> None:
    federation, (_, tree) = case.federation, case.model()
    case.act(federation.demand(1, 3, 0, case.terms.demand_bond))
    key = case.small.aggregators[0]
    case.small.send(key, federation.answer(1, nodes_below(tree, 3, 0), b""))
    with pytest.raises(ContractReverted, match="NotOverdue"):
        case.act(federation.close_descent(1))
    case.small.pass_until(case.small.chain.now + case.terms.answer_period)
    case.act(federation.close_descent(1))
    shown = federation.demand_by_id(1)
    assert shown is not None
    assert shown.ended
    assert federation.window(1).open_descents == 0
    with pytest.raises(ContractReverted, match="NotFinal"):
        case.act(federation.settle_bond(1))
    case.small.pass_until(federation.window(1).final_at)
    case.act(federation.finalize())
    case.act(federation.settle_bond(1))
    assert case.small.observe(key).credit == case.terms.demand_bond // 2


@pytest.mark.parametrize(("depth", "proof_bytes"), [(19, 115_264), (21, 121_792)])
def test_a_challenge_of_a_hundred_updates_fits_a_transaction(
    case: Case, depth: int, proof_bytes: int
) -> None:
    layout = Layout.of([("w", [256], 0)], depth=depth)
    update, model = (
        ChunkProof(0, chunk(layout, vector, 0), tree_of(layout, vector).proof(0)).packed()
        for vector in (np.ones(256, np.int16), np.ones(256, np.int32))
    )
    proofs = 100 * update + 2 * model
    assert len(proofs) == proof_bytes
    counted = [
        RevealedUpdate(1, key.address, i, 255, bytes([i]) * 32, case.result.global_cid)
        for i, key in enumerate((case.small.parties * 34)[:100])
    ]
    result = dataclasses.replace(case.result, round=2**32 - 1, included=2**100 - 1)
    call = case.federation.challenge(result, counted, 256 * 2**depth - 1, proofs, SALT)
    most = {"nonce": 2**64 - 2, "gas": 2**24, "value": 0, "to": call.to, "data": call.data}
    fees = {"maxFeePerGas": 2**64 - 1, "maxPriorityFeePerGas": 2**64 - 1, "chainId": 2**53}
    assert len(case.small.outsider.sign_transaction({**most, **fees})) <= 131_072
