"""`flo rewards`: from contributions, over the signatures of a quorum, to the parties' accounts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.federation import SmallFederation
from support.flo import PASSWORD, Finished, flo, write_key

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.shares.types import Share, Shares
from fl_orchestrator.chain.types import Role
from fl_orchestrator.members.shares import OpenShares, open_shares
from fl_orchestrator.units import ETHER

AGGREGATORS = 4
JUDGE = """
from support.federation import CLASSES, rows_of
from fl_orchestrator.training.numpy_logistic import NumpyLogistic

def make_judge():
    return NumpyLogistic(rows_of(50), CLASSES)
"""


@dataclass(frozen=True)
class World:
    """A federation of three parties and four aggregators, whose first round is final."""

    small: SmallFederation
    directory: Path
    report: Path

    def key(self, name: str) -> list[str]:
        """The options of a keystore of an account."""
        path = self.directory / f"{name.replace(' ', '-')}.json"
        write_key(path, hashlib.sha256(f"test key of {name}".encode()).digest())
        return ["--key", str(path), "--password-file", str(self.directory / "password")]

    def run(self, verb: str, *arguments: Any, name: str = "") -> Finished:
        """`flo rewards`, with the key of an account."""
        site = ["--deployments", f"{self.directory}/deployments"]
        keyed = [*self.key(name), "--home", f"{self.directory}/home"] if name else []
        return flo("rewards", verb, *arguments, *site, *keyed)

    def contributions(self) -> str:
        """What `flo report --contributions` says."""
        store = f"file://{self.directory}/store"
        trainer = ("--contributions", "--trainer", f"{self.directory}/judge.py:make_judge")
        site = ("--store", store, "--deployments", self.directory / "deployments")
        return flo("report", *site, *trainer, "--json").succeeded().out

    def opened(self) -> OpenShares:
        return open_shares("", self.directory / "deployments", self.small.federation)

    def sender(self, number: int = 0) -> Sender:
        key = self.small.parties[number]
        return Sender(self.small.chain.web3, key, self.opened().contract.reverts)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("shares")
    small = SmallFederation(directory, aggregators=AGGREGATORS)
    small.run_round(small.everybody())
    small.pass_until(small.observe().finalizable_at)
    small.send(small.keeper_key, small.federation.finalize())
    (directory / "password").write_text(PASSWORD + "\n")
    (directory / "judge.py").write_text(JUDGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect, "reach", lambda *_: Node(small.chain.web3))
        made = World(small, directory, directory / "report.json")
        made.report.write_text(made.contributions())
        made.run("show").refused(2, "No rewards by shares are recorded", "flo rewards create")
        assert made.run("create", "--dry-run", "--json", name="owner").succeeded().json["gas"] > 0
        created = made.run("create", "--json", name="owner").succeeded().json
        assert made.run("create", "--json", name="owner").succeeded().json == created
        assert created["federation"] == small.federation.address
        yield made


def signatures(world: World, shares: Path, *numbers: int) -> list[str]:
    options = []
    # Each of them has computed the contributions itself, at another block.
    world.small.chain.mine()
    own = shares.with_name("own.json")
    own.write_text(world.contributions())
    assert own.read_bytes() != world.report.read_bytes()
    for number in numbers:
        output = shares.with_suffix(f".{number}.signed")
        given = (shares, "--source", own, "--output", output)
        world.run("sign", *given, "--json", name=f"aggregator {number}").succeeded()
        options += ["--signature", str(output)]
    return options


def test_contributions_are_paid_by_three_of_four_signatures(world: World, tmp_path: Path) -> None:
    contract = world.opened().contract
    pot, number = contract.pot(), contract.number()
    assert world.run("fund", "1", "--json", name="owner").succeeded().json["added_wei"] == ETHER
    assert contract.pot() == pot + ETHER

    shares = tmp_path / "shares.json"
    asked = ("propose", world.report, "--amount", "0.9", "--output", shares, "--from-round", 1)
    proposed = world.run(*asked, "--json").succeeded().json
    found = json.loads(world.report.read_text())["contributions"]["parties"]
    helped = {one["party"]: one["shapley"] for one in found if one["shapley"] > 0}
    assert {one["account"] for one in proposed["shares"]} == helped.keys()
    for one in proposed["shares"]:
        part = helped[one["account"]] / sum(helped.values())
        assert one["wei"] == pytest.approx(0.9 * ETHER * part)
    assert 9 * ETHER // 10 - 3 < proposed["total_wei"] <= 9 * ETHER // 10
    assert len(proposed["report"]) == 66

    two = signatures(world, shares, 0, 2)
    short = world.run("distribute", shares, *two, name="owner")
    missing = [world.small.aggregators[n].address for n in (1, 3)]
    short.refused(3, "2 of 4 aggregators have signed", *missing)
    three = [*two, *signatures(world, shares, 3)]
    told = world.run("distribute", shares, *three, "--dry-run", "--json", name="owner")
    assert told.succeeded().json["dry_run"] is True
    assert contract.number() == number
    done = world.run("distribute", shares, *three, "--json", name="owner").succeeded().json
    assert done["signers"] == [world.small.aggregators[n].address for n in (0, 2, 3)]
    world.run("distribute", shares, *three, name="owner").refused(3, "the next distribution has")

    shown = world.run("show", "--json").succeeded().json
    assert shown["pot_wei"] == pot + ETHER - proposed["total_wei"]
    assert shown["distributions"][-1]["credited_wei"] == proposed["total_wei"]
    assert "seat 3" in world.run("show").succeeded().out

    account = next(iter(helped))
    name = f"party {[key.address for key in world.small.parties].index(account)}"
    web3 = world.small.chain.web3
    before = web3.eth.get_balance(account)
    assert world.run("show", "--account", account, "--json").json["credit_wei"] > 0
    paid = world.run("withdraw", "--json", name=name).succeeded().json
    assert paid["credit_wei"] == contract.credit_of(account) + paid["credit_wei"]
    assert web3.eth.get_balance(account) > before
    world.run("withdraw", name=name).refused(3, "nothing to withdraw")
    # What rounds are paid for by default comes after these.
    world.run("propose", world.report).refused(2, "No round from 2 on is final")


def test_a_list_of_amounts_is_signed_as_it_is(world: World, tmp_path: Path) -> None:
    world.run("fund", "1", name="owner").succeeded()
    first, second = (key.address for key in world.small.parties[:2])
    table, shares = tmp_path / "amounts.csv", tmp_path / "shares.json"
    table.write_text(f"account;amount\n{first};0.25\n{second};0.5\n")
    asked = ("propose", table, "--output", shares, "--from-round", 1)
    world.run(*asked, "--amount", "0.7").refused(2, "sum to 0.75 ETH")
    proposed = world.run(*asked, "--json").succeeded().json
    assert {one["account"]: one["wei"] for one in proposed["shares"]} == {
        first: ETHER // 4,
        second: ETHER // 2,
    }
    # Whoever has the list signs only what follows from it.
    sign = ("sign", shares, "--output", tmp_path / "x.json", "--source", table)
    assert "0.75 ETH" in world.run(*sign, "--dry-run", name="aggregator 0").succeeded().out
    assert not (tmp_path / "x.json").exists()
    table.write_text(f"account;amount\n{first};0.5\n{second};0.25\n")
    world.run(*sign, name="aggregator 0").refused(2, "not those that follow from")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"number": 99}, "have the number 99"),
        ({"toRound": 2}, "not all final"),
        ({"fromRound": 0}, "not all final"),
        ({"validUntil": 1}, "time of these shares is over"),
        ({"validUntil": (1 << 64) - 1}, "good for more than 366 days"),
        ({"shares": []}, "not those of 1 to 100"),
        ({"shares": [{"account": "0x" + "00" * 19 + "99", "wei": "1"}]}, "never registered"),
    ],
)
def test_an_aggregator_signs_nothing_that_the_chain_would_refuse(
    world: World, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    shares, signed = proposed_one(world, tmp_path), tmp_path / "signed.json"
    shares.write_text(json.dumps({**json.loads(shares.read_text()), **change}))
    asked = ("sign", shares, "--output", signed)
    world.run(*asked, name="aggregator 0").refused(3, words)
    assert not signed.exists()


def proposed_one(world: World, directory: Path, wei: int = 5) -> Path:
    """Shares of a few wei for the first party, beyond what is in the pot if they are many."""
    if world.opened().contract.pot() == 0:
        world.run("fund", "0.01", name="owner").succeeded()
    table, shares = directory / "one.json", directory / "shares.json"
    account = world.small.parties[0].address
    table.write_text(json.dumps([{"account": account, "amount": "0.000000000000000005"}]))
    world.run("propose", table, "--output", shares, "--from-round", 1).succeeded()
    found = json.loads(shares.read_text())
    found["shares"][0]["wei"] = str(wei)
    shares.write_text(json.dumps(found))
    return shares


def test_shares_beyond_the_pot_and_keys_without_a_seat_are_refused(
    world: World, tmp_path: Path
) -> None:
    shares = proposed_one(world, tmp_path, 1 << 96)
    asked = ("sign", shares, "--output", tmp_path / "signed.json")
    world.run(*asked, name="aggregator 0").refused(2, "no shares that can be read")
    shares = proposed_one(world, tmp_path, 50 * ETHER)
    world.run(*asked, name="aggregator 0").refused(3, "the pot has")
    shares = proposed_one(world, tmp_path)
    world.run(*asked, name="party 0").refused(3, "no seat")
    found = json.loads(shares.read_text())
    shares.write_text(json.dumps({**found, "rewards": world.small.federation.address}))
    world.run(*asked, name="aggregator 0").refused(2, "has shares for")


def test_signatures_of_other_shares_and_of_strangers_are_refused(
    world: World, tmp_path: Path
) -> None:
    shares, signed = proposed_one(world, tmp_path), tmp_path / "signed.json"
    world.run("sign", shares, "--output", signed, name="aggregator 0").succeeded()
    found = json.loads(shares.read_text())
    shares.write_text(json.dumps({**found, "validUntil": found["validUntil"] + 1}))
    sent = ("distribute", shares, "--signature", signed)
    world.run(*sent, name="owner").refused(2, "no signature of a present seat")
    for text in ("{}", "", "[" * 100_000):
        signed.write_text(text)
        world.run(*sent, name="owner").refused(2, "no signature that can be read")
    world.run("distribute", shares, "--signature", tmp_path, name="owner").refused(
        2, "no signature"
    )


def test_the_contract_of_another_federation_is_refused(world: World, tmp_path: Path) -> None:
    other = world.small.federation.address
    world.run("show", "--rewards", other).refused(3, "no rewards by shares of this version")


def test_python_and_the_contract_agree_on_who_may_sign(world: World) -> None:
    contract = world.opened().contract
    seats = contract.seats()
    assert [seat.account for seat in seats] == [key.address for key in world.small.aggregators]
    assert {seat.stake for seat in seats} == {world.small.terms.min_aggregator_stake}
    assert contract.final_round() == 1
    stranger = world.small.outsider.address
    assert contract.beneficiary_of(stranger) == stranger
    now = world.small.observe().timestamp
    share = Share(world.small.parties[0].address, 1)
    shares = Shares(contract.number(), 1, 1, now + 999, bytes(32), (share,))
    if contract.pot() == 0:
        world.run("fund", "0.01", name="owner").succeeded()
    signed = {n: contract.sign(world.small.aggregators[n], shares) for n in (1, 2)}
    with pytest.raises(ContractReverted) as refused:
        world.sender().check(contract.distribute(shares, signed))
    assert refused.value.error is ContractError.NoQuorumOfSeats
    signed[0] = contract.sign(world.small.aggregators[0], shares)
    world.sender().check(contract.distribute(shares, signed))
    accounts = world.small.federation.registered(Role.AGGREGATOR, 0)
    assert accounts == [seat.account for seat in seats]


def test_the_record_has_the_contract_once(world: World) -> None:
    record = DeploymentRecord(world.directory / "deployments", world.small.chain.web3.eth.chain_id)
    contracts = [deployment.contract for deployment in record.load().values()]
    assert contracts == ["DisputeLogic", "Federation", "RewardShares"]
