"""`flo demo --private --look`: one patient is in the plain store, and not in the private one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.flo import flo

from fl_orchestrator.audit.run_directory import check_run_directory
from fl_orchestrator.training import datasets

FEATURES = 30


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("look") / "run"


@pytest.fixture(scope="module")
def shown(directory: Path) -> Any:
    look = flo("demo", "--private", "--look", "--seed", "3", "--json", "--out", directory)
    return look.succeeded().json


def quotients(store: Path, kind: str, dtype: str) -> list[NDArray[np.float64]]:
    """Of each file of a kind, the weights' numbers by the bias's, read without the package."""
    found = []
    for path in sorted((store / "pinned").iterdir()):
        content = path.read_bytes()
        if f'"kind":"{kind}"'.encode() in content:
            start = 8 + int.from_bytes(content[:8], "little")
            values = np.frombuffer(content, dtype, 2 * FEATURES + 2, start).astype(np.float64)
            found.append(values[1 : 2 * FEATURES : 2] / values[-1])
    return found


def test_the_patient_is_read_from_the_plain_store_and_not_from_the_private_one(
    directory: Path, shown: Any
) -> None:
    plain, private, opened = shown["readings"]
    assert plain["patient_correlation"] > 0.9999
    assert plain["update_correlation"] > 0.9999
    assert abs(private["patient_correlation"]) < 0.6
    assert abs(opened["patient_correlation"]) < 0.95
    # It is a patient of the data set, to the resolution of an update.
    rows = datasets.load("breast-cancer").train.x
    assert np.isclose(rows, shown["patient"], rtol=1e-3).all(axis=1).sum() == 1
    assert np.allclose(plain["patient"], shown["patient"], rtol=2e-2, atol=1e-2)
    assert not np.allclose(private["patient"], shown["patient"], rtol=0.5)


def test_what_is_shown_is_what_the_stores_hold(directory: Path, shown: Any) -> None:
    plain, private, _ = (np.array(reading["patient"]) for reading in shown["readings"])
    in_clear = quotients(directory / "plain" / "store", "update", "<i2")
    masked = quotients(directory / "private" / "store", "masked", "<i4")
    assert (len(in_clear), len(masked)) == (5, 5)
    assert quotients(directory / "private" / "store", "update", "<i2") == []

    def match(candidates: list[NDArray[np.float64]], row: NDArray[np.float64]) -> float:
        mean, scale = _scales()
        return max(float(np.corrcoef(c, (row - mean) / scale)[0, 1]) for c in candidates)

    patient = np.array(shown["patient"])
    assert match(in_clear, patient) > 0.9999
    assert match(masked, patient) < 0.9
    assert match(in_clear, plain) > 1 - 1e-12
    assert match(masked, private) > 1 - 1e-12


def _scales() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from fl_orchestrator.training.scales import BREAST_CANCER

    return np.array(BREAST_CANCER.mean), np.array(BREAST_CANCER.scale)


def test_both_federations_have_the_same_model_to_the_bit(shown: Any) -> None:
    assert shown["model_values"] == shown["model_values_equal"] == 2 * FEATURES + 2


def test_it_leaves_a_picture_and_a_directory_that_the_next_run_may_use(
    directory: Path, shown: Any
) -> None:
    assert Path(shown["picture"]).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    check_run_directory(directory)


def test_a_person_sees_both_side_by_side_and_keeps_the_record_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = flo("demo", "--private", "--look").succeeded().out
    assert [entry.name for entry in tmp_path.iterdir()] == ["flo-look"]  # and not flo-demo
    (row,) = (line for line in said.splitlines() if "mean radius" in line)
    _, patient, plain, private, _ = (
        cell.strip().replace(",", "") for cell in row.strip("│").split("│")
    )
    assert abs(float(plain) - float(patient)) < 0.02
    assert abs(float(private) - float(patient)) > 0.02
    assert "The models after the round are the same: 62 of 62 values are equal" in said


def test_options_that_a_look_does_not_heed_are_refused(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    flo("demo", "--look", *out).refused(2, "compares a private federation", "--private too")
    refused = flo("demo", "--private", "--look", "--rounds", "3", *out)
    refused.refused(2, "--rounds does not go with --look", "--seed, --out, --private and --json")
    assert not (tmp_path / "run").exists()
