"""A federation is one only if what it links is this package's: that decides its disputes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from eth_typing import HexAddress, HexStr
from eth_utils.address import to_canonical_address
from support.federation import SmallFederation
from web3.types import Nonce
from web3.utils.address import get_create_address

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.federation import Call, Federation, NoFederation
from fl_orchestrator.chain.deployment.migrate import is_deployed_here

LIBRARY = load_artifact("DisputeLogic")
ARTIFACT = load_artifact("Federation")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    return SmallFederation(tmp_path_factory.mktemp("federation"), register=False)


def deploy(small: SmallFederation, creation_code: bytes) -> str:
    address = small.send(small.outsider, Call(None, creation_code, 0, "deploy")).contract_address
    assert address is not None
    return address


def leaving(code: bytes) -> bytes:
    """Creation code that leaves ``code`` behind."""
    return bytes.fromhex(f"63{len(code):08x}80600e6000396000f3") + code


def federation_with(small: SmallFederation, library: bytes) -> str:
    factory = small.chain.web3.eth.contract(
        abi=ARTIFACT.abi, bytecode=ARTIFACT.linked({"DisputeLogic": library})
    )
    data = factory.constructor(to_abi(small.params)).data_in_transaction
    return deploy(small, bytes.fromhex(data[2:]))


def code_at(small: SmallFederation, address: bytes | str) -> bytes:
    web3 = small.chain.web3
    return bytes(web3.eth.get_code(web3.to_checksum_address(address)))


def genuine_library(small: SmallFederation) -> bytes:
    return small.federation.libraries["DisputeLogic"]


def lying(small: SmallFederation) -> bytes:
    """A library in which one instruction is another."""
    code = code_at(small, genuine_library(small))
    return to_canonical_address(deploy(small, leaving(code[:-1] + bytes([code[-1] ^ 1]))))


def failing(small: SmallFederation) -> bytes:
    """The right code, which takes every call by a federation for a call from outside.

    It has the address of the federation that is deployed next for its own.
    """
    outsider = small.outsider.address
    web3 = small.chain.web3
    nonce = web3.eth.get_transaction_count(web3.to_checksum_address(outsider))
    victim = to_canonical_address(
        get_create_address(HexAddress(HexStr(outsider)), Nonce(nonce + 1))
    )
    code = bytearray(LIBRARY.runtime_code)
    (hole,) = LIBRARY.runtime_links["DisputeLogic"]
    code[hole.start : hole.start + hole.length] = victim
    return to_canonical_address(deploy(small, leaving(bytes(code))))


def absent(small: SmallFederation) -> bytes:
    return to_canonical_address(small.parties[0].address)


def federation_itself(small: SmallFederation) -> bytes:
    return to_canonical_address(small.federation.address)


@pytest.mark.parametrize("library", [lying, failing, absent, federation_itself])
def test_a_federation_linked_to_another_library_is_refused(
    small: SmallFederation, library: Callable[[SmallFederation], bytes]
) -> None:
    address = federation_with(small, library(small))
    assert ARTIFACT.runs_as(code_at(small, address))
    with pytest.raises(NoFederation, match=f"at {address} is linked to another DisputeLogic"):
        Federation(small.chain.web3, address)


def test_a_federation_linked_to_a_second_copy_of_the_library_is_taken(
    small: SmallFederation,
) -> None:
    library = to_canonical_address(deploy(small, LIBRARY.linked({})))
    assert library != genuine_library(small)
    federation = Federation(small.chain.web3, federation_with(small, library))
    assert federation.libraries == {"DisputeLogic": library}
    assert is_deployed_here(federation)


@pytest.mark.parametrize("place", range(len(ARTIFACT.runtime_links["DisputeLogic"])))
def test_code_that_calls_another_library_in_one_place_is_no_federation(
    small: SmallFederation, place: int
) -> None:
    code = bytearray(code_at(small, small.federation.address))
    hole = ARTIFACT.runtime_links["DisputeLogic"][place]
    code[hole.start : hole.start + hole.length] = to_canonical_address(small.outsider.address)
    address = deploy(small, leaving(bytes(code)))
    with pytest.raises(NoFederation):
        Federation(small.chain.web3, address)


def test_a_deployment_with_other_creation_code_is_none_whatever_it_links(
    small: SmallFederation,
) -> None:
    copied = deploy(small, leaving(code_at(small, small.federation.address)))
    assert is_deployed_here(small.federation)
    assert not is_deployed_here(Federation(small.chain.web3, copied))
