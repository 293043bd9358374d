"""The recipe for a rule in CONTRIBUTING.md, followed in a copy of the sources.

A list that a new rule has to be added to fails aloud until it is: a type error, or a failed test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from fl_orchestrator.model.rules import RuleKind

#: Every file that names all rules. Whoever adds a rule adds it to each of them.
NAME_EVERY_RULE: Final = {
    "contracts/interfaces/IFederation.sol",
    "contracts/libraries/ModelRule.sol",
    "tests/contracts/libraries/ModelRule.t.sol",
    "tests/contracts/support/Vectors.sol",
    "fl_orchestrator/model/rules.py",
    "fl_orchestrator/aggregation/rules.py",
    "tests/unit/aggregation/test_rules.py",
    "tests/unit/roles/test_vector_cache.py",
    "tests/integration/test_watcher_proofs.py",
}
#: It has the rules that Flower has too, and needs no other.
COMPARED_WITH_FLOWER: Final = "benchmarks/aggregate.py"
#: What fails with a row in RuleKind and nothing else: the contract's enum, the class of the rule
#: and its formula, its golden numbers, and examples of it.
FAIL: Final = {
    "tests/unit/chain/test_types.py::test_an_enum_is_declared_as_in_the_contract[RuleKind-Rule]",
    "tests/unit/aggregation/test_rules.py::test_a_manifest_names_its_rule",
    "tests/unit/model/test_golden.py::test_every_rule_has_golden_results",
    "tests/unit/roles/test_vector_cache.py::"
    "test_the_manifests_rule_is_applied_to_the_files[added-rule]",
    "tests/integration/test_watcher_proofs.py::test_the_selection_has_every_pair_of_values",
}
#: What passes then, since it is made from the table: the manifest, the parameters of the contract
#: and their check, the choices of the command line and their help.
PASS: Final = {
    "tests/unit/cli/options/test_rule_options.py::test_where_a_rule_is_chosen_its_parameters_are_too[demo]",
    "tests/unit/cli/options/test_rule_options.py::"
    "test_a_rule_has_its_defaults_where_nothing_else_is_given[added-rule]",
    "tests/unit/cli/options/test_rule_options.py::"
    "test_a_parameter_is_refused_with_a_rule_that_does_not_take_it[trim-added-rule]",
    "tests/unit/roles/test_manifest_of_a_contract.py::"
    "test_every_rule_is_deployed_as_the_manifest_has_it[added-rule]",
}
#: The next number is free, however many rules there are.
ROW: Final = f'    ADDED_RULE = {len(RuleKind)}, "added-rule", "", ()\n'
CLASS: Final = '''
@dataclass(frozen=True, slots=True)
class AddedRule:
    """The middle of the smallest and the largest, rounded down."""

    def aggregate(self, updates: Sequence[Update], weights: Sequence[int]) -> Iterator[Int16]:
        """Yield floor((min + max) / 2), as blocks."""
        _check(updates, weights)
        for blocks in _in_step(updates, [np.int16] * len(updates)):
            rows = np.array(blocks, np.int32)
            yield ((rows.min(axis=0) + rows.max(axis=0)) // 2).astype(np.int16)

'''
AGGREGATE: Final = """
import numpy as np
from fl_orchestrator.aggregation.rules import rule_for
from fl_orchestrator.model.manifest import RuleSpec

rule = rule_for(RuleSpec.of(RuleSpec(kind="added-rule").kind))
print(*rule.aggregate([[np.array([value], np.int16)] for value in (-9, 1, 2)], [1, 1, 1]))
"""


def names_every_rule(text: str) -> bool:
    return all(
        re.search(
            rf'\b{kind.name}\b|"{kind.label}\b|\b{kind.name.title().replace("_", "")}\b', text
        )
        for kind in RuleKind
    )


def edit(path: Path, before: str, inserted: str) -> None:
    """Insert a text before another one, which occurs once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{before!r} in {path}"
    path.write_text(text.replace(before, inserted + before), encoding="utf-8")


