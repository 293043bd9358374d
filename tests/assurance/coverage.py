"""Line and branch coverage of the contracts by their tests, with thresholds.

    PYTHONPATH=tests python -m assurance.coverage

Prints the lines and branches that no test reaches. Exits 1 if a threshold is missed.
"""

import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from assurance.records import CHECKOUT, WORK

PLACE: Final = WORK / "coverage"
LINES: Final = 0.98
BRANCHES: Final = 0.95


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often each line and each branch (line, block, branch) of a file was executed."""

    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[tuple[int, int, int], int] = field(default_factory=dict)


def measure() -> str:
    """Run the tests on code without optimisation; return the report in lcov's format.

    The campaigns are left out, because they would be too slow, and so are the tests of gas.
    """
    report = PLACE / "lcov.info"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    tests = ["--no-match-contract", "Invariants", "--no-match-test", "test_gas"]
    reporting = ["--no-match-coverage", "^(tests|node_modules)/", "--report", "lcov"]
    places = {"FOUNDRY_OUT": str(PLACE / "out"), "FOUNDRY_CACHE_PATH": str(PLACE / "cache")}
    subprocess.run(
        [CHECKOUT / "scripts" / "forge", "coverage", *tests, *reporting, "--report-file", report],
        cwd=CHECKOUT,
        env=os.environ | places | {"FOUNDRY_PROFILE": "legacy"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return report.read_text(encoding="utf-8")


def parse(report: str) -> dict[str, Coverage]:
    """The coverage of each file of an lcov report (geninfo(1))."""
    files: dict[str, Coverage] = defaultdict(Coverage)
    name = ""
    for row in report.splitlines():
        kind, _, rest = row.partition(":")
        if kind == "SF":
            name = rest
        elif kind == "DA":
            line_number, taken = map(int, rest.split(","))
            files[name].lines[line_number] = taken
        elif kind == "BRDA":
            at, block, branch, times = rest.split(",")
            where = (int(at), int(block), int(branch))
            files[name].branches[where] = 0 if times == "-" else int(times)
    return dict(files)


def tallies(files: dict[str, Coverage]) -> tuple[list[bool], list[bool]]:
    """Whether each line, and whether each branch, was executed."""
    lines = [taken > 0 for file in files.values() for taken in file.lines.values()]
    branches = [taken > 0 for file in files.values() for taken in file.branches.values()]
    if not lines or not branches:
        raise ValueError("The coverage report has no lines or no branches.")
    return lines, branches


def is_enough(lines: list[bool], branches: list[bool]) -> bool:
    """Whether both reach their thresholds."""
    return sum(lines) >= LINES * len(lines) and sum(branches) >= BRANCHES * len(branches)


def main() -> int:
    """Measure, report, and return the exit code."""
    files = parse(measure())
    for name, file in sorted(files.items()):
        missed = [f"line {line}" for line, taken in file.lines.items() if not taken]
        missed += [f"branch {at[2]} of line {at[0]}" for at, n in file.branches.items() if not n]
        if missed:
            print(f"{name}: {', '.join(missed)}")
    lines, branches = tallies(files)
    print(
        f"{len(files)} files: {sum(lines)} of {len(lines)} lines,"
        f" {sum(branches)} of {len(branches)} branches covered"
    )
    return 0 if is_enough(lines, branches) else 1


if __name__ == "__main__":
    sys.exit(main())
