"""Options and data that `flo demo` refuses, each in words, before it writes anything."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from support.flo import flo

from fl_orchestrator.model.rules import RuleKind


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dataset", "nonsense"], ["no task 'nonsense'", "breast-cancer"]),
        (["--rule", "mode"], ["no rule 'mode'", ", ".join(rule.label for rule in RuleKind)]),
        (["--trim", "0.1"], ["The rule weighted-mean takes no --trim", "--rule trimmed-mean"]),
        (["--rule", "trimmed-mean", "--trim", "0.5"], ["--trim is 0.5", "0 to 0.4999"]),
        (["--parties", "0"], ["--parties is 0; it must be 1 to"]),
        (["--parties", "-3"], ["--parties is -3"]),
        (["--parties", "ten"], ["--parties"]),
        (["--aggregators", "0"], ["--aggregators is 0; it must be 1 to 64"]),
        (["--aggregators", "65"], ["--aggregators is 65; it must be 1 to 64"]),
        (["--rounds", "0"], ["--rounds is 0; it must be 1 to"]),
        (["--participants", "0"], ["--participants is 0; it must be 1 to 10"]),
        (["--participants", "11"], ["--participants is 11; it must be 1 to 10"]),
        (["--seed", "-1"], ["--seed is -1; it must be 0 to"]),
        (["--partition", "halves"], ["halves"]),
        (["--partition", "dirichlet:0"], ["dirichlet:0"]),
        (["--partition", "shards:x"], ["shards:x"]),
        (["--partition", "column:hospital"], ["hospital"]),
        (["--private", "--rule", "median"], ["cannot have the rule median", "only their sum"]),
        (["--private", "--parties", "2"], ["at least 3 parties, not 2"]),
        (["--private", "--participants", "5"], ["draws 5 of 10 parties", "--relock"]),
        (["--private", "--aggregators", "1"], ["One of 1 aggregators", "alone"]),
        (["--private", "--aggregators", "11"], ["1 to 10 aggregators, not 11"]),
        (["--parties", "60"], ["427 rows are too few for 60 parties", "at most 53"]),
    ],
)
def test_impossible_options_are_refused(
    tmp_path: Path, options: list[str], words: list[str]
) -> None:
    loaded = "tensorflow" in sys.modules
    flo("demo", "--out", tmp_path / "run", *options).refused(2, *words)
    assert not (tmp_path / "run").exists()
    assert ("tensorflow" in sys.modules) == loaded


def test_a_data_set_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLO_DATA_DIR", str(tmp_path / "none"))
    for dataset in ("heart-disease", "mnist", "credit-german", "ai4i"):
        refused = flo("demo", "--dataset", dataset, "--out", tmp_path / "run")
        refused.refused(5, str(tmp_path / "none"), "FLO_DATA_DIR")
    assert not (tmp_path / "run").exists()


def test_a_data_file_with_another_sha256_is_refused(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data_dir / "credit_german", tmp_path / "data" / "credit_german")
    monkeypatch.setenv("FLO_DATA_DIR", str(tmp_path / "data"))
    for path in (tmp_path / "data" / "credit_german").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    refused = flo("demo", "--dataset", "credit-german", "--out", tmp_path / "run")
    refused.refused(5, "is not the published one: its size or sha256 differs", "with sha256")
    assert not (tmp_path / "run").exists()