def run(copy: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def unreachable_but_reached(copy: Path) -> set[str]:
    """The files in which mypy finds a rule without its case."""
    files = (
        "fl_orchestrator/model/rules.py",
        "fl_orchestrator/model/manifest.py",
        "fl_orchestrator/aggregation/rules.py",
        "tests/unit/aggregation/test_rules.py",
    )
    # Nothing else is read, which takes a minute: what is imported from there has no type.
    found = run(copy, "-m", "mypy", "--follow-imports=skip", *files)
    assert "checked 4 source files" in found, found
    return set(re.findall(r'^(\S+?):.*"assert_never".*RuleKind\.ADDED_RULE', found, re.MULTILINE))


@pytest.fixture
def copy(tmp_path: Path, checkout: Path) -> Path:
    """The sources with one more row in RuleKind."""
    copy = tmp_path / "checkout"
    for name in ("contracts", "fl_orchestrator", "tests"):
        shutil.copytree(checkout / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "pyproject.toml", copy)
    edit(copy / "fl_orchestrator/model/rules.py", "\n    def __new__(", ROW)
    return copy


def test_the_files_that_name_every_rule_are_known(checkout: Path) -> None:
    sources = (
        path
        for folder in ("contracts", "fl_orchestrator", "migrations", "tests", "benchmarks")
        for suffix in ("*.py", "*.sol")
        for path in (checkout / folder).rglob(suffix)
    )
    found = {
        path.relative_to(checkout).as_posix()
        for path in sources
        if names_every_rule(path.read_text(encoding="utf-8"))
    }
    assert found - {COMPARED_WITH_FLOWER} == NAME_EVERY_RULE, (
        "On the left is every file that names all rules. If one is missing there, it lacks a rule. "
        "If there is one more, make its list from RuleKind, or add the file to NAME_EVERY_RULE and "
        "to the recipe in CONTRIBUTING.md."
    )


def test_the_recipe_names_every_file_that_a_rule_is_added_to(checkout: Path) -> None:
    page = (checkout / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipe = page.partition("### An aggregation rule\n")[2].partition("\n### ")[0]
    missing = [
        name for name in NAME_EVERY_RULE if name not in recipe and Path(name).name not in recipe
    ]
    assert missing == []


def test_what_a_new_rule_is_not_added_to_fails_aloud_and_the_rest_has_it(copy: Path) -> None:
    said = run(copy, "-m", "pytest", "-rA", "--tb=no", "-p", "no:cacheprovider", *FAIL, *PASS)
    found = {"PASSED": set[str](), "FAILED": set[str](), "ERROR": set[str]()}
    for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) (\S+::\S+)", said, re.MULTILINE):
        found[outcome].add(name)
    assert found == {"PASSED": PASS, "FAILED": FAIL, "ERROR": set()}, said


def test_a_rule_without_its_class_is_a_type_error_and_never_another_rule(copy: Path) -> None:
    assert unreachable_but_reached(copy) == {
        "fl_orchestrator/aggregation/rules.py",
        "tests/unit/aggregation/test_rules.py",
    }
    said = run(copy, "-c", AGGREGATE)
    assert "AssertionError: Expected code to be unreachable, but got: <RuleKind.ADDED_RULE" in said


def test_with_its_class_and_its_cases_a_rule_is_complete(copy: Path) -> None:
    rules = copy / "fl_orchestrator/aggregation/rules.py"
    edit(rules, "\ndef rule_for(", CLASS)
    case = "        case RuleKind.ADDED_RULE:\n            return "
    edit(rules, "        case _:\n", f"{case}AddedRule()\n")
    reference = copy / "tests/unit/aggregation/test_rules.py"
    edit(reference, "        case _:\n", f"{case}(min(values) + max(values)) // 2\n")
    assert unreachable_but_reached(copy) == set()
    assert run(copy, "-c", AGGREGATE) == "[-4]\n"
