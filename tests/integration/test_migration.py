"""`flo federation migrate`: a federation goes on from another one's final model, and proves it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from integration.anvil_site import secret_of
from support.disk import overwrite
from support.earlier import EarlierFederation, EarlierPrivateFederation
from support.federation import SmallFederation, small_manifest
from support.flo import PASSWORD, Finished, flo, write_key
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.artifacts import CONTRACTS_VERSION
from fl_orchestrator.audit import federation as audit
from fl_orchestrator.audit.lineage import BrokenLineage, ancestors
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.model.manifest import RuleSpec, TensorSpec
from fl_orchestrator.model.parts.part import Lineage
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.manifests import ManifestMismatch, manifest_of

Flo = Callable[..., Finished]


def run_rounds(federation: SmallFederation, last: int) -> None:
    """Run rounds up to this one, of which only the last is not final then."""
    roles = federation.everybody(federation.mailbox)
    for number in range(1, last + 1):
        federation.run_round(roles, number)
        if number < last:
            federation.pass_until(federation.observe().finalizable_at)
            federation.send(federation.outsider, federation.federation.finalize())


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> EarlierFederation:
    federation = EarlierFederation(tmp_path_factory.mktemp("old"), parties=3)
    run_rounds(federation, 2)
    return federation


@pytest.fixture
def on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[SmallFederation], Callable[..., Finished]]:
    """`flo federation migrate` from a federation in this process, with the owner's key."""

    def on(federation: SmallFederation) -> Flo:
        node = Node(federation.chain.web3)
        monkeypatch.setattr(connect, "reach", lambda *_: node)
        key, password = tmp_path / "owner.json", tmp_path / "password"
        write_key(key, secret_of("owner"))
        password.write_text(PASSWORD + "\n")
        settings = {
            "STORE": f"file://{federation.store._directory}",
            "DEPLOYMENTS": str(tmp_path / "next"),
            "HOME": str(tmp_path / "home"),
            "KEY": str(key),
            "PASSWORD_FILE": str(password),
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"FLO_{name}", value)

        def migrate(*options: object, old: str = federation.federation.address) -> Finished:
            return flo("federation", "migrate", "--from", old, *options)

        return migrate

    return on


def opened(federation: SmallFederation, address: str) -> audit.Federation:
    """A federation on the same chain, with the same store."""
    return audit.Federation(open_federation(federation.chain.web3, address), federation.store)


class Successor(SmallFederation):
    """The federation that `flo federation migrate` made, with everybody registered in it."""

    def __init__(self, before: SmallFederation, directory: Path, migrate: Flo) -> None:
        self._before, self._migrate = before, migrate
        super().__init__(directory, parties=3, chain=lambda _: before.chain)

    def _deployed(self, record: DeploymentRecord) -> Deployment:
        made = self._migrate("--deployments", record.path.parent, "--json").succeeded().json
        self.store = self._before.store
        deployment = list(record.load().values())[-1]
        assert deployment.address == made["federation"]
        self.manifest = opened(self, deployment.address).manifest
        return deployment


def test_the_last_final_model_of_an_earlier_version_is_the_first_one(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo]
) -> None:
    migrate = on(old)
    planned = migrate("--dry-run", "--json").succeeded().json
    assert planned["dry_run"]
    assert planned["gas"] > 1_000_000
    made = migrate("--json").succeeded().json
    model = old.federation.model(1)
    assert old.federation.head().height == 2
    assert made["lineage"] == {
        "chain_id": old.federation.chain_id,
        "federation": old.federation.address,
        "version": old.federation.version,
        "height": 1,
        "round": 1,
        "root": "0x" + model.root.hex(),
    }
    new = opened(old, made["federation"])
    assert new.chain.version == CONTRACTS_VERSION != old.federation.version
    assert made["genesis_root"] == "0x" + new.chain.model(0).root.hex() == "0x" + model.root.hex()
    assert new.manifest.lineage == Lineage(
        chain_id=old.federation.chain_id,
        federation=old.federation.address.lower(),
        height=1,
        root=model.root.hex(),
    )
    before = {name: getattr(old.manifest, name) for name in type(old.manifest).model_fields}
    after = {name: getattr(new.manifest, name) for name in type(old.manifest).model_fields}
    assert {name for name in before if before[name] != after[name]} == {"lineage"}
    changed = {
        name
        for name in old.params.__dataclass_fields__
        if getattr(old.params, name) != getattr(new.chain.params(), name)
    }
    assert changed == {"genesis_root", "genesis_cid", "manifest_digest"}

    assert migrate("--json").succeeded().json["federation"] == made["federation"]
    migrate("--reward", "3").refused(2, "other terms or another model")
    text = migrate().succeeded().out
    assert "its final model of round 1" in text
    assert "Leaves out 1 accepted but not yet final round" in text


