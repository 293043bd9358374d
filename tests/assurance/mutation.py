"""Mutation testing of the contracts: does some fast test fail for every small fault?

    PYTHONPATH=tests python -m assurance.mutation            every mutant of the libraries
    PYTHONPATH=tests python -m assurance.mutation --sample 300   so many of the other contracts

A library that has a test file of its own is judged by that alone. Verdicts are kept in
.tools/assurance/mutation, by a hash of everything that they depend on: a run that was stopped goes
on where it was, and only what has changed is tried again. Exits 1 below the threshold.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assurance.mutants import Mutant, mutants_of
from fl_orchestrator.chain.compile import Project

CHECKOUT: Final = Path(__file__).resolve().parents[2]
WORK: Final = CHECKOUT / ".tools" / "assurance" / "mutation"
LIBRARIES: Final = Path("contracts", "libraries")
TESTS: Final = Path("tests", "contracts")
#: Slow; compiled anew with every mutant, because it imports the contract; not about the contract;
#: not run by forge.
LEFT_OUT: Final = ("Invariants.t.sol", "Smoke.t.sol", "libraries", "symbolic")
THRESHOLD: Final = 0.9
IMPORT: Final = re.compile(r'from "(\.[^"]*)"')
#: Of each process: the first compilation takes two minutes, an endless loop all gas in seconds.
CPU_SECONDS: Final = 600

KILLED, SURVIVED, INVALID = "killed", "survived", "does not compile"
ENDLESS: Final = "endless"


class UnclearOutcomeError(RuntimeError):
    """Forge neither passed, nor failed a test, nor refused the code."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What one kind of mutant is judged by: a private copy of these files of the checkout."""

    name: str
    files: tuple[Path, ...]
    #: Compiling takes most of a library's time, running the tests most of a contract's.
    optimizer: bool

    @property
    def tree(self) -> Path:
        return WORK / self.name

    def prepare(self) -> str:
        """Make the copy what the checkout is now, leaving what forge has built.

        Returns the hash of everything that a verdict depends on beside the mutant.
        """
        hasher = hashlib.sha256(f"{self.name} {self.optimizer}\n".encode())
        for stale in (self.tree / top for top in ("contracts", "tests")):
            for file in stale.rglob("*.sol"):
                if file.relative_to(self.tree) not in self.files:
                    file.unlink()
        for file in self.files:
            target = self.tree / file
            text = (CHECKOUT / file).read_bytes()
            if not target.exists() or target.read_bytes() != text:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text)
            hasher.update(f"{file.as_posix()} {len(text)}\n".encode() + text)
        modules = self.tree / "node_modules"
        if not modules.exists():
            modules.symlink_to(CHECKOUT / "node_modules", target_is_directory=True)
        return hasher.hexdigest()

    def verdict(self) -> str:
        """What the tests say about the copy as it is. Raises UnclearOutcomeError."""
        # Counterexamples of earlier mutants would be tried first.
        shutil.rmtree(self.tree / "cache" / "fuzz", ignore_errors=True)
        command = [str(CHECKOUT / "scripts" / "forge"), "test", "--fail-fast"]
        settings = {
            "FOUNDRY_PROFILE": "legacy",
            "FOUNDRY_OPTIMIZER": str(self.optimizer).lower(),
        }
        result = subprocess.run(
            command,
            cwd=self.tree,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            preexec_fn=_limit,
        )
        if result.returncode == 0 and " passed, 0 failed" in result.stdout:
            return SURVIVED
        if "[FAIL" in result.stdout:
            return KILLED
        if "Compiler run failed" in result.stdout + result.stderr:
            return INVALID
        if result.returncode == -signal.SIGXCPU:
            return ENDLESS
        raise UnclearOutcomeError(result.stdout + result.stderr)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))


