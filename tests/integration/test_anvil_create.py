"""`flo federation`, and what owners, parties and sponsors do before the first round, on Anvil."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site
from integration.held_node import held_node
from support.flo import flo, start_flo


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        node.rpc("evm_setAutomine", True)
        yield node


@pytest.fixture
def site(tmp_path: Path, node: AnvilNode) -> Site:
    return Site(tmp_path, node)


@pytest.fixture
def deployed(site: Site) -> Site:
    site.deploy().succeeded()
    return site


def sent_by(site: Site, name: str) -> int:
    """How many transactions an account has sent; Anvil mines them a moment later."""
    return int(site.node.rpc("eth_getTransactionCount", site.address(name), "pending"), 16)


def test_deploying_twice_deploys_once(site: Site) -> None:
    first = site.deploy("--json").succeeded().json
    assert first.keys() == {
        "federation",
        "block",
        "chain_id",
        "code_hash",
        "manifest_digest",
        "genesis_root",
        "genesis_cid",
        "private",
        "record",
    }
    sent = sent_by(site, "owner")
    again = site.deploy().succeeded()
    assert sent_by(site, "owner") == sent
    assert again.out.splitlines() == [
        f"Federation {first['federation']}, block {first['block']}; recorded in {first['record']}.",
        "Not private: whoever can read the store can read each update.",
        "Next: `flo federation admit`, then parties and aggregators register.",
    ]
    assert site.federation.address == first["federation"]
    assert "0x" + site.federation.head().root.hex() == first["genesis_root"]


@pytest.mark.parametrize(
    "change", [["--parties", "3"], ["--commit-period", "601"], ["--reward", "0.02"]]
)
def test_other_terms_than_those_deployed_are_refused(deployed: Site, change: list[str]) -> None:
    sent = sent_by(deployed, "owner")
    for mode in ([], ["--dry-run"]):
        deployed.deploy(*change, *mode).refused(
            2, "other terms or another model", deployed.federation.address, "--deployments"
        )
    assert sent_by(deployed, "owner") == sent


def test_another_model_than_the_one_deployed_is_refused(deployed: Site) -> None:
    (deployed.directory / "genesis.npz").write_bytes(deployed.trained("other", 1).read_bytes())
    deployed.deploy().refused(2, "other terms or another model")


def test_a_chain_whose_code_is_not_the_recorded_one_is_refused(deployed: Site) -> None:
    address = deployed.federation.address
    code = deployed.node.rpc("eth_getCode", address, "latest")
    for wrong in (code[:-2] + "00", "0x"):
        deployed.node.rpc("anvil_setCode", address, wrong)
        deployed.deploy().refused(3, f"{address} on chain 31337", "does not have the recorded code")
        shown = flo("federation", "show", *deployed.on_chain())
        shown.refused(3, "no federation of this version", address)


def test_deployments_killed_while_they_wait_for_their_blocks_are_found_again(site: Site) -> None:
    site.key("owner")
    sent = sent_by(site, "owner")
    with held_node(site.node.url) as held:
        # The first process is killed at the library, the second at the federation.
        for deployments in (1, 2):
            held.hold("after")
            create = ["federation", "create", *site.deploy_options(), *site.key("owner")]
            process = start_flo(*create, *site.on_chain(held.url))
            held.wait()
            process.kill()
            process.communicate()
            assert sent_by(site, "owner") == sent + deployments
    found = site.deploy("--json").succeeded().json["federation"]
    assert sent_by(site, "owner") == sent + 2
    assert site.federation.address == found


def test_a_federation_whose_library_is_another_is_refused(deployed: Site) -> None:
    address = deployed.federation.address
    (library,) = deployed.federation.libraries.values()
    at = "0x" + library.hex()
    code = deployed.node.rpc("eth_getCode", at, "latest")
    for wrong in (code[:-2] + "00", "0x"):
        deployed.node.rpc("anvil_setCode", at, wrong)
        deployed.deploy().refused(3, "DisputeLogic at", "does not have the recorded code")
        shown = flo("federation", "show", *deployed.on_chain())
        shown.refused(3, f"The federation at {address} is linked to another DisputeLogic")


def test_a_dry_run_checks_everything_and_sends_nothing(site: Site) -> None:
    site.key("owner")
    sent = sent_by(site, "owner")
    checked = site.deploy("--dry-run", "--json").succeeded().json
    assert checked.pop("gas") > 1_000_000
    owner = site.address("owner")
    assert checked == {"from": owner, "chain_id": 31337, "dry_run": True}
    said = site.deploy("--dry-run").succeeded().out
    assert said.startswith(f"Would deploy from {owner} on chain 31337; ")
    assert not (site.directory / "deployments").exists()
    assert not list((site.directory / "store").glob("*/*"))

    site.deploy("--dry-run", "--party-stake", "0").refused(3, "InvalidParams(minPartyStake)")
    site.node.give(owner, ether=0)
    site.deploy("--dry-run").refused(3, f"{owner} has 0 ETH and deploy DisputeLogic needs")
    site.node.give(owner)
    assert sent_by(site, "owner") == sent

    site.deploy().succeeded()
    said = site.deploy("--dry-run").succeeded().out
    assert said == "Would change nothing: the federation is on chain 31337.\n"


def test_terms_that_no_contract_takes_are_refused_before_anything_is_sent(site: Site) -> None:
    refusals = {
        ("--parties", "0"): "0 is not in the range 1 to",
        ("--parties", "4294967296"): "4294967296 is not in the range 1 to",
        ("--parties", "101"): "101 participants need room for 101 updates",
        ("--parties", "200", "--participants", "90"): "90 participants need room for 128",
        ("--participants", "3"): "3 of 2 parties cannot be drawn",
        ("--participants", "0"): "0 is not in the range 1 to",
        ("--min-updates", "3"): "3 updates cannot be required of 2 participants",
        ("--open-admission",): "If anybody may register",
        ("--commit-period", "0"): "0 is not in the range 1 to",
        ("--unbond-period", "2147483648"): "2147483648 is not in the range 1 to",
        ("--reward", "abc"): "'abc' is not an amount",
        ("--party-stake", "1e-19"): "1e-19 ETH cannot be paid",
        ("--aggregator-stake", "1e11"): "1e11 ETH cannot be paid",
        ("--rule", "median"): "The manifest already defines the rule",
        ("--trim", "0.1"): "The manifest already defines the rule",
        ("--dataset", "digits"): "A federation needs exactly one model",
    }
    site.key("owner")
    sent = sent_by(site, "owner")
    for options, words in refusals.items():
        site.deploy(*options).refused(2, words)
    assert sent_by(site, "owner") == sent


def test_registering_takes_what_a_dry_run_says(deployed: Site) -> None:
    key = deployed.key("hospital")
    address = deployed.address("hospital")
    register = ["party", "register", *key, *deployed.on_chain()]
    flo(*register, "--dry-run").refused(3, "not admitted", "NotAdmitted")
    admit = ["federation", "admit", address, *deployed.key("owner"), *deployed.on_chain()]
    assert flo(*admit, "--dry-run").succeeded().out.startswith("Would admit 1 account as party; ")
    assert not deployed.observe("hospital").party.admitted
    assert flo(*admit).succeeded().out == "Admitted 1 account as party.\n"

    checked = flo(*register, "--dry-run", "--json").succeeded().json
    assert sent_by(deployed, "hospital") == 0
    assert flo(*register, "--json").succeeded().json == {**checked, "dry_run": False}
    assert checked["stake_wei"] == 10**17
    assert checked["beneficiary"] == address
    assert deployed.observe("hospital").party.stake == 10**17

    flo(*register).refused(3, "already registered")
    assert sent_by(deployed, "hospital") == 1


def test_a_stake_below_the_minimum_and_a_false_beneficiary_are_refused(deployed: Site) -> None:
    key = deployed.key("hospital")
    admit = ["federation", "admit", deployed.address("hospital")]
    flo(*admit, *deployed.key("owner"), *deployed.on_chain()).succeeded()
    register = ["party", "register", *key, *deployed.on_chain()]
    flo(*register, "--stake", "0.09").refused(3, "below the minimum", "StakeTooLow")
    flo(*register, "--stake", "1000").refused(3, "has 100 ETH and register needs up to 1000 ETH")
    flo(*register, "--beneficiary", "0x12").refused(2, "'0x12' is not an address")
    # A mistyped digit or letter gives another address, whose checksum is another one.
    wrong = deployed.address("hospital").swapcase().replace("0X", "0x")
    flo(*register, "--beneficiary", wrong).refused(2, f"{wrong} is mistyped", "checksum")
    flo(*register, "--beneficiary", "0x" + "0" * 40).refused(3, "ZeroBeneficiary")
    beneficiary = deployed.address("owner")
    registered = flo(*register, "--stake", "0.25", "--beneficiary", beneficiary).succeeded().out
    assert registered == (
        f"{deployed.address('hospital')} is registered as party with 0.25 ETH. It counts from the "
        f"next round that opens; withdrawals and rewards are paid to {beneficiary}.\n"
    )


def test_more_accounts_than_fit_into_a_block_are_admitted_in_several(deployed: Site) -> None:
    addresses = ["0x" + (0xAD << 152 | number).to_bytes(20, "big").hex() for number in range(1200)]
    admit = ["federation", "admit", *addresses, *deployed.key("owner"), *deployed.on_chain()]
    planned = flo(*admit, "--dry-run", "--json").succeeded().json
    assert planned["gas"] > 25_000_000
    assert flo(*admit).succeeded().out == "Admitted 1200 accounts as party.\n"
    chain = deployed.federation
    assert all(chain.observe(address).party.admitted for address in (addresses[0], addresses[-1]))


def test_only_the_owner_admits_and_anybody_funds(deployed: Site) -> None:
    outsider, chain = deployed.key("outsider"), deployed.on_chain()
    address = deployed.address("outsider")
    flo("federation", "admit", address, *outsider, *chain).refused(3, "Only the owner")
    flo("federation", "admit", address, "x", *outsider, *chain).refused(2, "'x' is not an address")
    unknown = flo("federation", "admit", address, "--role", "king", *outsider, *chain)
    unknown.refused(2, "no role 'king'", "party or aggregator")

    fund = ["federation", "fund"]
    for amount, code, words in (
        ("abc", 2, "'abc' is not an amount"),
        ("1e-19", 2, "1e-19 ETH cannot be paid"),
        ("0", 3, "ZeroAmount"),
        ("101", 3, f"{address} has 100 ETH and fundRewards needs up to 101 ETH"),
    ):
        flo(*fund, amount, *outsider, *chain).refused(code, words)
    assert flo(*fund, "1.5", "--dry-run", "--json", *outsider, *chain).succeeded().json["dry_run"]
    assert deployed.observe().free_pot == 0
    flo(*fund, "1.5", *outsider, *chain).succeeded()
    assert deployed.observe().free_pot == 15 * 10**17


def test_only_the_owner_removes_whom_it_has_admitted(deployed: Site) -> None:
    owner, chain = deployed.key("owner"), deployed.on_chain()
    deployed.key("hospital")
    address = deployed.address("hospital")
    remove = ["federation", "remove", address, *chain]
    flo(*remove, *owner).refused(3, "The owner has not admitted this account in this role.")
    flo("federation", "admit", address, *owner, *chain).succeeded()
    flo(*remove, *deployed.key("outsider")).refused(3, "Only the owner")
    flo(*remove, "--role", "king", *owner).refused(2, "no role 'king'")
    planned = flo(*remove, *owner, "--dry-run", "--json").succeeded().json
    assert planned.pop("gas") > 21_000
    assert planned == {"removed": address, "role": "party", "dry_run": True}
    assert deployed.federation.observe(address).party.admitted
    assert flo(*remove, *owner).succeeded().out == f"Removed {address} as party.\n"
    assert not deployed.federation.observe(address).party.admitted


def test_an_owner_hands_the_federation_over_in_two_steps(deployed: Site) -> None:
    owner, successor, chain = deployed.key("owner"), deployed.key("successor"), deployed.on_chain()
    first, second = deployed.address("owner"), deployed.address("successor")
    transfer, accept = ["federation", "transfer", *chain], ["federation", "accept", *chain]

    flo(*transfer, "x", *owner).refused(2, "'x' is not an address")
    flo(*transfer, second, *deployed.key("outsider")).refused(3, "Only the owner")
    flo(*accept, *successor).refused(3, "was not offered to this account", "transfer")
    planned = flo(*transfer, second, *owner, "--dry-run", "--json").succeeded().json
    assert planned.pop("gas") > 21_000
    assert planned == {"offered_to": second, "dry_run": True}
    assert deployed.federation.pending_owner() is None

    flo(*transfer, second, *owner).succeeded()
    shown = flo("federation", "show", "--json", *chain).succeeded().json
    assert (shown["owner"], shown["offered_to"]) == (first, second)
    flo(*accept, *deployed.key("outsider")).refused(3, "was not offered to this account")
    assert flo(*accept, *successor).succeeded().out == f"{second} is the owner now.\n"
    assert deployed.federation.pending_owner() is None
    admit = ["federation", "admit", first, *chain]
    flo(*admit, *owner).refused(3, "Only the owner")
    flo(*admit, *successor).succeeded()


def test_terms_under_which_a_flood_of_demands_is_cheap_are_refused(site: Site) -> None:
    # 24 s, and one block in between: 16 answers of one aggregator, 62 of four or more.
    short = ["--answer-period", "24"]
    refused = site.deploy(*short, "--demand-bond", "0.1", "--dry-run")
    refused.refused(2, "a flood of demands", "--demand-bond of at least 0.318 ETH")
    site.deploy("--answer-period", "12", "--dry-run").refused(2, "nobody can answer a demand")
    site.deploy(*short, "--block-time", "1", "--demand-bond", "0.01", "--dry-run").succeeded()
    site.deploy(*short).succeeded()
    assert site.federation.params().demand_bond == 318 * 10**15


def test_what_is_shown_in_a_pipe_is_whole(deployed: Site) -> None:
    chain = deployed.on_chain()
    shown = flo("federation", "show", "--json", *chain).succeeded().json
    listed = flo("federation", "show", *chain).succeeded().out
    for key in ("address", "head_root", "head_cid", "genesis_root", "manifest_digest"):
        assert str(shown[key]) in listed
    assert shown["rule"] == "weighted-mean"
    assert shown["max_parties"] == 2
    lines = dict(line.split("  ", 1) for line in listed.splitlines())
    assert {name.strip(): value.strip() for name, value in lines.items()}.items() >= {
        "challenge period": "1 d",
        "answer period": "1 h",
        "fraud slash": "100 %",
        "reward": "0.01 ETH",
        "open admission": "no",
    }.items()
    status = flo("party", "status", deployed.address("owner"), *chain).succeeded().out
    assert shown["head_root"] in status
    assert all(line == line.rstrip() for line in (listed + status).splitlines())


def test_a_federation_is_looked_for_on_its_own_chain(
    deployed: Site, tmp_path: Path, checkout: Path
) -> None:
    with anvil_node(checkout, tmp_path / "other.log", chain_id=5) as other:
        chain = deployed.on_chain(other.url)
        show = ["federation", "show", *chain]
        flo(*show).refused(2, "5.json records no federation on chain 5", "flo federation create")
        address = deployed.federation.address
        flo(*show, "--federation", address).refused(3, "no federation of this version", "chain 5")
    flo("federation", "show", *deployed.on_chain(), "--federation", "0x12").refused(
        2, "'0x12' is not an address"
    )


def test_an_endpoint_of_another_chain_is_refused(deployed: Site) -> None:
    sent = sent_by(deployed, "owner")
    other = ["--chain-id", "5"]
    deployed.deploy(*other).refused(3, "31337", "5")
    for command in (
        ["federation", "show"],
        ["federation", "fund", "1", *deployed.key("owner")],
        ["round", "list"],
        ["model", "verify", "--store", deployed.store_url],
    ):
        flo(*command, *deployed.on_chain(), *other).refused(3, "31337", "5")
    assert sent_by(deployed, "owner") == sent


def test_a_damaged_record_is_refused(deployed: Site) -> None:
    record = deployed.directory / "deployments" / "31337.json"
    good = json.loads(record.read_text())
    for wrong in ("", "{", "{}", "[1]", json.dumps([{**good[0], "address": "../x"}])):
        record.write_text(wrong)
        deployed.deploy().refused(2, "31337.json is not a deployment record")


def test_weights_that_do_not_fit_are_refused_and_nothing_is_stored_or_sent(site: Site) -> None:
    large: dict[str, Any] = {"dense/kernel": np.full((4, 2), 1000.0), "dense/bias": np.zeros(2)}
    np.savez(site.directory / "genesis.npz", **large)
    site.key("owner")
    sent = sent_by(site, "owner")
    for mode in (["--dry-run"], []):
        site.deploy(*mode).refused(
            5, "'dense/kernel' has a weight of 1000; at offset 0", "offset of -3 or less"
        )
    assert sent_by(site, "owner") == sent
    assert not [path for path in (site.directory / "store").rglob("*") if path.is_file()]
