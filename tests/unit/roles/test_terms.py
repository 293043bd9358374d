"""The terms of a federation: what is refused here is what the contract would refuse."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.federation import signer, small_manifest

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted, RevertDecoder
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Params
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.roles.setup import (
    Genesis,
    ImpossibleFederation,
    Terms,
    federation_params,
)
from fl_orchestrator.units import ETHER

OWNER = signer("owner")
GENESIS = Genesis(b"\2" * 32, Cid(b"\1" * 32, RAW))


def params_of(**terms: Any) -> Params:
    return federation_params(small_manifest(), GENESIS, Terms(**terms))


@pytest.fixture(scope="module")
def sender() -> Sender:
    chain = DevelopmentChain({OWNER.address: ETHER})
    return Sender(chain.web3, OWNER, RevertDecoder.of_artifact("Federation"))


def check(sender: Sender, params: Params) -> None:
    """Raise what deploying a federation with these parameters would raise."""
    artifact = load_artifact("Federation")
    factory = sender.web3.eth.contract(
        abi=artifact.abi, bytecode=artifact.linked({"DisputeLogic": b"\xff" * 20})
    )
    data = factory.constructor(to_abi(params)).data_in_transaction
    sender.check(Call(None, bytes.fromhex(data[2:]), 0, "deploy"))


@pytest.mark.parametrize(
    ("terms", "min_updates", "max_updates"),
    [
        ({"max_parties": 1, "participants": 1}, 1, 1),
        ({"max_parties": 2, "participants": 2}, 1, 2),
        ({"max_parties": 3, "participants": 3}, 2, 3),
        ({"max_parties": 3, "participants": 5}, 2, 5),
        ({"max_parties": 5, "participants": 5}, 2, 5),
        ({"max_parties": 9, "participants": 3}, 1, 10),
        ({"max_parties": 10, "participants": 10}, 5, 10),
        ({"max_parties": 10, "participants": 10, "min_updates": 10}, 10, 10),
        ({"max_parties": 100, "participants": 100}, 50, 100),
        # Sampled: participants + ceil(4 sqrt(participants))
        ({"max_parties": 10, "participants": 4}, 2, 12),
        ({"max_parties": 1000, "participants": 10}, 5, 23),
        ({"max_parties": 1000, "participants": 64}, 32, 96),
        ({"max_parties": 6, "participants": 5, "open_admission": True}, 2, 14),
    ],
)
def test_the_room_for_updates_follows_from_the_terms(
    sender: Sender, terms: dict[str, Any], min_updates: int, max_updates: int
) -> None:
    params = params_of(**terms)
    assert (params.min_updates, params.max_updates) == (min_updates, max_updates)
    check(sender, params)


@pytest.mark.parametrize(
    "terms",
    [
        {"max_parties": 0, "participants": 0},
        {"max_parties": 5, "participants": 0},
        {"max_parties": 101, "participants": 101},
        {"max_parties": 1000, "participants": 80},
        {"max_parties": 5, "participants": 5, "min_updates": 6},
        {"max_parties": 3, "participants": 5, "min_updates": 4},
        {"max_parties": 10, "participants": 4, "min_updates": 3},
        {"max_parties": 1000, "participants": 1},
        {"max_parties": 5, "participants": 5, "open_admission": True},
    ],
    ids=str,
)
def test_numbers_that_contradict_each_other_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ImpossibleFederation) as refusal:
        params_of(**terms)
    assert refusal.value.message.endswith(".")


@settings(max_examples=40, deadline=None)
@given(
    max_parties=st.one_of(st.integers(1, 120), st.just(2**32 - 1)),
    participants=st.integers(1, 110),
    min_updates=st.integers(0, 101),
    open_admission=st.booleans(),
)
@example(max_parties=100, participants=100, min_updates=100, open_admission=False)
@example(max_parties=101, participants=67, min_updates=33, open_admission=True)
def test_what_passes_here_passes_the_contract(sender: Sender, **terms: Any) -> None:
    try:
        params = params_of(**terms)
    except ImpossibleFederation:
        return
    check(sender, params)


@pytest.mark.parametrize(
    ("terms", "what"),
    [
        ({"commit_period": 0}, "commitPeriod"),
        ({"reveal_period": 2**31 + 1}, "revealPeriod"),
        ({"attest_period": 0}, "attestPeriod"),
        ({"unbond_period": 0}, "unbondPeriod"),
        ({"challenge_period": 1199, "answer_period": 600}, "challengePeriod"),
        ({"min_party_stake": 0}, "minPartyStake"),
        ({"min_aggregator_stake": 0}, "minAggregatorStake"),
        ({"aggregator_share_bps": 10_001}, "aggregatorShareBps"),
        ({"unrevealed_slash_bps": 10_001}, "unrevealedSlashBps"),
        ({"fraud_slash_bps": 10_001}, "fraudSlashBps"),
    ],
)
def test_the_contract_names_the_term_that_it_refuses(
    sender: Sender, terms: dict[str, Any], what: str
) -> None:
    with pytest.raises(ContractReverted, match=rf"InvalidParams\({what}\)"):
        check(sender, params_of(max_parties=3, participants=3, **terms))
