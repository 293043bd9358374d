"""The typed view of a contract: what it reads and signs is what the contract has and checks."""

from typing import Any

import pytest
from eth_account import Account
from support.federation import SmallFederation

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.federation import Attestation, Call, Federation, NoFederation
from fl_orchestrator.chain.contract.reverts import ContractReverted, RequestRefused
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result, commit_digest, result_digest

RESULT = Result(7, b"\1" * 32, b"\2" * 32, 1 << 127 | 5, b"\3" * 32, Cid(bytes(range(32)), 0x70))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    return SmallFederation(tmp_path_factory.mktemp("federation"), parties=2)


def contract(small: SmallFederation) -> Any:
    abi = load_artifact("Federation").abi
    address = small.federation.address
    return small.chain.web3.eth.contract(address=address, abi=abi).functions


def recovered(digest: bytes, signature: Any) -> str:
    vs = int.from_bytes(signature.vs, "big")
    v, s = 27 + (vs >> 255), vs & (1 << 255) - 1
    vrs = (v, int.from_bytes(signature.r, "big"), s)
    return str(Account._recover_hash(digest, vrs=vrs))


def test_the_parameters_come_back_as_they_were_deployed(small: SmallFederation) -> None:
    assert small.federation.params() == small.params


def test_parameters_that_are_known_are_there_in_an_outage(
    small: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = Federation(small.chain.web3, small.federation.address)
    known = federation.params()
    monkeypatch.setattr(federation.node, "call", None)
    assert federation.params() == known == small.params


def test_a_new_federation_has_its_genesis_for_a_head(small: SmallFederation) -> None:
    seen = small.observe(small.parties[0])
    assert (seen.current.round, seen.current.phase) == (0, Phase.IDLE)
    assert (seen.head.height, seen.head.round) == (0, 0)
    assert (seen.head.root, seen.head.cid) == (small.genesis.root, small.genesis.cid)
    assert seen.current.base_cid is None
    assert seen.head == small.federation.head() == small.federation.model(0)
    assert seen.party.stake == small.terms.min_party_stake
    assert seen.beneficiary == small.parties[0].address
    assert not seen.drawn
    assert seen.free_pot == 100 * small.terms.reward


def test_there_is_no_model_beyond_the_head(small: SmallFederation) -> None:
    with pytest.raises(ContractReverted, match=r"BeyondHead\(head height 0\)"):
        small.federation.model(1)


def test_nothing_is_known_of_a_result_that_nobody_signed(small: SmallFederation) -> None:
    assert small.federation.attestation(b"\7" * 32) == Attestation(0, 0, False)
    assert small.federation.proposed_results(0) == {}
    assert small.federation.accepted_digests(0) == {}
    assert small.federation.revealed_updates(1, 0) == []
    assert not small.federation.distributed(0)


def test_the_digest_of_a_result_is_the_contracts(small: SmallFederation) -> None:
    federation = small.federation
    expected = contract(small).resultDigest(to_abi(RESULT)).call()
    assert result_digest(federation.chain_id, federation.address, RESULT) == expected
    signature = federation.sign_result(small.aggregators[0], RESULT)
    assert recovered(expected, signature) == small.aggregators[0].address


def test_the_digest_of_a_commit_is_the_contracts(small: SmallFederation) -> None:
    federation, key = small.federation, small.parties[0]
    expected = contract(small).commitDigest(3, key.address, b"\5" * 32).call()
    own = commit_digest(federation.chain_id, federation.address, 3, key.address, b"\5" * 32)
    assert own == expected
    signed = federation.sign_commit(key, 3, b"\5" * 32)
    assert (signed.party, signed.commitment) == (key.address, b"\5" * 32)
    assert recovered(expected, signed) == key.address


def test_an_account_is_no_federation(small: SmallFederation) -> None:
    with pytest.raises(NoFederation, match="no federation of this version at 0x"):
        Federation(small.chain.web3, small.outsider.address)


def test_another_contract_is_no_federation(small: SmallFederation) -> None:
    other = Call(None, bytes.fromhex("6001600c60003960016000f300"), 0, "other")
    address = small.send(small.outsider, other).contract_address
    assert address is not None
    with pytest.raises(NoFederation):
        Federation(small.chain.web3, address)


def test_an_answer_that_does_not_decode_is_reported(
    small: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.federation.node, "call", lambda *_: b"\1\2\3")
    with pytest.raises(RequestRefused, match="answer to head is not what such a contract"):
        small.federation.head()


def test_an_answer_that_decodes_to_nonsense_is_reported(
    small: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small.federation.node, "call", lambda *_: b"\xff" * 1312)
    with pytest.raises(RequestRefused, match="answer to observe is not what such a contract"):
        small.observe()
