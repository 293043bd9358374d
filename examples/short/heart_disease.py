"""Four hospitals, each with its own file, learn to tell heart disease together."""

import numpy as np
from sklearn.linear_model import SGDClassifier

from fl_orchestrator import simulate
from fl_orchestrator.training.csv_table import CsvTable
from fl_orchestrator.training.datasets import data_dir
from fl_orchestrator.training.sklearn import SklearnTrainer

FOLDER = data_dir() / "heart_disease"
MIDDLE = {"age": 54, "sex": 0.5, "pain": 3, "pressure": 132, "cholesterol": 220, "sugar": 0.2}
MIDDLE |= {"ecg": 0.5, "rate": 140, "angina": 0.4, "depression": 0.9}
CENTRE = np.array(list(MIDDLE.values()), np.float32)
SCALE = np.array([9, 0.5, 1, 18, 100, 0.4, 0.8, 25, 0.5, 1], np.float32)


def hospital(name: str) -> SklearnTrainer:
    table = CsvTable(FOLDER / f"processed.{name}.data", [*MIDDLE, "slope", "ca", "thal", "disease"])
    x = (
        table.numbers(MIDDLE, missing=MIDDLE) - np.array(list(MIDDLE.values()), np.float32)
    ) / SCALE
    y = (table.numbers(["disease"])[:, 0] > 0).astype(int)
    test = np.arange(len(y)) % 3 == 0
    rows = {"validation": (x[test], y[test]), "classes": [0, 1]}
    return SklearnTrainer(SGDClassifier(loss="log_loss"), x[~test], y[~test], **rows)


hospitals = [hospital(name) for name in ("cleveland", "hungarian", "switzerland", "va")]
result = simulate(hospitals, rounds=6, epochs=2, learning_rate=0.01)
print("auc", result.rounds[-1].metrics["auc"])
