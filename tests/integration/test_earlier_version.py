"""Federations of the last release: this flo shows, verifies and pays out; else it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site, secret_of
from support.earlier import (
    EarlierFederation,
    EarlierPrivateFederation,
    deploy_release,
    last_release,
    record_as_then,
)
from support.federation import SmallFederation, consortium
from support.flo import PASSWORD, Finished, finish, flo, start_flo, write_key

import fl_orchestrator
from fl_orchestrator.artifacts import CONTRACTS_VERSION, load_artifact, releases
from fl_orchestrator.chain.contract.code.found import NoFederation, OtherVersion
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.private import PrivateFederation, open_federation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Role
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.setup import federation_params, publish
from fl_orchestrator.training.numpy_logistic import initial_weights

Flo = Callable[..., Finished]
EARLIER = last_release().version
OURS = f"this flo {fl_orchestrator.__version__} runs federations of {CONTRACTS_VERSION}"


def key_file(directory: Path, name: str) -> list[str]:
    """Write the key of a member into a file; the options that name it."""
    path, password = directory / f"{name}.json", directory / "password"
    write_key(path, secret_of(name))
    password.write_text(PASSWORD + "\n")
    return ["--key", str(path), "--password-file", str(password)]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> EarlierFederation:
    """A federation of the last release after two rounds, of which the first is final."""
    federation = EarlierFederation(tmp_path_factory.mktemp("old"), parties=3)
    run_two_rounds(federation)
    return federation


@pytest.fixture(scope="module")
def old_private(tmp_path_factory: pytest.TempPathFactory) -> EarlierPrivateFederation:
    federation = EarlierPrivateFederation(tmp_path_factory.mktemp("private"))
    run_two_rounds(federation)
    return federation


def run_two_rounds(federation: SmallFederation) -> None:
    roles = federation.everybody(federation.mailbox)
    for number in (1, 2):
        federation.run_round(roles, number)
    federation.pass_until(federation.observe().finalizable_at)
    federation.send(federation.outsider, federation.federation.finalize())


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[SmallFederation], Flo]:
    """`flo` on the chain of a federation in this process, with its store."""

    def on(federation: SmallFederation) -> Flo:
        node = Node(federation.chain.web3)
        monkeypatch.setattr(connect, "reach", lambda *_: node)
        monkeypatch.setenv("FLO_STORE", f"file://{federation.directory}/store")
        monkeypatch.setenv("FLO_DEPLOYMENTS", str(federation.directory / "deployments"))
        monkeypatch.setenv("FLO_HOME", str(federation.directory / "home"))
        return flo

    return on


def test_its_terms_and_its_accounts_are_shown_with_the_version(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    flo = on(old)
    shown = flo("federation", "show", "--json").succeeded().json
    assert shown["version"] == EARLIER != CONTRACTS_VERSION
    assert shown["address"] == old.federation.address
    assert (shown["round"], shown["final_height"]) == (2, 1)
    assert shown["genesis_root"] == "0x" + old.genesis.root.hex()
    # Parameters of later versions have the values that leave everything as it was.
    assert (shown["server_learning_rate_bps"], shown["server_momentum_bps"]) == (10_000, 0)
    assert shown["chunk_norm_limit"] == 0
    lines = flo("federation", "show").succeeded().out.splitlines()
    assert ["version", EARLIER] in [line.split() for line in lines]

    party = flo("party", "status", old.parties[0].address, "--json").succeeded().json
    assert party["stake_wei"] == old.terms.min_party_stake
    aggregator = flo("aggregator", "status", old.aggregators[0].address, "--json").succeeded().json
    assert aggregator["stake_wei"] == old.terms.min_aggregator_stake


def test_its_models_are_computed_again_and_its_rounds_listed(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    flo = on(old)
    verified = flo("model", "verify", "--all", "--json").succeeded().json
    assert [entry["round"] for entry in verified["rounds"]] == [1, 2]
    listed = flo("round", "list", "--json").succeeded().json["rounds"]
    assert [entry["outcome"] for entry in listed] == ["final", "accepted"]
    file = tmp_path / "model.safetensors"
    flo("model", "get", "--output", file).succeeded()
    assert file.stat().st_size > 0


def test_the_models_of_a_private_one_are_computed_again_too(
    old_private: EarlierPrivateFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    flo = on(old_private)
    shown = flo("federation", "show", "--json").succeeded().json
    assert (shown["version"], shown["private"], shown["round"]) == (EARLIER, True, 2)
    verified = flo("model", "verify", "--all", "--json").succeeded().json
    assert [entry["round"] for entry in verified["rounds"]] == [1, 2]


@pytest.mark.parametrize("cls", [EarlierFederation, EarlierPrivateFederation])
def test_every_stake_can_be_withdrawn(
    cls: type[SmallFederation], on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    federation = cls(tmp_path / "old")
    flo = on(federation)
    for role, account in (
        ("party", federation.parties[0].address),
        ("aggregator", federation.aggregators[0].address),
    ):
        key = key_file(tmp_path, f"{role} 0")
        withdraw = (role, "withdraw", *key, "--json")
        asked = flo(*withdraw).succeeded().json
        assert (asked["done"], asked["stake_wei"] > 0) == ("requested", True)
        flo(*withdraw).refused(3, "is due in")
        federation.pass_until(asked["due_at"])
        before = federation.chain.web3.eth.get_balance(account)  # type: ignore[arg-type]
        paid = flo(*withdraw).succeeded().json
        after = federation.chain.web3.eth.get_balance(account)  # type: ignore[arg-type]
        assert (paid["done"], paid["stake_wei"]) == ("withdrawn", asked["stake_wei"])
        assert after > before
        status = flo(role, "status", account, "--json").succeeded().json
        assert status["stake_wei"] == 0


REFUSED = (
    ("party", "register"),
    ("party", "deposit", "1"),
    ("party", "submit", "weights.npz", "--samples", "1"),
    ("aggregator", "register"),
    ("aggregator", "attest"),
    ("federation", "admit", "0x" + "11" * 20, "--role", "party"),
    ("federation", "fund", "1"),
    ("dashboard",),
)


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_a_command_that_takes_part_names_both_versions_and_what_to_do(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], command: tuple[str, ...]
) -> None:
    on(old)(*command).refused(
        3,
        f"{old.federation.address} on chain",
        f"is of version {EARLIER}",
        OURS,
        "`flo federation migrate`",
        f"use flo {EARLIER}",
    )


def test_python_opens_it_only_to_read_and_only_if_asked(
    old: EarlierFederation, old_private: EarlierPrivateFederation
) -> None:
    for federation, kind in ((old, Federation), (old_private, PrivateFederation)):
        web3, address = federation.chain.web3, federation.federation.address
        with pytest.raises(OtherVersion) as refused:
            open_federation(web3, address)
        assert refused.value.version == EARLIER
        found = open_federation(web3, address, any_version=True)
        assert (type(found), found.version) == (kind, EARLIER)
        assert found.params() == federation.params


def test_a_present_one_is_found_whichever_version_may_be(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path)
    web3, address = federation.chain.web3, federation.federation.address
    assert open_federation(web3, address, any_version=True).version == CONTRACTS_VERSION
    assert federation.federation._read("version") == CONTRACTS_VERSION


def test_an_earlier_one_with_a_present_library_is_refused(tmp_path: Path) -> None:
    """Its library would not know its storage."""
    federation = EarlierFederation(tmp_path, register=False)
    web3 = federation.chain.web3
    code = bytearray(web3.eth.get_code(web3.to_checksum_address(federation.federation.address)))
    library = load_artifact("DisputeLogic")
    receipt = federation.send(federation.outsider, Call(None, library.linked({}), 0, "deploy"))
    assert receipt.contract_address is not None
    for hole in last_release().contracts["Federation"].runtime_links["DisputeLogic"]:
        code[hole.start : hole.start + hole.length] = bytes.fromhex(receipt.contract_address[2:])
    leaving = bytes.fromhex(f"63{len(code):08x}80600e6000396000f3") + code
    placed = federation.send(federation.outsider, Call(None, bytes(leaving), 0, "deploy"))
    assert placed.contract_address is not None
    with pytest.raises(NoFederation, match="linked to another DisputeLogic"):
        open_federation(web3, placed.contract_address, any_version=True)


def answering(text: str) -> bytes:
    """Creation code of a contract that answers every call with a string."""
    data = (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.encode().ljust(32, b"\0")
    body = bytes.fromhex(f"60{len(data):02x}600c60003960{len(data):02x}6000f3") + data
    return bytes.fromhex(f"60{len(body):02x}600c60003960{len(body):02x}6000f3") + body


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("9.8.7", OtherVersion, "says that it is of version 9.8.7, which is not known here"),
        (CONTRACTS_VERSION, NoFederation, "no federation of this version"),
        ("\x1b[2J 9.9.9", NoFederation, "no federation of this version"),
        ("1.0", NoFederation, "no federation of this version"),
    ],
)
def test_a_version_that_is_not_known_here_is_only_what_the_contract_says(
    tmp_path: Path, text: str, error: type[NoFederation], words: str
) -> None:
    federation = SmallFederation(tmp_path, register=False)
    receipt = federation.send(federation.outsider, Call(None, answering(text), 0, "deploy"))
    assert receipt.contract_address is not None
    for any_version in (False, True):
        with pytest.raises(NoFederation, match=words) as refused:
            open_federation(federation.chain.web3, receipt.contract_address, any_version)
        assert type(refused.value) is error
        assert "\x1b" not in str(refused.value)


def test_a_kept_release_is_not_the_version_in_work_or_is_equal_to_it() -> None:
    """Contracts that have changed after a release need another version."""
    assert releases()
    assert len({release.version for release in releases()}) == len(releases())
    for release in releases():
        if release.version == CONTRACTS_VERSION:
            for name, kept in release.contracts.items():
                assert kept.runtime_code_hash == load_artifact(name).runtime_code_hash


def test_processes_of_this_version_leave_it_alone_and_pay_out_on_a_node(
    tmp_path: Path, checkout: Path
) -> None:
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            owner, clinic = site.key("owner"), site.key("clinic")
            deploy_as_then(site)
            trainer_file = tmp_path / "trainer.py"
            trainer_file.write_text(TRAINER)
            for role in ("party", "aggregator", "keeper", "watcher"):
                trainer = ["--trainer", str(trainer_file)] if role == "party" else []
                ran = finish(start_flo(role, "run", *trainer, *site.working("clinic")))
                ran.refused(3, f"is of version {EARLIER}", OURS)
            site.deploy().refused(
                3, f"is of version {EARLIER}", "another --deployments", "flo federation migrate"
            )
            withdraw = ("party", "withdraw", *clinic, *site.on_chain(), "--json")
            asked = flo(*withdraw).succeeded().json
            node.pass_time(asked["due_at"])
            assert flo(*withdraw).succeeded().json["done"] == "withdrawn"
            assert owner


TRAINER = """
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.data import Rows
import numpy as np

def make_trainer():
    return NumpyLogistic(Rows(np.zeros((8, 4), np.float32), np.arange(8, dtype=np.int32) % 2), 2)
"""


def deploy_as_then(site: Site) -> None:
    """Deploy a federation of the last release for the site, with one party."""
    chain = connect.connect(site.node.url)
    genesis = publish(LocalStore(site.directory / "store"), site.manifest, initial_weights(4, 2))
    params = federation_params(site.manifest, genesis, consortium(2))
    reverts = RevertDecoder.of_artifact("Federation")
    owner = Sender(chain, site.signers["owner"], reverts)
    done = deploy_release(owner, last_release(), params)
    deployments = site.directory / "deployments"
    record_as_then(deployments, chain.eth.chain_id, done)
    assert DeploymentRecord(deployments, chain.eth.chain_id).load()[done.migration].version == ""
    federation = Federation(chain, done.address, last_release())
    owner.send(federation.admit([site.address("clinic")], Role.PARTY))
    clinic = Sender(chain, site.signers["clinic"], reverts)
    clinic.send(federation.register(Role.PARTY, clinic.address, params.min_party_stake))
