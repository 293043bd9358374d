"""Mutation testing: faults are generated, tests find them, an interrupted run continues."""

import itertools
from pathlib import Path

import pytest

from assurance import mutation
from assurance.mutants import Mutant, mutants_of
from assurance.mutation import INVALID, KILLED, OWN_TESTS, SURVIVED, judge, suite_for
from assurance.records import Records, digest, needed_by

SOURCE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

contract Counter {
    enum Mode { Up, Down }
    uint256 private total;

    modifier once() { require(total == 0); _; }

    function step(Mode mode, uint256 by, uint256 limit) external once returns (uint256 next) {
        if (by > limit || by == 0) revert();
        next = mode == Mode.Up ? total + by : total - by;
        for (uint256 i = 1; i < by; ++i) {
            total += i;
        }
        swap(by, limit);
    }

    function swap(uint256 a, uint256 b) private pure {}
}
"""


@pytest.fixture
def project(tmp_path: Path, checkout: Path) -> Path:
    if not (checkout / "node_modules" / "solc").is_dir():
        pytest.skip("npm packages are not installed: run npm ci")
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "Counter.sol").write_text(SOURCE)
    (tmp_path / "foundry.toml").write_text((checkout / "foundry.toml").read_text())
    (tmp_path / "scripts").symlink_to(checkout / "scripts")
    (tmp_path / "node_modules").symlink_to(checkout / "node_modules")
    return tmp_path


def test_every_kind_of_fault_is_made(project: Path) -> None:
    mutants = mutants_of(project, [Path("contracts", "Counter.sol")])
    mutated = [mutant.apply(SOURCE.encode()).decode() for mutant in mutants]
    assert len(set(mutated)) == len(mutants)
    assert all(SOURCE.count("\n") == text.count("\n") for text in mutated)
    for fault in [
        "if (by >= limit || by == 0)",
        "if (by > limit && by == 0)",
        "if (by > limit)",
        "if (by == 0)",
        "if (!(by > limit || by == 0))",
        "by == (0 + 1)",
        "mode == Mode.Down ?",
        "? total - by :",
        "i < by; --i",
        "i < by; ) {",
        "total -= i;",
        "total = i;",
        "            {}",
        "swap(limit, by);",
        "for (uint256 i; i < by",
        "|| by == 0) {}",
        "external  returns",
    ]:
        assert any(fault in text for text in mutated), fault
    # These would change nothing: the loop has steps of one, and no unsigned number is below zero.
    for same in ["i != by", "by <= 0"]:
        assert not any(same in text for text in mutated), same


def test_a_record_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    records = Records(file)
    records.add("a", "killed", file="A.sol")
    records.add("b", 3)
    file.write_text(file.read_text()[:-5])
    again = Records(file)
    assert again.known == {"a": "killed"}
    again.add("b", 4)
    assert Records(file).known == {"a": "killed", "b": 4}


def test_a_digest_depends_on_settings_names_and_contents(tmp_path: Path) -> None:
    files = [Path("a"), Path("b")]
    for file in files:
        (tmp_path / file).write_text("text")
    (tmp_path / "c").write_text("other")
    digests = [
        digest(tmp_path, files),
        digest(tmp_path, files, "setting"),
        digest(tmp_path, files[:1]),
        digest(tmp_path, files[1:]),
        digest(tmp_path, [Path("a"), Path("c")]),
    ]
    assert all(a != b for a, b in itertools.combinations(digests, 2))


def test_what_a_test_needs_is_found(checkout: Path) -> None:
    needed = needed_by([Path("tests/contracts/libraries/TypedData.t.sol")])
    for file in [
        "contracts/libraries/TypedData.sol",
        "contracts/interfaces/IFederation.sol",
        "tests/contracts/support/GoldenTest.sol",
        "tests/vectors/golden.json",
        "foundry.toml",
    ]:
        assert Path(file) in needed
    assert Path("contracts/libraries/ModelRule.sol") not in needed
    assert all((checkout / file).exists() for file in needed)


def test_a_contract_that_has_tests_of_its_own_is_tested_by_them_alone(checkout: Path) -> None:
    sources = {file.relative_to(checkout) for file in (checkout / "contracts").rglob("*.sol")}
    assert {file.stem for file in sources} >= OWN_TESTS.keys()
    files = {source.stem: suite_for(source).files for source in sources if source.stem in OWN_TESTS}
    tests = {
        stem: {file.name.removesuffix(".t.sol") for file in found if file.match("*.t.sol")}
        for stem, found in files.items()
    }
    assert tests["ModelMirror"] == tests["MirrorDisputes"]
    assert tests["ModelMirror"] == {"MirrorAttacks", "MirrorDisputes", "MirrorResults"}
    assert tests["RewardShares"] > {"RewardShares", "RewardSharesReentrant"}
    assert tests["StateProofs"] == {"Challenge", "PrivateChallenge"}
    # They deploy contracts that they do not import.
    assert all(sources <= set(found) for found in files.values())


def test_a_mutant_is_shown_as_what_changes() -> None:
    source = b"line\nif (a < b) c();\n"
    mutant = Mutant("A.sol", 11, 12, ">=", "relational")
    assert mutant.diff(source) == "@@ -2 +2 @@\n-if (a < b) c();\n+if (a >= b) c();"


def test_the_tests_of_a_library_kill_a_fault_and_no_verdict_is_found_twice(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (checkout / "node_modules" / ".bin" / "forge").exists():
        pytest.skip("npm packages are not installed: run npm ci")
    monkeypatch.setattr(mutation, "WORK", tmp_path)
    file = "contracts/libraries/Bitmap.sol"
    source = (checkout / file).read_bytes()

    def fault(old: bytes, new: str) -> Mutant:
        return Mutant(file, source.index(old), source.index(old) + len(old), new, "test")

    mutants = [
        fault(b"& 1 == 1", "& 1 == 0"),
        fault(b"& 1 == 1", "& 1 >= 1"),  # the same
        fault(b"& 1 == 1", "& one"),
    ]
    records = Records(tmp_path / "verdicts.jsonl")
    verdicts = [verdict for _, _, verdict in judge(mutants, records)]
    assert verdicts == [KILLED, SURVIVED, INVALID]
    assert (tmp_path / "mutation" / "Bitmap" / file).read_bytes() == source
    monkeypatch.setattr(mutation.Suite, "verdict", None)
    again = judge(mutants, Records(tmp_path / "verdicts.jsonl"))
    assert [verdict for _, _, verdict in again] == verdicts
