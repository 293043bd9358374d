"""The long form: `make chaos`. Prints a table of the faults, and the result of the final checks."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from support.kubo_daemon import find_kubo

from chaos.checks import check
from chaos.run import long_plan, run
from chaos.world import world
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.service.local.federation import Plan

_CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, help="cause only this many faults")
    parser.add_argument("--private", action="store_true", help="the updates are masked")
    arguments = parser.parse_args()
    plan = Plan(parties=4, aggregators=4, private=arguments.private)
    silence()
    kubo = find_kubo()
    if kubo is None:
        sys.exit("Kubo is missing: run `make kubo`.")
    faults = long_plan(arguments.seed, plan)[: arguments.faults]
    print(
        f"Seed {arguments.seed}, {len(faults)} faults, {plan.parties} parties, "
        f"{plan.aggregators} aggregators, a watcher, a keeper; Anvil and Kubo; "
        f"{'private' if plan.private else 'plain'}."
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flo-chaos-") as directory:
        scratch = Path(directory)
        anvil = _CHECKOUT / "node_modules/.bin/anvil"
        with world(scratch / "world", anvil, plan, kubo) as made:
            made.wait_for_rounds(1, 300)
            run(made, faults, lambda line: print(line, flush=True))
            made.wait_for_rounds(2, 600)
            made.end(300)
            print(f"Survived: {check(made, scratch / 'audit')}.")
    print(f"{time.monotonic() - began:.0f} s")


main()
