"""A large model that is wrong by one unit in one coordinate is revoked: the long form of the tests.

    PYTHONPATH=tests python -m assurance.watching [--parameters 25000000] [--updates 10]

It runs once with the wrong model in the store, and once with the model withheld, so that answers
must show it. Prints the watcher's steps, its CPU seconds and its peak memory. Exits 1 unless the
model was revoked and every signer slashed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support.disputes import (
    accept_a_lie,
    events,
    off_by_one,
    responder,
    stakes,
    submit_updates,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation

from fl_orchestrator.cli.logs import silence
from fl_orchestrator.roles.watcher.watcher import Watcher

MAX_STEPS = 60


class PeakMemory:
    """The growth of this process's peak memory since the start; only known on Linux."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._start = self._megabytes("VmRSS")

    def grown(self) -> str:
        return f"{self._megabytes('VmHWM') - self._start} MB" if self._start else "unknown"

    @staticmethod
    def _megabytes(name: str) -> int:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return 0
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


def undo(federation: SmallFederation, role: Watcher, withheld: bool) -> None:
    """Run the watcher, while the signers answer, and print the cost of each of its steps."""
    signer = responder(federation, at_once=True) if withheld else None
    for _ in range(MAX_STEPS):
        started = time.process_time()
        step = role.step()
        if step.action:
            gas = federation.receipts[-1].gas_used if step.action != "check" else 0
            print(f"  {step.action:<18} {time.process_time() - started:7.2f} CPU s  {gas:>9,} gas")
        elif not role.busy:
            return
        answered = signer.step().action if signer else None
        if not step.action and not answered:
            federation.chain.mine()
    raise AssertionError(f"the watcher is still busy after {MAX_STEPS} steps")


def run(parameters: int, updates: int, aggregators: int, withheld: bool) -> bool:
    """Return whether the wrong model was revoked and its signers slashed."""
    with tempfile.TemporaryDirectory() as name:
        federation = vector_federation(
            Path(name), parameters=parameters, updates=updates, aggregators=aggregators
        )
        submit_updates(federation)
        position = parameters - 1 - parameters // 7
        accept_a_lie(federation, off_by_one(position), withhold=withheld)
        print(f"A wrong model that is {'withheld' if withheld else 'in the store'}:")
        role, memory = watcher(federation), PeakMemory()
        undo(federation, role, withheld)
        print(f"  Memory at the watcher's peak, beyond the chain's: {memory.grown()}")
        (proven,) = events(federation, "ChallengeProven")
        found = proven["coordinate"] == federation.manifest.layout.coordinate(position)
        revoked = federation.observe().head.round == 0
        return found and revoked and not any(stakes(federation)) and role.alerts == ()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parameters", type=int, default=25_000_000)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--aggregators", type=int, default=4)
    options = parser.parse_args(arguments)
    silence()
    sizes = options.parameters, options.updates, options.aggregators
    undone = [run(*sizes, withheld) for withheld in (False, True)]
    print("Undone." if all(undone) else "NOT undone.")
    return 0 if all(undone) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
