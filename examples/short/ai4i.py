"""Four factories learn to foresee failures of their machines."""

import numpy as np
from sklearn.neural_network import MLPClassifier

from fl_orchestrator import simulate
from fl_orchestrator.training.csv_table import CsvTable
from fl_orchestrator.training.datasets import data_dir
from fl_orchestrator.training.sklearn import SklearnTrainer

READINGS = ["Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]"]
READINGS += ["Torque [Nm]", "Tool wear [min]"]
MIDDLE, SCALE = np.array([[300, 310, 1500, 40, 120], [2, 2, 200, 10, 60]], np.float32)
table = CsvTable(data_dir() / "ai4i2020/ai4i2020.csv")
x = (table.numbers(READINGS) - MIDDLE) / SCALE
x = np.concatenate([x, table.indicators("Type", ["L", "M", "H"])], axis=1)
y = table.codes("Machine failure", ["0", "1"])
test = np.arange(len(y)) % 5 == 0


def factory(number: int, parties: int) -> SklearnTrainer:
    own = np.flatnonzero(~test)[number::parties]
    model = MLPClassifier((16,), solver="sgd", random_state=0)
    return SklearnTrainer(model, x[own], y[own], validation=(x[test], y[test]), classes=[0, 1])


result = simulate(factory, parties=4, rounds=6, epochs=4, learning_rate=0.1)
print("auc", result.rounds[-1].metrics["auc"])
