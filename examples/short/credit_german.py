"""Ten banks learn to tell bad loans from good ones."""

import numpy as np
from sklearn.linear_model import SGDClassifier

from fl_orchestrator import simulate
from fl_orchestrator.training.csv_table import CsvTable
from fl_orchestrator.training.datasets import data_dir
from fl_orchestrator.training.sklearn import SklearnTrainer

table = CsvTable(data_dir() / "credit_german/german.data", [f"c{n}" for n in range(1, 22)])
middle, scale = np.array([[24, 3000, 2.5, 35], [12, 3000, 1, 12]], np.float32)
columns = [(table.numbers(["c2", "c5", "c8", "c13"]) - middle) / scale]
for name, count in {"c1": 4, "c3": 5, "c4": 11, "c6": 5, "c7": 5}.items():
    codes = [f"A{name[1:]}{code}" for code in range(0 if name in ("c3", "c4") else 1, count + 1)]
    columns.append(table.indicators(name, codes))
x, y = np.concatenate(columns, axis=1), table.codes("c21", ["1", "2"])


def bank(number: int, parties: int) -> SklearnTrainer:
    own, test = slice(number, 750, parties), slice(750, None)
    model = SGDClassifier(loss="log_loss", alpha=0.001)
    return SklearnTrainer(model, x[own], y[own], validation=(x[test], y[test]), classes=[0, 1])


result = simulate(bank, parties=10, rounds=6, epochs=3, learning_rate=0.02)
print("auc", result.rounds[-1].metrics["auc"])
