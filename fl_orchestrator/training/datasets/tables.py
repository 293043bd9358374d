"""Loaders of tabular data sets: breast cancer, heart disease, German credit, AI4I.

Features are not scaled.
"""

from __future__ import annotations

import csv
import io

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.training.data import Indices, Rows, stratified_split
from fl_orchestrator.training.datasets.dataset import (
    DataFile,
    Dataset,
    data_dir,
    scikit_learn_dir,
)

BREAST_CANCER = DataFile(
    "breast_cancer.csv",
    119_913,
    "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed",
)
HEART_DISEASE = {
    "cleveland": DataFile(
        "heart_disease/processed.cleveland.data",
        18_461,
        "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    ),
    "hungarian": DataFile(
        "heart_disease/processed.hungarian.data",
        10_263,
        "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    ),
    "switzerland": DataFile(
        "heart_disease/processed.switzerland.data",
        4_109,
        "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
    ),
    "va": DataFile(
        "heart_disease/processed.va.data",
        6_737,
        "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
    ),
}
CREDIT_GERMAN = DataFile(
    "credit_german/german.data",
    79_793,
    "3d775b09661d6d62efc72ca93b90bb6a79e6f733136c34580efcde87d91a5715",
)
AI4I = DataFile(
    "ai4i2020/ai4i2020.csv",
    512_044,
    "53d0e7b71f760829a91ec3a9df54c0f044836074a227fe5be5a06bedd0cb1125",
)

BREAST_CANCER_FEATURES = tuple(
    f"{quantity} ({statistic})"
    for statistic in ("mean", "standard error", "worst")
    for quantity in (
        *("radius", "texture", "perimeter", "area", "smoothness"),
        *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
    )
)
HEART_DISEASE_FEATURES = (
    *("age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"),
    *("cp 2", "cp 3", "cp 4", "restecg 1", "restecg 2"),
)
# Attribute number in german.doc: name, and for a qualitative one the codes it lists.
CREDIT_GERMAN_ATTRIBUTES: dict[int, tuple[str, range | None]] = {
    1: ("checking account", range(1, 5)),
    2: ("months", None),
    3: ("history", range(5)),
    4: ("purpose", range(11)),
    5: ("amount", None),
    6: ("savings", range(1, 6)),
    7: ("employment", range(1, 6)),
    8: ("instalment rate", None),
    9: ("personal status", range(1, 6)),
    10: ("guarantors", range(1, 4)),
    11: ("residence", None),
    12: ("property", range(1, 5)),
    13: ("age", None),
    14: ("other plans", range(1, 4)),
    15: ("housing", range(1, 4)),
    16: ("credits", None),
    17: ("job", range(1, 5)),
    18: ("dependants", None),
    19: ("telephone", range(1, 3)),
    20: ("foreign worker", range(1, 3)),
}
CREDIT_GERMAN_FEATURES = tuple(
    name if codes is None else f"{name} A{number}{code}"
    for number, (name, codes) in CREDIT_GERMAN_ATTRIBUTES.items()
    for code in (codes or (0,))
)
AI4I_NUMBERS = (
    *("Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]"),
    *("Torque [Nm]", "Tool wear [min]"),
)
AI4I_FEATURES = (*AI4I_NUMBERS, "Type L", "Type M", "Type H")


def load_breast_cancer() -> Dataset:
    """569 tumours, 30 measurements of cell nuclei; label 1 is malignant.

    A fixed quarter is the test set.
    """
    lines = BREAST_CANCER.read(scikit_learn_dir()).decode().splitlines()
    table = np.array([line.split(",") for line in lines[1:]], np.float64)
    # The file codes malignant as 0; here, label 1 is always the positive finding.
    rows = Rows(table[:, :-1].astype(np.float32), 1 - table[:, -1].astype(np.int32))
    return _split(
        rows,
        name="breast-cancer",
        feature_names=BREAST_CANCER_FEATURES,
        licence="CC BY 4.0 (UCI Machine Learning Repository, id 17)",
        source="Wolberg, W., Mangasarian, O., Street, N., Street, W. (1993). Breast Cancer "
        "Wisconsin (Diagnostic). UCI. DOI 10.24432/C5DW2B. As distributed with scikit-learn.",
    )


def load_heart_disease() -> Dataset:
    """740 patients of four hospitals; label 1 is heart disease. Prepared and split as in FLamby.

    Columns 10 to 12 are dropped, then rows with an unknown value. Chest pain and ECG become
    indicators without their first value. Each hospital is split separately (Ogier du Terrail et al.
    2022, github.com/owkin/FLamby, flamby/datasets/fed_heart_disease/dataset.py).
    """
    tables = [_heart_table(file) for file in HEART_DISEASE.values()]
    splits = [_flamby_split(table[:, -1]) for table in tables]
    parts = []
    groups = []
    for side in (0, 1):
        chosen = [table[split[side]] for table, split in zip(tables, splits, strict=True)]
        merged = np.concatenate(chosen)
        parts.append(Rows(merged[:, :-1].astype(np.float32), merged[:, -1].astype(np.int32)))
        groups.append(np.repeat(np.arange(len(chosen)), [len(part) for part in chosen]))
    return Dataset(
        name="heart-disease",
        train=parts[0],
        test=parts[1],
        classes=2,
        feature_names=HEART_DISEASE_FEATURES,
        licence="CC BY 4.0 (UCI Machine Learning Repository, id 45)",
        source="Janosi, A., Steinbrunn, W., Pfisterer, M., Detrano, R. (1988). Heart Disease. UCI. "
        "DOI 10.24432/C52P4X. Investigators: A. Janosi (Budapest), W. Steinbrunn (Zurich), "
        "M. Pfisterer (Basel), R. Detrano (Long Beach and Cleveland).",
        groups={"hospital": groups[0]},
        test_groups={"hospital": groups[1]},
        group_names={"hospital": tuple(HEART_DISEASE)},
    )


def load_credit_german() -> Dataset:
    """1,000 loans, 7 numeric features and 13 categorical ones as indicators; label 1 is a bad loan.

    Groemping (2019) found coding errors in this table: use it to compare methods only, not to
    decide about people.
    """
    lines = CREDIT_GERMAN.read(data_dir()).decode("ascii").splitlines()
    table = [line.split() for line in lines]
    columns: list[NDArray[np.float32]] = []
    for number, (_, codes) in CREDIT_GERMAN_ATTRIBUTES.items():
        values = np.array([row[number - 1] for row in table])
        columns += (
            [values.astype(np.float32)]
            if codes is None
            else [(values == f"A{number}{code}").astype(np.float32) for code in codes]
        )
    return _split(
        Rows(np.stack(columns, axis=1), np.array([row[20] == "2" for row in table], np.int32)),
        name="credit-german",
        feature_names=CREDIT_GERMAN_FEATURES,
        licence="CC BY 4.0 (UCI Machine Learning Repository, id 144)",
        source="Hofmann, H. (1994). Statlog (German Credit Data). UCI. DOI 10.24432/C5NC77.",
    )


def load_ai4i() -> Dataset:
    """10,000 simulated milling jobs, 5 readings and the product's quality; label 1 is a failure.

    The columns TWF, HDF, PWF, OSF and RNF tell why a machine failed, so they are not features.
    """
    text = io.StringIO(AI4I.read(data_dir()).decode("ascii"))
    table = list(csv.DictReader(text))
    columns = [np.array([row[name] for row in table], np.float32) for name in AI4I_NUMBERS]
    columns += [np.array([row["Type"] == kind for row in table], np.float32) for kind in "LMH"]
    return _split(
        Rows(
            np.stack(columns, axis=1), np.array([row["Machine failure"] for row in table], np.int32)
        ),
        name="ai4i",
        feature_names=AI4I_FEATURES,
        licence="CC BY 4.0 (UCI Machine Learning Repository, id 601)",
        source="Matzka, S. (2020). Explainable AI for Predictive Maintenance Applications. AI4I. "
        "UCI. DOI 10.24432/C5HS5C.",
    )


def _split(
    rows: Rows, *, name: str, feature_names: tuple[str, ...], licence: str, source: str
) -> Dataset:
    """Hold out a fixed, stratified quarter of a two-class table as its test set."""
    train, test = stratified_split(rows.y, test_fraction=0.25)
    return Dataset(
        name=name,
        train=rows.take(train),
        test=rows.take(test),
        classes=2,
        feature_names=feature_names,
        licence=licence,
        source=source,
    )


def _heart_table(file: DataFile) -> NDArray[np.float64]:
    """Features in the order of `HEART_DISEASE_FEATURES`, then the label, float64 (rows, 14)."""
    lines = file.read(data_dir()).decode("ascii").splitlines()
    cells = [line.split(",")[:10] + line.split(",")[13:] for line in lines]
    table = np.array([row for row in cells if "?" not in row], np.float64)
    pain, ecg = table[:, 2], table[:, 6]
    indicators = [pain == 2, pain == 3, pain == 4, ecg == 1, ecg == 2]
    plain = table[:, [0, 1, 3, 4, 5, 7, 8, 9]]
    return np.column_stack([plain, *indicators, table[:, 10] > 0])


def _flamby_split(labels: NDArray[np.float64]) -> tuple[Indices, Indices]:
    """FLamby's split of one hospital: 66 % train, stratified, scikit-learn's state 43."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=1.0 - 0.66,
        train_size=0.66,
        random_state=43,
        shuffle=True,
        stratify=labels if np.bincount(labels.astype(int)).min() > 2 else None,
    )
    return np.sort(train), np.sort(test)
