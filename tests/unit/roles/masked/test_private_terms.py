"""The terms of a private federation: what is refused here is what the contract would refuse."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.federation import signer, small_manifest
from support.private_federation import packed_manifest

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted, RevertDecoder
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Params, PrivateParams
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.manifest import Manifest, RuleSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.manifests import ManifestMismatch, require_masked
from fl_orchestrator.roles.masked.terms import (
    NotPrivate,
    PrivateTerms,
    for_private,
    private_params,
    require_plain_manifest,
    require_seats,
)
from fl_orchestrator.roles.setup import Genesis, Terms, federation_params
from fl_orchestrator.units import ETHER

OWNER = signer("owner")
GENESIS = Genesis(b"\2" * 32, Cid(b"\1" * 32, RAW))
FIVE = Terms(max_parties=5, participants=5)
LIBRARIES = dict.fromkeys(("DisputeLogic", "Claims", "MaskedDisputes"), b"\xff" * 20)


def params_of(
    terms: Terms = FIVE, manifest: Manifest | None = None, **private: Any
) -> tuple[Params, PrivateParams]:
    masked = PrivateTerms(**private)
    manifest = manifest or packed_manifest()
    params = federation_params(manifest, GENESIS, for_private(terms, masked))
    return params, private_params(manifest, params, masked)


@pytest.fixture(scope="module")
def sender() -> Sender:
    chain = DevelopmentChain({OWNER.address: ETHER})
    return Sender(chain.web3, OWNER, RevertDecoder.of_artifact("PrivateFederation"))


def check(sender: Sender, params: Params, private: PrivateParams) -> None:
    """Raise what deploying a private federation with these parameters would raise."""
    artifact = load_artifact("PrivateFederation")
    bytecode = artifact.linked(LIBRARIES)
    factory = sender.web3.eth.contract(abi=artifact.abi, bytecode=bytecode)
    data = factory.constructor(to_abi(params), to_abi(private)).data_in_transaction
    sender.check(Call(None, bytes.fromhex(data[2:]), 0, "deploy"))


@pytest.mark.parametrize(
    ("terms", "private", "words"),
    [
        ({"open_admission": True}, {}, "admits each party"),
        ({"max_parties": 2, "participants": 2}, {}, "at least 3 parties, not 2"),
        ({"min_updates": 2}, {}, "no sum of fewer than 3 updates"),
        ({"max_parties": 20, "participants": 8}, {}, "draws 8 of 20 parties needs --relock"),
        ({"max_parties": 89, "participants": 89}, {}, "room for 88 updates, not for 89"),
        ({}, {"step_limit": 0}, "--step-limit is 0; it must be 1 to 32767"),
        ({}, {"step_limit": 32_768}, "--step-limit is 32768"),
        ({}, {"claim_period": 0}, "--claim-period is 0"),
        ({}, {"secrecy": 0}, "--secrecy is 0; it must be 1 or 2"),
        ({}, {"secrecy": 3}, "--secrecy is 3"),
    ],
)
def test_terms_that_keep_no_secret_are_refused_in_a_sentence(
    terms: dict[str, Any], private: dict[str, Any], words: str
) -> None:
    with pytest.raises(NotPrivate, match=re.escape(words)):
        params_of(replace(FIVE, **terms), **private)


@pytest.mark.parametrize("kind", [RuleKind.MEDIAN, RuleKind.TRIMMED_MEAN])
def test_a_rule_that_needs_every_update_is_refused(kind: RuleKind) -> None:
    manifest = packed_manifest(rule=RuleSpec.of(kind))
    with pytest.raises(NotPrivate, match=rf"cannot have the rule {kind.label}.*only their sum"):
        params_of(manifest=manifest)


def test_a_manifest_of_the_other_kind_is_refused() -> None:
    with pytest.raises(NotPrivate, match="its layout is not packed"):
        params_of(manifest=small_manifest())
    with pytest.raises(NotPrivate, match="made for a private federation") as refused:
        require_plain_manifest(packed_manifest())
    assert "Give --private" in str(refused.value.hint)
    require_plain_manifest(small_manifest())


def test_a_contract_that_does_not_mask_all_values_is_refused() -> None:
    manifest = packed_manifest()
    _, private = params_of(manifest=manifest)
    require_masked(manifest, private)
    assert private.parameters == sum(tensor.size for tensor in manifest.layout.tensors)
    for parameters in (private.parameters - 1, private.parameters + 1):
        with pytest.raises(
            ManifestMismatch, match=f"masks {parameters} values; its manifest is of"
        ):
            require_masked(manifest, replace(private, parameters=parameters))
    with pytest.raises(ManifestMismatch, match="its manifest is not packed"):
        require_masked(small_manifest(), private)


@pytest.mark.parametrize(
    ("stakes", "secrecy", "refused"),
    [
        ([], 2, "1 to 10 aggregators, not 0"),
        ([1] * 11, 2, "1 to 10 aggregators, not 11"),
        ([1], 2, "alone"),
        ([1, 1], 2, ""),
        ([1, 1], 1, "alone"),
        ([1, 1, 1], 1, ""),
        ([5, 1, 1], 2, "alone"),
        ([4, 1, 1], 2, ""),
        ([4, 1, 1, 1], 1, "alone"),
        ([1] * 10, 1, ""),
    ],
)
def test_seats_of_which_one_reads_alone_are_refused(
    stakes: list[int], secrecy: int, refused: str
) -> None:
    if not refused:
        require_seats(stakes, secrecy)
        return
    with pytest.raises(NotPrivate, match=refused):
        require_seats(stakes, secrecy)


def test_the_least_number_of_updates_is_three_or_half_of_the_parties() -> None:
    for parties, least in ((3, 3), (5, 3), (7, 3), (8, 4), (88, 44)):
        params, _ = params_of(Terms(max_parties=parties, participants=parties))
        assert (params.min_updates, params.max_updates) == (least, parties)


@given(
    max_parties=st.one_of(st.integers(1, 100), st.just(2**32 - 1)),
    participants=st.integers(1, 100),
    min_updates=st.integers(0, 90),
    open_admission=st.booleans(),
    relock=st.booleans(),
    secrecy=st.integers(0, 3),
    step_limit=st.sampled_from([0, 1, 32_767, 32_768]),
    claim_period=st.sampled_from([0, 1, 2**31, 2**31 + 1]),
)
@example(
    max_parties=88,
    participants=88,
    min_updates=88,
    open_admission=False,
    relock=False,
    secrecy=2,
    step_limit=1,
    claim_period=2**31,
)
@example(
    max_parties=2**32 - 1,
    participants=58,
    min_updates=29,
    open_admission=False,
    relock=True,
    secrecy=1,
    step_limit=32_767,
    claim_period=1,
)
def test_what_passes_here_passes_the_contract(
    sender: Sender,
    max_parties: int,
    participants: int,
    min_updates: int,
    open_admission: bool,
    **private: Any,
) -> None:
    terms = Terms(max_parties, participants, min_updates, open_admission)
    try:
        params, own = params_of(terms, **private)
    except InputError:
        return
    check(sender, params, own)


def test_the_contract_names_what_it_refuses(sender: Sender) -> None:
    params, private = params_of()
    for what, wrong, own in (
        ("rule", replace(params, rule=RuleKind.MEDIAN), private),
        ("minUpdates", replace(params, min_updates=2), private),
        ("maxUpdates", replace(params, max_updates=89), private),
        ("parameters", params, replace(private, parameters=0)),
        ("stepLimit", params, replace(private, step_limit=32_768)),
        ("claimPeriod", params, replace(private, claim_period=0)),
        ("secrecy", params, replace(private, secrecy=3)),
    ):
        with pytest.raises(ContractReverted, match=rf"InvalidParams\({what}\)"):
            check(sender, wrong, own)
