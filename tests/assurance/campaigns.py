"""The invariants of tests/contracts/INVARIANTS.md under at least 500,000 calls.

    PYTHONPATH=tests python -m assurance.campaigns

It repeats the campaigns of forge's profile `assure` with one seed after another, until there are
enough calls. Results are stored in .tools/assurance/campaigns, so that an interrupted run continues
with the next seed. Exits 1 if an invariant does not hold.
"""

import argparse
import os
import re
import subprocess
import sys
from typing import Final

from assurance.records import CHECKOUT, WORK, Records, digest, needed_by

CALLS: Final = 500_000
PASSED: Final = re.compile(r"\[PASS\] invariant_\w+\(\) \(runs: \d+, calls: (\d+),")


class BrokenInvariantError(RuntimeError):
    """A campaign failed; the message is forge's report."""


def campaign(seed: int) -> int:
    """Run every campaign with this seed; return the number of calls.

    Raises BrokenInvariantError.
    """
    work = WORK / "campaigns"
    places = {"FOUNDRY_OUT": str(work / "out"), "FOUNDRY_CACHE_PATH": str(work / "cache")}
    settings = {"FOUNDRY_PROFILE": "assure", "FOUNDRY_FUZZ_SEED": hex(seed)}
    result = subprocess.run(
        [str(CHECKOUT / "scripts" / "forge"), "test", "--match-test", "^invariant_"],
        cwd=CHECKOUT,
        env=os.environ | places | settings,
        capture_output=True,
        text=True,
    )
    calls = sum(map(int, PASSED.findall(result.stdout)))
    if result.returncode or not calls:
        raise BrokenInvariantError(result.stdout + result.stderr)
    return calls


def main(arguments: list[str]) -> int:
    """Run the missing campaigns, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="The invariants under many calls.")
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args(arguments)
    sources = [
        *(CHECKOUT / "contracts").rglob("*.sol"),
        *(CHECKOUT / "tests").rglob("*Invariants*.t.sol"),
    ]
    state = digest(CHECKOUT, needed_by(file.relative_to(CHECKOUT) for file in sources))
    records = Records(WORK / "campaigns" / "done.jsonl")
    calls = seed = 0
    while calls < options.calls:
        seed += 1
        key = f"{state} {seed}"
        if key not in records.known:
            try:
                records.add(key, campaign(seed))
            except BrokenInvariantError as error:
                print(error)
                return 1
        calls += records.known[key]
        print(f"{calls:,} of {options.calls:,} calls, {seed} seeds", file=sys.stderr)
    print(f"{calls:,} calls with {seed} seeds: every invariant held")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