class Verdicts:
    """The verdicts so far, one JSON line each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        # The last line may be cut short by a kill.
        complete = [line for line in lines if line.endswith("}")]
        self.known: dict[str, str] = {
            row["key"]: row["verdict"] for row in map(json.loads, complete)
        }

    def add(self, key: str, verdict: str, mutant: Mutant) -> None:
        self.known[key] = verdict
        row = {"key": key, "verdict": verdict, "file": mutant.file, "operator": mutant.operator}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(f"\n{json.dumps(row)}")


def suite_for(mutant: Mutant) -> Suite:
    """What judges a mutant."""
    file = Path(mutant.file)
    own = CHECKOUT / TESTS / "libraries" / f"{file.stem}.t.sol"
    if file.parent == LIBRARIES and own.exists():
        return _suite(file.stem, [own], optimizer=False)
    tests = [
        test
        for test in (CHECKOUT / "tests").rglob("*.t.sol")
        if not any(part in LEFT_OUT for part in test.parts)
    ]
    sources = (CHECKOUT / "contracts").rglob("*.sol")
    return _suite("contracts", [*sources, *tests], optimizer=True)


def _suite(name: str, files: list[Path], *, optimizer: bool) -> Suite:
    """These files, what they import from the checkout, and what forge reads."""
    needed = {
        CHECKOUT / "foundry.toml",
        CHECKOUT / "package-lock.json",
        *(CHECKOUT / "tests" / "vectors").glob("*.json"),
    }
    while files:
        file = files.pop()
        if file not in needed:
            needed.add(file)
            imports = IMPORT.findall(file.read_text(encoding="utf-8"))
            files += [(file.parent / path).resolve() for path in imports]
    relative = tuple(sorted(file.relative_to(CHECKOUT) for file in needed))
    return Suite(name, relative, optimizer)


def select(sample: int, seed: int, only: str) -> list[Mutant]:
    """Every mutant of the libraries, or a seeded sample of those of the other contracts."""
    files = [
        file
        for file in Project.read(CHECKOUT).source_files()
        if (file.parent == LIBRARIES) == (sample == 0) and only in file.name
    ]
    found = mutants_of(CHECKOUT, files)
    if sample:
        found = random.Random(seed).sample(found, min(sample, len(found)))
    return sorted(found, key=lambda mutant: (mutant.file, mutant.start))


def judge(mutants: list[Mutant], verdicts: Verdicts) -> Iterator[tuple[Mutant, str]]:
    """The verdict of each mutant, from the file of verdicts or from its suite."""
    digests = {suite: suite.prepare() for suite in {suite_for(mutant) for mutant in mutants}}
    for mutant in mutants:
        suite = suite_for(mutant)
        digest = digests[suite]
        if digest not in verdicts.known:
            if (verdict := suite.verdict()) != SURVIVED:
                raise UnclearOutcomeError(f"{suite.tree} without any mutant: {verdict}.")
            verdicts.add(digest, SURVIVED, Mutant(suite.name, 0, 0, "", "none"))
        key = hashlib.sha256(f"{digest} {mutant}".encode()).hexdigest()
        if key not in verdicts.known:
            target = suite.tree / mutant.file
            source = target.read_bytes()
            target.write_bytes(mutant.apply(source))
            try:
                verdicts.add(key, suite.verdict(), mutant)
            finally:
                target.write_bytes(source)
        yield mutant, verdicts.known[key]


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="Mutation testing of the contracts.")
    parser.add_argument("--sample", type=int, default=0, help="so many outside of the libraries")
    parser.add_argument("--seed", type=int, default=3, help="of the sample")
    parser.add_argument("--only", default="", help="files whose name has this in it")
    options = parser.parse_args(arguments)
    os.environ["FOUNDRY_SOLC"] = str(Project.read(CHECKOUT).compiler())
    mutants = select(options.sample, options.seed, options.only)
    started, count = time.monotonic(), Counter[str]()
    for i, (mutant, verdict) in enumerate(judge(mutants, Verdicts(WORK / "verdicts.jsonl")), 1):
        count[verdict] += 1
        if verdict == SURVIVED:
            source = (suite_for(mutant).tree / mutant.file).read_bytes()
            print(f"{mutant.file}: {mutant.operator}\n{mutant.diff(source)}", flush=True)
        if i % 10 == 0:
            seconds = time.monotonic() - started
            print(f"{i} of {len(mutants)} in {seconds:.0f} s: {dict(count)}", file=sys.stderr)
    killed = count[KILLED] + count[ENDLESS]
    counted = killed + count[SURVIVED]
    if not counted:
        print("There is no mutant.", file=sys.stderr)
        return 1
    share = killed / counted
    print(f"{killed} of {counted} mutants killed ({share:.1%}); {count[INVALID]} do not compile")
    return 0 if share >= THRESHOLD else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
