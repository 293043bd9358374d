"""Loaders: the published rows, and a typed refusal of every other file."""

import gzip
import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import SupportsFloat

import numpy as np
import pytest

from fl_orchestrator.training import datasets
from fl_orchestrator.training.datasets import Dataset, images, tables

ROWS = {
    "breast-cancer": (427, 142, 30, 2),
    "digits": (1347, 450, 64, 10),
    "heart-disease": (486, 254, 13, 2),
    "mnist": (60_000, 10_000, 784, 10),
    "credit-german": (750, 250, 63, 2),
    "ai4i": (7_500, 2_500, 8, 2),
}


@pytest.fixture(scope="module")
def load() -> Callable[[str], Dataset]:
    cache: dict[str, Dataset] = {}

    def cached(name: str) -> Dataset:
        if name not in cache:
            cache[name] = datasets.load(name)
        return cache[name]

    return cached


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("name", ROWS)
def test_a_data_set_has_its_published_form(name: str, load: Callable[[str], Dataset]) -> None:
    data = load(name)
    train, test, features, classes = ROWS[name]
    for rows, count in ((data.train, train), (data.test, test)):
        assert rows.x.shape == (count, features)
        assert rows.x.dtype == np.float32
        assert rows.y.dtype == np.int32
        assert np.isfinite(rows.x).all()
        assert sorted(set(rows.y.tolist())) == list(range(classes))
    assert data.name == name
    assert data.classes == classes
    assert len(data.feature_names) == len(set(data.feature_names)) == features
    assert data.licence.startswith("CC BY")
    assert data.source


def test_every_data_set_is_listed() -> None:
    assert list(datasets.LOADERS) == list(ROWS)


def test_breast_cancer_labels_the_malignant_tumours_one(load: Callable[[str], Dataset]) -> None:
    data = load("breast-cancer")
    assert data.train.y.sum() + data.test.y.sum() == 212
    radius = data.train.x[:, data.feature_names.index("radius (mean)")]
    assert radius[data.train.y == 1].mean() > radius[data.train.y == 0].mean()


@pytest.mark.usefixtures("data_dir")
def test_heart_disease_is_split_per_hospital_as_by_flamby(
    load: Callable[[str], Dataset],
) -> None:
    data = load("heart-disease")
    assert data.group_names["hospital"] == ("cleveland", "hungarian", "switzerland", "va")
    assert np.bincount(data.groups["hospital"]).tolist() == [199, 172, 30, 85]
    assert np.bincount(data.test_groups["hospital"]).tolist() == [104, 89, 16, 45]
    # Cleveland's first row: 63 years, male, pain 1, 145, 233, sugar, ECG 2, 150, no angina, 2.3.
    first: list[SupportsFloat] = [63, 1, 145, 233, 1, 150, 0, np.float32(2.3), 0, 0, 0, 0, 1]
    rows = np.concatenate([data.train.x, data.test.x]).tolist()
    assert [float(value) for value in first] in rows
    # scikit-learn's split is part of the setting: this digest pins it.
    digest = hashlib.sha256(data.test.x.tobytes() + data.test.y.tobytes()).hexdigest()
    assert digest == "ad3bbfd3864928dbf91a4771148356e9f5d8698fd786907c1deb5ffd16ee7431"


@pytest.mark.usefixtures("data_dir")
def test_credit_codes_every_quality_as_one_indicator(load: Callable[[str], Dataset]) -> None:
    data = load("credit-german")
    assert data.train.y.sum() + data.test.y.sum() == 300
    for number, (name, codes) in tables.CREDIT_GERMAN_ATTRIBUTES.items():
        if codes:
            columns = [data.feature_names.index(f"{name} A{number}{code}") for code in codes]
            assert (data.train.x[:, columns].sum(axis=1) == 1).all()


@pytest.mark.usefixtures("data_dir")
def test_ai4i_has_no_column_that_says_why_a_machine_failed(
    load: Callable[[str], Dataset],
) -> None:
    data = load("ai4i")
    assert data.train.y.sum() + data.test.y.sum() == 339
    assert not {"TWF", "HDF", "PWF", "OSF", "RNF", "UDI"} & set(data.feature_names)


@pytest.mark.usefixtures("data_dir")
def test_mnist_has_the_published_counts(load: Callable[[str], Dataset]) -> None:
    data = load("mnist")
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.train.y).tolist() == counts
    assert (data.train.x.min(), data.train.x.max()) == (0, 255)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(datasets.UnknownDataSet, match="Use one of breast-cancer, digits"):
        datasets.load("iris")


def test_a_missing_file_names_the_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLO_DATA_DIR", str(tmp_path))
    for name in ("heart-disease", "mnist", "credit-german", "ai4i"):
        with pytest.raises(datasets.DataSetMissing, match=r"does not exist.*set FLO_DATA_DIR"):
            datasets.load(name)


def test_a_missing_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(datasets.DataSetMissing, match="pip install"):
        datasets.load("digits")


def test_a_file_changed_by_one_bit_is_refused(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((data_dir / tables.AI4I.path).read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / tables.AI4I.path
    path.parent.mkdir()
    path.write_bytes(content)
    monkeypatch.setenv("FLO_DATA_DIR", str(tmp_path))
    with pytest.raises(datasets.DataSetAltered, match=tables.AI4I.sha256):
        datasets.load("ai4i")


def test_a_file_of_another_size_is_refused_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / tables.CREDIT_GERMAN.path
    path.parent.mkdir()
    path.touch()
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: reading it would take for ever
    monkeypatch.setenv("FLO_DATA_DIR", str(tmp_path))
    with pytest.raises(datasets.DataSetAltered):
        datasets.load("credit-german")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes([0, 0, 8, 1]) + (10_000).to_bytes(4, "big") + bytes(9_999),
        bytes([0, 0, 8, 1]) + (10_000).to_bytes(4, "big") + bytes(10_001),
        bytes([0, 0, 8, 1]) + (10_001).to_bytes(4, "big") + bytes(10_000),
        bytes([0, 0, 9, 1]) + (10_000).to_bytes(4, "big") + bytes(10_000),
    ],
    ids=["empty", "short", "long", "another count", "another type"],
)
def test_an_idx_file_of_another_form_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(content)
    file = datasets.DataFile("labels.gz", len(packed), hashlib.sha256(packed).hexdigest())
    (tmp_path / "labels.gz").write_bytes(packed)
    monkeypatch.setenv("FLO_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(images.MNIST, "test labels", file)
    with pytest.raises(datasets.DataSetAltered, match="not an IDX file"):
        images._labels("test labels", 10_000)
