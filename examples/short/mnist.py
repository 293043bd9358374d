"""Five parties with 600 pictures each learn to read digits."""

import numpy as np
from sklearn.neural_network import MLPClassifier

from fl_orchestrator import simulate
from fl_orchestrator.training.datasets import load
from fl_orchestrator.training.sklearn import SklearnTrainer

digits = load("mnist")  # below FLO_DATA_DIR, by default ../shared/data
x, y = digits.train.x.astype(np.float32) / 255, digits.train.y
test = digits.test.x.astype(np.float32) / 255, digits.test.y


def party(number: int, parties: int) -> SklearnTrainer:
    own = slice(number, 600 * parties, parties)
    model = MLPClassifier((64,), solver="sgd", momentum=0, random_state=0)
    return SklearnTrainer(model, x[own], y[own], validation=test, classes=list(range(10)))


result = simulate(party, parties=5, rounds=5, epochs=3, batch_size=10, learning_rate=0.1)
print("accuracy", result.rounds[-1].accuracy)
