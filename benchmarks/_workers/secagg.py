"""Drives one round of Flower's SecAgg+ in this process; private.py runs it in Flower's environment.

The arguments are the numbers of parties and of values. The server's workflow and the clients' mod
are Flower's own, with its default quantisation; there is no network between them. An update has the
values of an integer update as float32. Prints one JSON object: the CPU seconds of one client (the
median), those of the server alone, the largest error of the mean in units of 2^-15, the number of
bits that the seed of a pair's mask can have, and the CPU seconds to try all of these seeds.
"""

import copy
import json
import logging
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    RecordDict,
)
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
    generate_shared_key,
)
from flwr.common.secure_aggregation.secaggplus_utils import (
    pseudo_rand_gen,
)
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.supercore.primitives.asymmetric import (
    generate_key_pairs,
)
from flwr.supercore.task_identity import TaskIdentity

_UNIT = 2.0**-15
_SERVER = 1 << 32


class Proxy(ClientProxy):  # type: ignore[misc]
    """A client that is only named: messages go through the grid."""

    def __init__(self, node_id: int) -> None:
        super().__init__(str(node_id))
        self.node_id = node_id

    def _none(self, *_: Any) -> Any:
        raise RuntimeError("a workflow sends messages, and calls no proxy")

    get_properties = get_parameters = fit = evaluate = reconnect = _none


class Client(NumPyClient):  # type: ignore[misc]
    """Has an update without training."""

    def __init__(self, update: Any, weight: int) -> None:
        self.update, self.weight = update, weight

    def fit(self, _parameters: Any, _config: Any) -> Any:
        return [self.update], self.weight, {}


class Clients:
    """The grid, with all clients behind it; counts their CPU time."""

    def __init__(self, updates: dict[int, Any]) -> None:
        self.seconds = dict.fromkeys(updates, 0.0)
        self._contexts = {n: Context(1, n, {}, RecordDict(), {}) for n in updates}
        self._apps = {n: self._app(update, n) for n, update in updates.items()}

    @staticmethod
    def _app(update: Any, weight: int) -> Any:
        client = Client(update, weight).to_client()
        return ClientApp(client_fn=lambda _context: client, mods=[secaggplus_mod])

    def send_and_receive(self, messages: Iterable[Any], **_: Any) -> list[Any]:
        replies = []
        for shared in messages:
            # The mod takes records out of its message, of which the network would make a copy.
            message = copy.deepcopy(shared)
            node = message.metadata.dst_node_id
            start = time.process_time()
            reply = self._apps[node](message, self._contexts[node])
            self.seconds[node] += time.process_time() - start
            replies.append(reply)
        return replies


def seed_search(keys: int = 500, trials: int = 20_000) -> dict[str, Any]:
    """What it takes to try all seeds of a pair's mask: PRG's seed is the XOR of the key's words.

    A key is 44 letters of base64, so the highest bit of each byte of its seed is zero.
    """
    possible = 0
    for _ in range(keys):
        (secret, _), (_, public) = generate_key_pairs(), generate_key_pairs()
        words = np.frombuffer(generate_shared_key(secret, public), "<u4")
        possible |= int(np.bitwise_xor.reduce(words))
    start = time.process_time()
    for trial in range(trials):
        pseudo_rand_gen(trial.to_bytes(4, "little"), 1 << 32, [(2,)])
    bits = possible.bit_count()
    return {
        "pair_seed_bits": bits,
        "pair_seed_search_cpu_s": (time.process_time() - start) / trials * 2**bits,
    }


def main() -> None:
    """Run one round."""
    logging.disable(logging.CRITICAL)
    # Who sends a message; else the runtime says so.
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, _SERVER
    parties, parameters = (int(argument) for argument in sys.argv[1:3])
    numbers = np.random.default_rng(0)
    drawn = [numbers.integers(-32_768, 32_768, parameters, np.int16) for _ in range(parties)]
    updates = {k + 1: (q * _UNIT).astype(np.float32) for k, q in enumerate(drawn)}
    clients, manager = Clients(updates), SimpleClientManager()
    for node in updates:
        manager.register(Proxy(node))
    strategy = FedAvg(min_fit_clients=parties, min_available_clients=parties)
    state = RecordDict()
    context = LegacyContext(
        Context(1, _SERVER, {}, state, {}), strategy=strategy, client_manager=manager
    )
    context.state["parameters"] = ArrayRecord([np.zeros(parameters, np.float32)])
    context.state["config"] = ConfigRecord({"current_round": 1})
    workflow = SecAggPlusWorkflow(parties, parties * 2 // 3, max_weight=255.0)
    began = time.process_time()
    workflow(clients, context)
    total = time.process_time() - began
    weights = np.arange(1, parties + 1)
    mean = np.average([update.astype(float) for update in updates.values()], 0, weights)
    (found,) = context.state["parameters"].to_numpy_ndarrays()
    print(
        json.dumps(
            {
                "client_cpu_s": statistics.median(clients.seconds.values()),
                "server_cpu_s": total - sum(clients.seconds.values()),
                "largest_error_units": float(np.abs(found - mean).max() / _UNIT),
                **seed_search(),
            }
        )
    )


if __name__ == "__main__":
    main()
