"""Ten rounds of training with Keras in many processes give the same bits as in a single process.

Twenty parties, four aggregators and a watcher are one process each, on Anvil and two IPFS nodes. It
is a part of `make chaos`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from support.kubo_daemon import find_kubo, kubo_daemon
from support.processes import deployed, keras_model, roots, run_rounds, simulated, unhurried

from fl_orchestrator.cli.logs import silence
from fl_orchestrator.service.local.federation import Plan

_CHECKOUT = Path(__file__).resolve().parents[2]
_PLAN = Plan(parties=20, aggregators=4, seed=7)
_DATASET = "breast-cancer"
_ROUNDS = 10
_SECONDS = 3600


def main() -> None:
    silence()
    kubo = find_kubo()
    if kubo is None:
        sys.exit("Kubo is missing: run `make kubo`.")
    model, trainers = keras_model(_DATASET, _PLAN.parties, _PLAN.seed)
    terms = unhurried(_PLAN.parties)
    key = bytes(range(32))
    with tempfile.TemporaryDirectory(prefix="flo-twenty-") as scratch:
        directory = Path(scratch)
        expected, secret_of = simulated(
            directory / "simulation", _PLAN, model, terms, _ROUNDS, trainers
        )
        with (
            kubo_daemon(kubo, directory / "one", online=True, swarm_key=key) as one,
            kubo_daemon(
                kubo, directory / "other", online=True, swarm_key=key, config=one.peering
            ) as other,
        ):
            anvil = _CHECKOUT / "node_modules/.bin/anvil"
            with deployed(
                directory / "processes",
                anvil,
                _PLAN,
                model,
                terms,
                stores=[one.url, other.url],
                secret_of=secret_of,
            ) as federation:
                began = time.monotonic()
                seen = run_rounds(federation, _ROUNDS, _SECONDS)
                found = roots(federation)
    if found != expected:
        sys.exit(f"The models differ: {[root.hex() for root in found]}")
    print(
        f"{_PLAN.parties} parties, {_PLAN.aggregators} aggregators, {_PLAN.watchers} watcher; two "
        f"IPFS nodes: {seen.head.height} rounds in {time.monotonic() - began:.0f} s, and the same "
        f"bits as in one process, head {expected[-1].hex()}."
    )


main()
