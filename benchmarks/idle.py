"""The cost of a waiting process: its share of a core, requests per block, and memory, by role.

It runs the real processes on Anvil with one block per second, in a commit phase in which one party
never commits. The goal is under 1 % of a core and at most two requests per block.

    python benchmarks/idle.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.processes import (  # noqa: E402
    deployed,
    small_model,
    unhurried,
)
from support.rpc_proxy import rpc_proxy  # noqa: E402

from fl_orchestrator.service.local.federation import Plan  # noqa: E402

ABSENT = "party-1"
SETTLED_SECONDS = 15


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """The resident memory, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(seconds: int) -> Table:
    table = Table("role", "% of a core", "requests per block", "memory, MB")
    plan = Plan(parties=2, aggregators=1)
    anvil = CHECKOUT / "node_modules/.bin/anvil"
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flo-idle-")))
        federation = stack.enter_context(
            deployed(directory, anvil, plan, small_model(2), unhurried(2))
        )
        port = int(federation.rpc.rpartition(":")[2])
        proxies, children = {}, {}
        for member in federation.local.members():
            if member.name != ABSENT:
                proxies[member.name] = stack.enter_context(rpc_proxy(port))
                environment = {"FLO_RPC": proxies[member.name].url}
                children[member.name] = child = member.child(environment=environment)
                child.start()
                stack.callback(child.kill)
        while not federation.observe().current.commits:
            time.sleep(0.5)
        time.sleep(SETTLED_SECONDS)
        first, began = federation.observe().block_number, time.monotonic()
        before = {
            name: (cpu_seconds(c.pid), proxies[name].requests) for name, c in children.items()
        }
        time.sleep(seconds)
        blocks, elapsed = federation.observe().block_number - first, time.monotonic() - began
        for name, child in children.items():
            used = cpu_seconds(child.pid) - before[name][0]
            asked = proxies[name].requests - before[name][1]
            table.add_row(
                name.partition("-")[0],
                f"{100 * used / elapsed:.2f}",
                f"{asked / blocks:.2f}",
                f"{memory(child.pid) / 1e6:.0f}",
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    Console().print(measure(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
