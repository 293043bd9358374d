"""The data of a site: its share of scikit-learn's digits, scaled to 0..1."""

from functools import cache

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

CLASSES = 10
FEATURES = 64


@cache
def load_data(partition_id: int, num_partitions: int):
    """Rows and labels of one site: (x_train, y_train, x_test, y_test)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    mine = order[partition_id::num_partitions]
    x_train, x_test, y_train, y_test = train_test_split(
        (x[mine] / 16).astype(np.float32), y[mine], test_size=0.2, random_state=0
    )
    return x_train, y_train, x_test, y_test
