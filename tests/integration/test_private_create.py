"""`flo federation create --private` and what `show` says of a private federation, on Anvil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site
from support.federation import small_manifest
from support.flo import flo
from support.private_federation import packed_manifest

from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Role
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.privacy.keys import public_key, secret_of
from fl_orchestrator.units import ETHER


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        node.rpc("evm_setAutomine", True)
        yield node


@pytest.fixture
def site(tmp_path: Path, node: AnvilNode) -> Site:
    site = Site(tmp_path, node)
    (tmp_path / "manifest.json").write_bytes(packed_manifest().to_bytes())
    return site


def test_a_private_federation_says_at_a_glance_who_can_read_what(site: Site) -> None:
    terms = ("--secrecy", "1", "--step-limit", "1000", "--claim-period", "90", "--relock")
    dry = site.deploy("--private", *terms, "--dry-run", parties=5).succeeded().out
    assert dry.startswith("Would deploy from ")
    assert not list((site.directory / "store").glob("*/*"))
    said = site.deploy("--private", *terms, parties=5).succeeded().out
    assert (
        "Private: everybody can read the sum of a round's updates, and other sums if it is "
        "repeated; one update can be read only by aggregators with more than 1/3 of the stake, if "
        "they collude."
    ) in said.splitlines()
    assert site.deploy("--private", *terms, "--json", parties=5).succeeded().json["private"]
    site.deploy("--private", parties=5).refused(2, "other terms or another model")

    shown = flo("federation", "show", *site.on_chain(), "--json").succeeded().json
    assert {name: shown[name] for name in ("private", "secrecy", "step_limit", "relock")} == {
        "private": True,
        "secrecy": 1,
        "step_limit": 1000,
        "relock": True,
    }
    assert (shown["claim_period"], shown["min_updates"]) == (90, 3)
    assert shown["parameters"] == packed_manifest().layout.parameters
    assert (shown["aggregators"], shown["alone_read_by"]) == (0, "nobody")
    lines = flo("federation", "show", *site.on_chain()).succeeded().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:4]] == [
        "private",
        "who reads what",
    ]


def test_a_seat_that_reads_alone_is_named(site: Site) -> None:
    site.deploy("--private", "--secrecy", "2", parties=3).succeeded()
    private = site.federation
    assert isinstance(private, PrivateFederation)
    owner = Sender(private.web3, site.signers["owner"], private.reverts)
    shown = {}
    for name, stake in (("university", 4), ("clinic", 1)):
        site.key(name)
        owner.send(private.admit([site.address(name)], Role.AGGREGATOR))
        sender = Sender(private.web3, site.signers[name], private.reverts)
        key = public_key(secret_of(name.encode()))
        call = private.register(Role.AGGREGATOR, sender.address, stake * ETHER, key)
        sender.send(call)
        shown = flo("federation", "show", *site.on_chain(), "--json").succeeded().json
        assert shown["alone_read_by"] == site.address("university")
    assert shown["aggregators"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--secrecy", "1"), "--secrecy is a term of private federations"),
        (("--relock",), "--relock is a term of private federations"),
        ((), "would show each update to everybody who can read the store"),
        (("--private", "--secrecy", "3"), "3 is not in the range 1 to 2"),
        (("--private", "--step-limit", "40000"), "40000 is not in the range 1 to 32,767"),
        (("--private", "--claim-period", "0"), "0 is not in the range"),
        (("--private", "--parties", "2"), "at least 3 parties, not 2"),
        (("--private", "--parties", "89"), "room for 88 updates, not for 89"),
        (("--private", "--min-updates", "2"), "no sum of fewer than 3 updates"),
        (("--private", "--open-admission"), "admits each party"),
        (("--private", "--participants", "3"), "draws 3 of 5 parties needs --relock"),
    ],
)
def test_terms_that_are_not_private_are_refused(
    site: Site, options: tuple[str, ...], words: str
) -> None:
    site.deploy(*("--parties", "5"), *options).refused(2, words)
    assert not (site.directory / "deployments").exists()
    assert not list((site.directory / "store").glob("*/*"))


def test_manifests_of_another_kind_or_rule_are_refused(site: Site) -> None:
    file = site.directory / "manifest.json"
    file.write_bytes(small_manifest().to_bytes())
    site.deploy("--private", parties=5).refused(2, "layout is not packed", "flo manifest create")
    file.write_bytes(packed_manifest(rule=RuleSpec.of(RuleKind.MEDIAN)).to_bytes())
    site.deploy("--private", parties=5).refused(2, "cannot have the rule median")


def test_a_task_of_the_package_can_be_private(site: Site) -> None:
    task = ("--dataset", "breast-cancer", "--private", "--parties", "3", "--store", site.store_url)
    created = flo("federation", "create", *task, *site.key("owner"), *site.on_chain())
    assert "Private: everybody can read" in created.succeeded().out
    shown = flo("federation", "show", *site.on_chain(), "--json").succeeded().json
    # 30 inputs, 16 hidden units: the sum of all tensors, without padding between them.
    assert shown["parameters"] == 30 * 16 + 16 + 16 + 1