def test_verifying_follows_the_line_of_federations_to_the_first(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    second = Successor(old, tmp_path / "second", on(old))
    run_rounds(second, 2)
    third = on(second)("--deployments", tmp_path / "third", "--json").succeeded().json
    verify = ("model", "verify", "--all", "--federation", third["federation"])
    found = flo(*verify, "--json").succeeded().json
    assert found["rounds"] == []
    assert [entry["followed"] for entry in found["lineage"]] == [True, True]
    assert [entry["federation"] for entry in found["lineage"]] == [
        second.federation.address,
        old.federation.address,
    ]
    assert [[one["round"] for one in entry["rounds"]] for entry in found["lineage"]] == [[1], [1]]
    versions = [entry["version"] for entry in found["lineage"]]
    assert versions == [CONTRACTS_VERSION, old.federation.version]
    said = flo(*verify).succeeded().out
    assert said.count("recomputed and equal") == 2
    assert f"Goes on from {second.federation.address.lower()}" in said

    (reveal,) = old.federation.revealed_updates(0, round_number=1)[:1]
    place = old.store.locate(reveal.cid)
    assert place is not None
    kept = place.read_bytes()
    overwrite(place, kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        flo(*verify).refused(1, str(reveal.cid))
    finally:
        overwrite(place, kept)
    flo("model", "verify", "--federation", second.federation.address).succeeded()


def test_a_private_federation_goes_on_as_a_private_one(
    on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    old = EarlierPrivateFederation(tmp_path / "old")
    run_rounds(old, 2)
    made = on(old)("--json").succeeded().json
    assert made["private"]
    new = opened(old, made["federation"])
    assert new.chain.private_params() == old.private  # type: ignore[attr-defined]
    found = flo("model", "verify", "--all", "--federation", made["federation"], "--json")
    assert [len(e["rounds"]) for e in found.succeeded().json["lineage"]] == [1]


def test_with_momentum_the_new_federation_starts_from_rest(
    on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    moving = RuleSpec.of(RuleKind.WEIGHTED_MEAN, server_momentum_bps=9_000)
    old = SmallFederation(tmp_path / "old", manifest=small_manifest(rule=moving))
    run_rounds(old, 2)
    second = Successor(old, tmp_path / "second", on(old))
    model = old.federation.model(1)
    assert second.federation.model(0).root != model.root
    before = opened(old, old.federation.address).weights(1)
    after = opened(old, second.federation.address).weights(0)
    assert {name: w.tobytes() for name, w in before.items()} == {
        name: w.tobytes() for name, w in after.items()
    }
    second.run_round(second.everybody(), 1)
    verified = flo("model", "verify", "--all", "--json", "--federation", second.federation.address)
    found = verified.succeeded().json
    assert [len(found["rounds"]), len(found["lineage"][0]["rounds"])] == [1, 1]


def test_other_terms_and_another_rule_can_be_chosen_but_no_other_tensors(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    migrate = on(old)
    file = tmp_path / "manifest.json"
    file.write_bytes(small_manifest(rule=RuleSpec.of(RuleKind.MEDIAN)).to_bytes())
    options = ("--manifest", file, "--parties", 7, "--commit-period", 77, "--reward", "0.5")
    made = migrate(*options, "--json").succeeded().json
    params = opened(old, made["federation"]).chain.params()
    assert (params.rule, params.max_parties, params.participants) == (RuleKind.MEDIAN, 7, 7)
    assert (params.commit_period, params.reward) == (77, 5 * 10**17)
    assert params.reveal_period == old.params.reveal_period
    assert params.genesis_root == old.federation.model(1).root

    tensors = (*old.manifest.tensors[:-1], TensorSpec(name="other", shape=(3,)))
    for wrong in (
        small_manifest(tensors=tensors),
        small_manifest(rule=RuleSpec.of(RuleKind.MEDIAN, server_momentum_bps=1)),
    ):
        file.write_bytes(wrong.to_bytes())
        elsewhere = ("--deployments", tmp_path / "none")
        migrate("--manifest", file, *elsewhere).refused(2, "has other tensors")
    migrate("--participants", 9, *elsewhere).refused(2, "9 of 3 parties cannot be drawn")
    migrate(old="0x" + "11" * 20).refused(3, "no federation of this version")
    assert not (tmp_path / "none").exists()


def naming(federation: SmallFederation, **changes: Any) -> Lineage:
    """A line of descent from the federation's first model."""
    fields = {
        "chain_id": federation.federation.chain_id,
        "federation": federation.federation.address.lower(),
        "height": 0,
        "root": federation.genesis.root.hex(),
    }
    return Lineage(**{**fields, **changes})


def beside(federation: SmallFederation, directory: Path, lineage: Lineage) -> audit.Federation:
    """A federation with the same first model on the same chain, which names this line."""
    other = SmallFederation(
        directory,
        manifest=small_manifest(lineage=lineage),
        register=False,
        chain=lambda _: federation.chain,
    )
    federation.store.put(io.BytesIO(other.manifest.to_bytes()))
    return audit.Federation(other.federation, federation.store)


def test_a_manifest_that_names_another_root_is_refused_by_everybody(
    old: EarlierFederation, tmp_path: Path
) -> None:
    other = SmallFederation(
        tmp_path, manifest=small_manifest(lineage=naming(old, root="11" * 32)), register=False
    )
    with pytest.raises(ManifestMismatch, match="not the one that the manifest says it goes on"):
        manifest_of(other.store, other.federation)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 2}, "only 1 is final there"),
        ({"height": 1}, "and the federation 0x[0-9a-f]{40} on chain .* has 0x.* at height 1"),
    ],
)
def test_a_line_that_the_chain_does_not_have_is_broken(
    old: EarlierFederation, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    new = beside(old, tmp_path / "new", naming(old, **changes))
    with pytest.raises(BrokenLineage, match=words):
        list(ancestors(new, lambda _: new.chain.node))


def test_a_line_to_a_chain_that_is_not_reached_is_said_to_be_unchecked(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    on(old)
    new = beside(old, tmp_path / "new", naming(old, chain_id=5))
    options = ("--federation", new.address)
    said = flo("model", "verify", "--all", *options).succeeded().out
    assert "on chain 5, height 0: not followed. Give --ancestor-rpc" in said
    found = flo("model", "verify", "--all", *options, "--json").succeeded().json["lineage"]
    assert [(entry["chain_id"], entry["followed"]) for entry in found] == [(5, False)]


def claims(lineage: Any) -> Any:
    """A report's lineage without what the report found out, as the page says."""
    if isinstance(lineage, list):
        return [claims(one) for one in lineage]
    if isinstance(lineage, dict):
        return {k: claims(v) for k, v in lineage.items() if k not in ("recomputed", "reason")}
    return lineage


def test_a_report_goes_back_to_the_federation_before(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    made = on(old)("--json").succeeded().json
    options = ("report", "--federation", made["federation"])
    report = flo(*options, "--json").succeeded().json
    (before,) = report["lineage"][0]["ancestors"]
    model = old.federation.model(1)
    assert {name: value for name, value in before.items() if name != "models"} == {
        "chainId": old.federation.chain_id,
        "federation": old.federation.address,
        "version": old.federation.version,
        "height": 1,
        "round": 1,
        "root": "0x" + model.root.hex(),
        "cid": str(model.cid),
        "recomputed": "equal",
        "reason": None,
    }
    assert [one["round"] for one in before["models"]] == [0, 1]
    assert before["models"][1]["recomputed"] == "equal"
    digest = hashlib.sha256(rfc8785.dumps(claims(report["lineage"]))).hexdigest()
    assert digest == report["lineage_digest"]

    page = tmp_path / "report.html"
    flo(*options, "--out", page).succeeded()
    text = page.read_text()
    assert "All 1 models were computed again" in text
    assert "Where it comes from" in text
    for shown in (old.federation.address, model.root.hex(), str(old.federation.chain_id), digest):
        assert shown in text


def test_a_report_of_a_broken_line_says_so_and_fails(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    on(old)
    page = tmp_path / "report.html"
    for number, (changes, words) in enumerate(
        [({"height": 2}, "only 1 is final there"), ({"height": 1}, "at height 1")]
    ):
        new = beside(old, tmp_path / str(number), naming(old, **changes))
        flo("report", "--federation", new.address, "--out", page).refused(1, words)
        text = page.read_text()
        assert "Not what the protocol says: " in text
        assert words in text


def test_a_report_says_that_a_line_was_not_followed(
    old: EarlierFederation, on: Callable[[SmallFederation], Flo], tmp_path: Path
) -> None:
    on(old)
    new = beside(old, tmp_path / "new", naming(old, chain_id=5))
    page = tmp_path / "report.html"
    flo("report", "--federation", new.address, "--out", page).succeeded()
    assert "A federation before it was not followed." in page.read_text()
    report = flo("report", "--federation", new.address, "--json").succeeded().json
    (before,) = report["lineage"][0]["ancestors"]
    assert (before["chainId"], before["round"], before["recomputed"]) == (5, None, "not checked")
    assert "--ancestor-rpc" in before["reason"]


def test_the_present_record_is_not_overwritten(
    on: Callable[[SmallFederation], Flo], tmp_path: Path, old: EarlierFederation
) -> None:
    for federation, code in ((old, 3), (SmallPrivateFederation(tmp_path / "same"), 2)):
        migrate = on(federation)
        recorded = federation.directory / "deployments"
        (record,) = recorded.glob("*.json")
        before = record.read_bytes()
        migrate("--deployments", recorded).refused(code, "another --deployments")
        assert record.read_bytes() == before
