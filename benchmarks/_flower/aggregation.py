"""Times Flower's own aggregation functions; run by aggregate.py in Flower's own environment.

Protocol: the arguments are the numbers of updates, of tensors, and of values in each tensor. Every
line on stdin is a function's name; the response is the CPU seconds of one call. Flower gets the
input that it is made for: float32 arrays in memory, with the values of the integer updates. For
FedAvg, two functions are timed: the plain one on arrays, and that of the current API on messages.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.server.strategy.aggregate import (
    aggregate,
    aggregate_median,
    aggregate_trimmed_avg,
)
from flwr.serverapp.strategy.strategy_utils import (
    aggregate_arrayrecords,
)


def main() -> None:
    """Answer requests until stdin ends."""
    updates, tensors, size = (int(argument) for argument in sys.argv[1:4])
    results = []
    for update in range(updates):
        values = np.random.default_rng(update).integers(-32_768, 32_768, tensors * size, np.int16)
        floats = values.astype(np.float32) / np.float32(2**15)
        results.append((np.split(floats, tensors), update + 1))
    records = [
        RecordDict(
            {
                "arrays": ArrayRecord({str(i): Array(a) for i, a in enumerate(arrays)}),
                "metrics": MetricRecord({"num-examples": examples}),
            }
        )
        for arrays, examples in results
    ]
    functions: dict[str, Callable[[], object]] = {
        "mean": lambda: aggregate(results),
        "mean_of_records": lambda: aggregate_arrayrecords(records, "num-examples"),
        "median": lambda: aggregate_median(results),
        "trimmed": lambda: aggregate_trimmed_avg(results, 0.1),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.process_time()
        functions[line.strip()]()
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
