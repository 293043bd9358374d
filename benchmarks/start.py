"""What a command costs before it has shown anything: CPU seconds up to its first byte of output.

    python benchmarks/start.py [--json] [--runs 5]

Each command that only reads is run against a scripted node of three rounds on this machine, and
stopped when its first byte arrives; its CPU seconds, with those of the processes it started, are
compared with those of ``python -c pass``, which is run in turn with it. The smallest of the runs
counts: a busy machine makes each one longer, never shorter. A run before them writes the bytecode,
as an installation does; without it Python compiles every module at each start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from _dashboard.node import serve
from _dashboard.rounds import ADDRESS, Script
from rich.console import Console
from rich.table import Table

ACCOUNT: Final = "0x" + "11" * 20
_NOTHING: Final = [sys.executable, "-c", "import os; os.write(1, b'x')"]


def commands(url: str, directory: Path) -> dict[str, list[str]]:
    """The commands that only read, by their names, with the options that they need."""
    chain = ["--rpc", url, "--federation", ADDRESS]
    own = [*chain, "--home", str(directory / "home")]
    return {
        "--help": ["--help"],
        "--version": ["--version"],
        "federation show": ["federation", "show", *chain],
        "federation show --json": ["federation", "show", *chain, "--json"],
        "round list": ["round", "list", *chain],
        "round list --json": ["round", "list", *chain, "--json"],
        "round show": ["round", "show", *chain],
        "round show --json": ["round", "show", *chain, "--json"],
        "party status": ["party", "status", ACCOUNT, *chain],
        "party status --json": ["party", "status", ACCOUNT, *chain, "--json"],
        "party history --json": ["party", "history", ACCOUNT, *own, "--json"],
        "aggregator status": ["aggregator", "status", ACCOUNT, *chain],
        "aggregator status --json": ["aggregator", "status", ACCOUNT, *chain, "--json"],
        "report --json": ["report", *chain, "--json"],
        "dashboard": ["dashboard", *own, "--listen", "0"],
    }


def environment(bytecode: Path) -> dict[str, str]:
    """The environment, with a directory for the bytecode of all modules."""
    variables = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**variables, "PYTHONPYCACHEPREFIX": str(bytecode)}


def cost(command: list[str], variables: dict[str, str]) -> float:
    """The CPU seconds of a process until its first output; it is killed then."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables
    ) as process:
        assert process.stdout is not None
        if not os.read(process.stdout.fileno(), 1):
            raise SystemExit(f"{' '.join(command)} shows nothing.")
        # Popen's own kill could collect the process, and with it what it has used.
        os.kill(process.pid, signal.SIGKILL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def measure(runs: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="flo-start-") as directory:
        server = serve(Script(3, 3))
        url = f"http://127.0.0.1:{server.server_port}"
        variables = environment(Path(directory) / "bytecode")
        for name, arguments in commands(url, Path(directory)).items():
            command = [sys.executable, "-m", "fl_orchestrator", *arguments]
            cost(command, variables)
            pairs = [(cost(command, variables), cost(_NOTHING, variables)) for _ in range(runs)]
            ours, nothing = (min(values) for values in zip(*pairs, strict=True))
            found[name] = {"cpu_s": ours, "times_python": ours / nothing}
        server.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, Any] = measure(options.runs)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    table = Table(title="CPU seconds to the first output")
    for heading in ("flo …", "CPU s", "times python -c pass"):
        table.add_column(heading, justify="left" if heading.startswith("flo") else "right")
    for name, one in found.items():
        table.add_row(name, f"{one['cpu_s']:.2f}", f"{one['times_python']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
