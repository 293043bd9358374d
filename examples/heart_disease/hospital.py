"""Reads one hospital's patients from its own file. These data never leave the hospital."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Table = tuple[NDArray[np.float32], NDArray[np.int32]]

# Age, resting blood pressure, cholesterol, highest heart rate and ST depression are scaled by the
# same constants in every hospital, so that a weight has the same meaning everywhere.
MIDDLE = np.array([54, 0, 132, 246, 0, 149, 0, 1, 0, 0, 0, 0, 0], np.float32)
SCALE = np.array([9, 1, 18, 52, 1, 23, 1, 1, 1, 1, 1, 1, 1], np.float32)


def load() -> tuple[Table, Table]:
    """Load training and validation rows: 13 features, and the label, 1 for heart disease.

    The environment variable HOSPITAL_DATA is the path of one of the four files of the UCI data set,
    for example processed.cleveland.data.
    """
    path = Path(os.environ["HOSPITAL_DATA"])
    cells = [line.split(",") for line in path.read_text().split()]
    # Columns 10 to 12 are unknown in most hospitals. Rows without another value are dropped.
    kept = [row[:10] + row[13:] for row in cells]
    table = np.array([row for row in kept if "?" not in row], np.float32)
    pain, ecg = table[:, 2], table[:, 6]
    indicators = [pain == 2, pain == 3, pain == 4, ecg == 1, ecg == 2]
    x = np.column_stack([table[:, [0, 1, 3, 4, 5, 7, 8, 9]], *indicators])
    x = ((x - MIDDLE) / SCALE).astype(np.float32)
    y = (table[:, 10] > 0).astype(np.int32)
    order = np.random.default_rng(0).permutation(len(y))
    test, train = np.split(order, [len(y) // 3])
    return (x[train], y[train]), (x[test], y[test])
