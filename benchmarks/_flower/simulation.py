"""Times rounds of Flower's own simulation; run by simulation.py in Flower's own environment.

The arguments are the numbers of parties, of rounds and of parameters. It prints the seconds
between the ends of successive rounds, as a JSON list: the first is from the first round's end to
the second's. The backend is Ray, with one actor for each core.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Iterable

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# On a busy machine its agents start slowly; otherwise it gives up, and hangs.
os.environ["RAY_agent_register_timeout_ms"] = "300000"  # noqa: SIM112

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

ends: list[float] = []
client = ClientApp()
server = ServerApp()
PARTIES, ROUNDS, PARAMETERS = (int(argument) for argument in sys.argv[1:4])


@client.train()  # type: ignore[untyped-decorator]
def train(message: Message, context: Context) -> Message:
    shift = np.float32(0.25 + int(context.node_config["partition-id"]) / 1000)
    weights = message.content["arrays"]["weights"].numpy()
    content = RecordDict(
        {
            "arrays": ArrayRecord({"weights": Array(weights * np.float32(0.5) + shift)}),
            "metrics": MetricRecord({"num-examples": 20}),
        }
    )
    return Message(content=content, reply_to=message)


class Timed(FedAvg):  # type: ignore[misc]
    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> object:
        answered = list(replies)
        if len(answered) != PARTIES or any(reply.has_error() for reply in answered):
            raise SystemExit("Not every party has answered.")
        answer = super().aggregate_train(server_round, answered)
        ends.append(time.monotonic())
        return answer


@server.main()  # type: ignore[untyped-decorator]
def main(grid: Grid, _context: Context) -> None:
    strategy = Timed(fraction_evaluate=0.0, min_train_nodes=PARTIES, min_available_nodes=PARTIES)
    first = ArrayRecord({"weights": Array(np.zeros(PARAMETERS, np.float32))})
    strategy.start(grid=grid, initial_arrays=first, num_rounds=ROUNDS)


if __name__ == "__main__":
    backend = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"include_dashboard": False},
    }
    run_simulation(server, client, num_supernodes=PARTIES, backend_config=backend)
    print(json.dumps([after - before for before, after in itertools.pairwise(ends)]))
