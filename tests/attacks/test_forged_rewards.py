"""Somebody asks others to fund a pot that has the right code, and is not what the code says.

The code at an address does not tell how it began. Other creation code can leave it with a credit of
its author, or with another federation in the place where the seats are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_canonical_address
from support.federation import SmallFederation
from support.flo import PASSWORD, Finished, flo, write_key

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.deployment import creation
from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.nodes.refusal import RequestRefused
from fl_orchestrator.members.shares import ForgedShares, open_shares, require_genuine
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.units import ETHER

ARTIFACT = load_artifact("RewardShares")
# The slot of `creditOf`, behind those of the pot and the number.
CREDITS = 2


class Pots:
    """A federation, and pots beside it: a thief deploys some of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.small = SmallFederation(directory, register=False)
        self.thief = self.small.outsider

    def deployed(self, code: bytes) -> str:
        address = self.small.send(self.thief, Call(None, code, 0, "deploy")).contract_address
        assert address is not None
        return address

    def genuine(self, federation: str = "") -> str:
        place = to_canonical_address(federation or self.small.federation.address)
        return self.deployed(ARTIFACT.linked({}) + place.rjust(32, b"\0"))

    def code(self) -> bytes:
        return bytes(self.small.chain.web3.eth.get_code(self.as_checksummed(self.genuine())))

    def as_checksummed(self, address: str) -> Any:
        return self.small.chain.web3.to_checksum_address(address)

    def with_credit(self, wei: int) -> str:
        """The pot's code, which begins with a credit of the thief."""
        account = to_canonical_address(self.thief.address).rjust(32, b"\0")
        slot = keccak256(account + CREDITS.to_bytes(32, "big"))
        store = b"\x7f" + wei.to_bytes(32, "big") + b"\x7f" + slot + b"\x55"
        return self.deployed(leaving(self.code(), store))

    def asking(self, other: str, place: int) -> str:
        """The pot's code, which asks another federation in one place."""
        hole, code = ARTIFACT.runtime_holes[place], bytearray(self.code())
        code[hole.start : hole.start + hole.length] = to_canonical_address(other).rjust(32, b"\0")
        return self.deployed(leaving(bytes(code)))

    def run(self, *arguments: Any) -> Finished:
        """`flo rewards`, as the owner."""
        key, home = self.directory / "owner.json", self.directory / "home"
        write_key(key, hashlib.sha256(b"test key of owner").digest())
        password = self.directory / "password"
        password.write_text(PASSWORD + "\n")
        site = ("--deployments", self.directory / "deployments", "--home", home)
        return flo("rewards", *arguments, *site, "--key", key, "--password-file", password)


def leaving(code: bytes, before: bytes = b"") -> bytes:
    """Creation code that does something and leaves ``code`` behind."""
    at = len(before) + 14
    head = f"63{len(code):08x}8060{at:02x}6000396000f3"
    return before + bytes.fromhex(head) + code


@pytest.fixture(scope="module")
def pots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pots]:
    made = Pots(tmp_path_factory.mktemp("forged"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "reach", lambda *_: Node(made.small.chain.web3))
        yield made


def test_a_pot_that_begins_with_a_credit_of_its_author_is_not_funded(pots: Pots) -> None:
    forged = pots.with_credit(ETHER)
    # It is what everybody can see of a pot, and it would pay.
    contract = open_shares(forged, pots.directory, pots.small.federation).contract
    assert contract.credit_of(pots.thief.address) == ETHER
    pots.run("fund", "1", "--rewards", forged).refused(1, "not deployed by `flo rewards create`")
    assert contract.pot() == 0


@pytest.mark.parametrize("place", range(len(ARTIFACT.runtime_holes)))
def test_a_pot_that_asks_another_federation_anywhere_is_not_funded(pots: Pots, place: int) -> None:
    forged = pots.asking(pots.thief.address, place)
    assert pots.run("fund", "1", "--rewards", forged).code != 0
    assert pots.small.chain.web3.eth.get_balance(pots.as_checksummed(forged)) == 0


def test_a_pot_that_somebody_else_deployed_rightly_is_funded(pots: Pots) -> None:
    pots.small.chain.mine()
    pot = pots.genuine()
    pots.small.chain.mine()
    pots.run("fund", "1", "--rewards", pot).succeeded()
    assert open_shares(pot, pots.directory, pots.small.federation).contract.pot() == ETHER


def test_a_pot_that_is_recorded_needs_no_old_states(
    pots: Pots, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = pots.run("create", "--json").succeeded().json["rewards"]

    def pruned(*_: Any) -> bool:
        raise RequestRefused("missing trie node", "")

    monkeypatch.setattr(creation, "creates_in", pruned)
    pots.run("fund", "1").succeeded()
    pots.run("fund", "1", "--rewards", created.lower()).succeeded()
    opened = open_shares(pots.genuine(), pots.directory, pots.small.federation)
    with pytest.raises(ForgedShares, match="cannot be checked who deployed"):
        require_genuine(opened, pots.small.federation)
