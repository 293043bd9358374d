"""From a list of five members to five registrations, by the commands that the page shows."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import eth_account
import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site, secret_of
from support.flo import Finished, flo

from fl_orchestrator.chain.signing.keys import LocalSigner, keystore_address
from fl_orchestrator.members.answer import Answer
from fl_orchestrator.members.terms import AgreedTerms

MEMBERS = [
    *(("bank-a", "party"), ("bank-a", "aggregator"), ("bank-b", "party"), ("bank-c", "party")),
    ("Bank_D.north", "aggregator"),
]
BENEFICIARY = LocalSigner.from_secret(secret_of("treasurer")).address


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        node.rpc("evm_setAutomine", True)
        yield node


@pytest.fixture
def site(tmp_path: Path, node: AnvilNode, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The owner's directory, in which the test works; passwords come from a file."""
    slow = eth_account.Account.encrypt
    monkeypatch.setattr(
        eth_account.Account,
        "encrypt",
        lambda secret, password, **_options: slow(secret, password, "pbkdf2", 1),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLO_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("FLO_HOME", str(tmp_path / "home"))
    site = Site(tmp_path, node)
    site.deploy(parties=3).succeeded()
    return site


def documented(checkout: Path) -> list[list[str]]:
    """The arguments of the commands in the page's part about kits, in their order."""
    page = (checkout / "docs" / "operating-a-consortium.md").read_text()
    part = page[page.index("### With kits\n") : page.index("## 6. The store\n")]
    blocks = re.findall(r"^```\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.split()[1:] for line in lines if line.startswith("flo ")]


def list_members(members: list[tuple[str, str]]) -> None:
    rows = "".join(f"{name};{role};\r\n" for name, role in members)
    Path("members.csv").write_text("\ufeffName;Role;Address\r\n" + rows)


def as_member(
    monkeypatch: pytest.MonkeyPatch, name: str, role: str, *arguments: str, kits: Path
) -> Finished:
    """Run a command in a member's folder, with nothing but its settings and its password."""
    with monkeypatch.context() as there:
        there.chdir(kits / name / role)
        there.delenv("FLO_RPC", raising=False)
        return flo(*arguments)


def test_five_members_register_by_the_documented_commands(
    site: Site, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, new_key, answer, dry_run, admit, *register = documented(checkout)
    assert [*kit[:2], *answer[:2], *admit[:2]] == [
        *("federation", "kit"),
        *("federation", "answer"),
        *("federation", "admit"),
    ]
    site.key("owner")
    list_members(MEMBERS)
    monkeypatch.setenv("FLO_RPC", site.node.url)
    flo(*kit).succeeded()
    kits = site.directory / "kits"
    edited = kits / "bank-b" / "party" / "flo.toml"
    edited.write_text(edited.read_text() + "\n# ours\n")
    again = flo(*kit).succeeded().out
    assert again.count("nothing to write") == len(MEMBERS)
    assert "kits/bank-b/party/flo.toml is different and was not changed" in again

    words = flo("federation", "show", "--words", "--json").succeeded().json["all of these"]["words"]
    Path("answers").mkdir()
    accounts = {}
    unit = kits / "bank-c" / "party" / "flo-party.service"
    unit.write_text(unit.read_text() + "ExecStartPre=/srv/flo/more\n")
    for name, role in MEMBERS:
        typed = [word.replace("party", role) for word in new_key]
        as_member(monkeypatch, name, role, *typed, kits=kits).succeeded()
        told = as_member(monkeypatch, name, role, *answer, kits=kits).succeeded().out
        assert words in told
        assert ("is not the one that flo writes" in told) == (name == "bank-c")
        folder = kits / name / role
        accounts[name, role] = keystore_address(folder / f"{role}.json")
        shutil.copy(folder / "answer.json", f"answers/{name} {role}.json")

    before = int(site.node.rpc("eth_getTransactionCount", site.address("owner"), "latest"), 16)
    shown = flo(*dry_run).succeeded().out
    assert all(f"{name} as {role}: {accounts[name, role]}\n" in shown for name, role in MEMBERS)
    assert f"Would admit {len(MEMBERS)} accounts" in shown
    assert not site.observe_of(accounts["bank-b", "party"]).party.admitted
    assert f"Admitted {len(MEMBERS)} accounts." in flo(*admit).succeeded().out
    repeated = flo(*admit).succeeded().out
    assert repeated.count("(is admitted already)") == len(MEMBERS)
    sent = int(site.node.rpc("eth_getTransactionCount", site.address("owner"), "latest"), 16)
    assert sent - before == 2  # one batch for each role

    by_role = {command[0]: command for command in register}
    for (name, role), account in accounts.items():
        site.node.give(account)
        typed = [word.replace("0x…", BENEFICIARY) for word in by_role[role]]
        as_member(monkeypatch, name, role, *typed, kits=kits).succeeded()
        seen = site.observe_of(account)
        view = seen.party if role == "party" else seen.aggregator
        assert view.stake > 0


def test_a_wrong_answer_among_right_ones_admits_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.key("owner")
    monkeypatch.setenv("FLO_RPC", site.node.url)
    list_members([("a", "party"), ("b", "party")])
    terms = AgreedTerms.of(site.federation)
    signers = {name: LocalSigner.from_secret(secret_of(name)) for name in ("a", "b", "mallory")}
    answers = Path("answers")
    answers.mkdir()
    admit = ("federation", "admit", "--answers", answers, "--key", "owner.json")
    listed = (*admit, "--members", "members.csv")

    def put(file: str, name: str, signer: str, **changed: str) -> None:
        signed = Answer.signed(name, "party", terms, signers[signer])
        (answers / file).write_text(signed.model_copy(update=changed).to_text())

    put("a.json", "a", "a")
    put("wrong.json", "b", "mallory", account=signers["b"].address)
    flo(*listed).refused(2, "wrong.json was not signed by", signers["b"].address)
    put("wrong.json", "a", "a", role="aggregator")
    flo(*listed).refused(2, "wrong.json was not signed by")
    put("wrong.json", "mallory", "mallory")
    flo(*listed).refused(2, "wrong.json", "not on the list")
    put("wrong.json", "a", "mallory")
    flo(*admit).refused(2, "name two accounts for a as party")
    put("wrong.json", "b", "a")
    flo(*listed).refused(2, "name the same account")
    (answers / "wrong.json").write_text("{}")
    flo(*listed).refused(2, "wrong.json is not the answer of a member")
    flo(*listed, "--role", "party").refused(2, "--role is for accounts")
    flo("federation", "admit", "--key", "owner.json").refused(2, "Nobody is named")
    Path("members.csv").write_text(f"name,role,address\na,party,{signers['b'].address}\n")
    (answers / "wrong.json").unlink()
    flo(*listed).refused(2, "the list has", signers["b"].address)
    assert not any(site.observe_of(s.address).party.admitted for s in signers.values())

    list_members([("a", "party"), ("b", "party")])
    told = flo(*listed, "--dry-run", "--json").succeeded().json
    assert told["no_answer"] == [{"name": "b", "role": "party"}]
    assert [a["account"] for a in told["answers"]] == [signers["a"].address]


def test_a_member_whose_chain_shows_other_terms_does_not_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLO_RPC", site.node.url)
    list_members([("a", "party")])
    flo("federation", "kit", "members.csv").succeeded()
    folder = site.directory / "kits" / "a" / "party"
    as_member(
        monkeypatch, "a", "party", "keys", "new", "party.json", kits=site.directory / "kits"
    ).succeeded()
    kit = json.loads((folder / "kit.json").read_text())
    kit["genesis_root"] = "0x" + "00" * 32
    (folder / "kit.json").write_text(json.dumps(kit))
    answered = as_member(
        monkeypatch, "a", "party", "federation", "answer", kits=site.directory / "kits"
    )
    answered.refused(2, "The kit says genesis root 0x00", "Do not answer")
    assert not (folder / "answer.json").exists()
