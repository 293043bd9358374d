"""A federation on one Anvil chain, whose models are mirrored on another."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.anvil_node import AnvilNode, anvil_node
from support.federation import signer
from support.flo import PASSWORD, flo, write_key
from support.mirrors import (
    ANSWER_SECONDS,
    WINDOW_SECONDS,
    MirrorSite,
    carry,
    guard_until,
    make_final,
    mirror_of,
)
from support.validators import Consortium, wait_for

from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.members.mirrors import OtherModels, compare, open_mirror

HOME_CHAIN, MIRROR_CHAIN = 31_337, 31_338
PATIENCE_SECONDS = 120.0
FINALITY_SECONDS = 2 * 3600


@dataclass(frozen=True)
class Chains:
    """A consortium with three final rounds on one chain, and another chain."""

    consortium: Consortium
    home: AnvilNode
    other: AnvilNode


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Chains]:
    directory = tmp_path_factory.mktemp("mirror")
    consortium = Consortium(directory, parties=2, aggregators=2)
    with (
        anvil_node(checkout, directory / "home.log", chain_id=HOME_CHAIN) as home,
        anvil_node(checkout, directory / "other.log", chain_id=MIRROR_CHAIN) as other,
    ):
        for account in consortium.accounts:
            home.give(account.address)
            other.give(account.address)
        consortium.deploy([home.url])
        chain = consortium.federation()
        with consortium.working():
            wait_for(
                lambda: chain.observe(consortium.owner.address),
                lambda seen: seen.head.height >= 3,
                PATIENCE_SECONDS,
            )
        home.pass_time(FINALITY_SECONDS)
        assert make_final(consortium) >= 3
        yield Chains(consortium, home, other)


@pytest.fixture
def site(chains: Chains, tmp_path: Path) -> MirrorSite:
    return mirror_of(chains.consortium, chains.other.url, tmp_path)


def held(site: MirrorSite) -> int:
    """The wei that the mirror has."""
    return site.mirror.web3.eth.get_balance(site.mirror.address)


def roots(mirror: ModelMirror) -> list[bytes]:
    return [mirror.model(height).root for height in range(mirror.head().height + 1)]


def test_final_rounds_are_carried_by_whichever_process_runs(
    chains: Chains, site: MirrorSite, tmp_path: Path
) -> None:
    home, consortium = site.home, chains.consortium
    final = home.observe(consortium.owner.address).final_height
    assert site.carrier().step().action == "mirror"
    # The process ends here. Another one, of another account and without files, goes on.
    assert carry(site.carrier(consortium.keeper, "other")) == ["mirror"] * (final - 1)
    assert roots(site.mirror) == [home.model(height).root for height in range(final + 1)]
    assert carry(site.carrier()) == []
    assert site.mirror.final_height() == 0

    chains.other.pass_time(WINDOW_SECONDS)
    assert carry(site.carrier()) == ["finalize"] * final
    found = compare(site.mirror, home)
    assert (found.equal, found.round) == (final, home.model(final).round)

    # A second mirror of the same federation gets the same.
    second = mirror_of(consortium, chains.other.url, tmp_path / "second")
    assert second.mirror.address != site.mirror.address
    carry(second.carrier())
    assert roots(second.mirror) == roots(site.mirror)


def test_a_wrong_result_of_a_quorum_is_refused_and_the_right_one_taken(site: MirrorSite) -> None:
    wrong = site.wrong(1, 3, publish=True)
    site.submit(wrong)
    assert site.mirror.head().root == wrong.result.global_root
    with pytest.raises(OtherModels, match="model of round 1, not final yet"):
        compare(site.mirror, site.home)

    watcher = site.watcher()
    done = guard_until(watcher, lambda: site.mirror.head().height == 0)
    assert done == ["registerChallenge", "challenge"]
    assert watcher.doubts == ("the mirrored model of round 1 is wrong",)
    assert site.mirror.fraud(wrong.digest).challenger == site.sender().address
    proof = site.mirror.logged("FraudRecorded", site.deployment.block)
    assert [event.values["digest"] for event in proof] == [wrong.digest]

    carry(site.carrier())
    assert (
        compare(site.mirror, site.home).behind
        == site.home.head().height - len(roots(site.mirror)) + 1
    )
    honest = site.watcher("honest")
    guard_until(honest, lambda: honest.step().action is None and honest.idle)
    assert honest.doubts == (
        "the mirror has refused a wrong model of round 1, which cannot be proven at home: the "
        "federation has counted no signature for it, so it cannot slash its signers",
    )


def test_a_withheld_wrong_model_is_refused_when_nobody_shows_it(
    chains: Chains, site: MirrorSite
) -> None:
    wrong = site.wrong(1, 4, publish=False)
    site.submit(wrong)
    watcher = site.watcher()
    demanded = site.mirror.demands

    assert guard_until(watcher, lambda: bool(demanded(site.deployment.block))) == ["demand"]
    chains.other.pass_time(ANSWER_SECONDS)
    assert guard_until(watcher, lambda: site.mirror.head().height == 0) == ["expire"]
    # It is not proven wrong: it may come again, and meets the same end.
    assert site.mirror.fraud(wrong.digest).challenger is None
    site.submit(wrong)
    assert site.mirror.head().submission == 1 << 8 | 2
    seen = len(demanded(site.deployment.block))
    guard_until(watcher, lambda: len(demanded(site.deployment.block)) > seen)
    chains.other.pass_time(ANSWER_SECONDS)
    guard_until(watcher, lambda: site.mirror.head().height == 0)

    # Another process of the same account gets the bonds back, all of them.
    again = site.watcher()
    done = guard_until(again, lambda: held(site) == 0)
    assert Counter(done) == {"settleBond": 2, "withdrawCredit": 1}
    assert again.step().action is None


def test_a_demand_for_a_right_model_is_answered(chains: Chains, site: MirrorSite) -> None:
    assert site.carrier().step().action == "mirror"
    submission = site.mirror.head().submission
    depth, bond = site.mirror.params().state_depth, site.mirror.params().demand_bond
    demander, answerer = signer("demander"), signer("answerer")
    for key in (demander, answerer):
        chains.other.give(key.address)
    site.sender(demander).send(site.mirror.demand(submission, depth, 0, bond))
    site.sender(demander).send(site.mirror.demand(submission, 0, 1, 2 * bond))
    assert held(site) == 3 * bond
    carrier = site.carrier(answerer)
    done = carry(carrier)
    assert done[:2] == ["answer", "answer"]
    assert len(site.mirror.answers(site.deployment.block)) == 2
    assert site.mirror.head().height > 1
    assert "settleBond" not in done

    # Half of each bond is for the answer, once the model is final. The other half is burnt.
    chains.other.pass_time(FINALITY_SECONDS)
    done = carry(carrier)
    assert done[-3:] == ["settleBond", "settleBond", "withdrawCredit"]
    assert held(site) == 3 * bond - 3 * bond // 2


def test_another_result_of_a_quorum_gives_way_to_the_one_that_the_next_round_is_built_on(
    site: MirrorSite,
) -> None:
    right = site.signed(1)
    # Right or not: nobody challenges it in time.
    lesser = dataclasses.replace(right.result, included=1, global_root=bytes([7] * 32))
    other = site.signed_by_all(right, lesser)
    assert other.digest != right.digest
    site.submit(other)
    done = carry(site.carrier())
    assert done[:3] == ["mirror", "decide", "mirror"]
    assert site.mirror.model(1).root == right.result.global_root
    assert site.mirror.head().round == site.home.model(site.mirror.head().height).round


# ---------------------------------------------------------------------- the command line


def test_the_commands_create_carry_show_compare_and_guard(chains: Chains, tmp_path: Path) -> None:
    consortium, other = chains.consortium, chains.other
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    key = tmp_path / "key.json"
    account = write_key(key, bytes(31) + b"\7")
    other.give(account.address)
    federation = site_options(chains, tmp_path)
    keyed = [*federation, "--key", str(key), "--password-file", str(password)]
    working = [*keyed, "--store", f"file://{consortium.directory}/store"]
    to = ["--to", other.url]

    short = ["--challenge-period", str(WINDOW_SECONDS), "--answer-period", str(ANSWER_SECONDS)]
    told = flo("mirror", "create", *to, *short, *keyed, "--dry-run", "--json").succeeded().json
    assert told["gas"] > 1_000_000
    made = flo("mirror", "create", *to, *short, *keyed, "--json").succeeded().json
    assert (made["chain_id"], made["height"]) == (MIRROR_CHAIN, 0)
    again = flo("mirror", "create", *to, *short, *keyed, "--json").succeeded().json
    assert again["mirror"] == made["mirror"]

    run = ["mirror", "run", *to, *working, "--home", f"{tmp_path}/home", "--once", "--json"]
    (carried,) = flo(*run).succeeded().json["mirrors"]
    assert carried["height"] >= 3
    assert flo(*run).succeeded().json["sent"] == {}

    shown = flo("mirror", "show", *to, *federation, "--json").succeeded().json
    assert shown["root"] == carried["root"]
    assert [seat["account"] for seat in shown["seats"]] == sorted(
        (key.address for key in consortium.aggregators), key=lambda a: int(a, 16)
    )
    verify = ["model", "verify", "--all", "--mirror", other.url, *federation]
    store = ["--store", f"file://{consortium.directory}/store"]
    compared = flo(*verify, *store, "--json").succeeded().json["mirror"]
    assert (compared["equal"], compared["address"]) == (carried["height"], made["mirror"])

    guard = ["watcher", "run", "--mirror", other.url, *working, "--home", f"{tmp_path}/w"]
    guarded = flo(*guard, "--once", "--json").succeeded().json
    assert guarded["mirror_doubts"] == []
    assert guarded["checked"] >= 2 * carried["height"]


def site_options(chains: Chains, tmp_path: Path) -> list[str]:
    where = ["--rpc", chains.home.url, "--federation", chains.consortium.deployment.address]
    return [*where, "--deployments", f"{tmp_path}/deployments"]


def test_the_seats_are_changed_by_those_who_have_them(chains: Chains, tmp_path: Path) -> None:
    consortium, other = chains.consortium, chains.other
    site = mirror_of(consortium, other.url, tmp_path)
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    federation = site_options(chains, tmp_path)
    to = ["--to", f"{other.url}#{site.mirror.address}", "--from-round", "50"]
    files = []
    for number in range(2):
        key = tmp_path / f"{number}.json"
        write_key(key, consortium_secret(number))
        keyed = ["--key", str(key), "--password-file", str(password)]
        files.append(tmp_path / f"signed-{number}.json")
        sign = ["mirror", "seats", *to, *keyed, *federation, "--output", str(files[-1])]
        flo(*sign).succeeded()
    send = ["mirror", "seats", *to, *keyed, *federation]
    flo(*send, "--signature", files[0]).refused(3, "two thirds")
    changed = flo(*send, "--signature", files[0], "--signature", files[1], "--json")
    assert changed.succeeded().json["from_round"] == 50
    assert site.mirror.seat_nonce() == 2
    # What was signed for that change is good for no other.
    flo(*send, "--signature", files[0], "--signature", files[1]).refused(2, "no signature")


def consortium_secret(number: int) -> bytes:
    import hashlib

    return hashlib.sha256(f"test key of aggregator {number}".encode()).digest()


def test_a_mirror_of_another_federation_and_a_missing_one_are_refused(
    chains: Chains, site: MirrorSite, tmp_path: Path
) -> None:
    federation = site_options(chains, tmp_path / "elsewhere")
    flo("mirror", "show", "--to", chains.other.url, *federation).refused(2, "No mirror is recorded")
    nobody = f"{chains.other.url}#0x{'11' * 20}"
    flo("mirror", "show", "--to", nobody, *federation).refused(3, "There is no mirror")
    opened = open_mirror(
        f"{chains.other.url}#{site.mirror.address}", tmp_path, chains.consortium.federation()
    )
    assert opened.contract.address == site.mirror.address
