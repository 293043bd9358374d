"""Mutation testing of the contracts: does some fast test fail for every small fault?

    PYTHONPATH=tests python -m assurance.mutation            every mutant of the libraries
    PYTHONPATH=tests python -m assurance.mutation --sample 300   300 mutants of the other contracts

A library that has its own test file is tested only with that file. Verdicts are stored in
.tools/assurance/mutation, under a hash of everything that they depend on. So an interrupted run
continues, and only mutants of changed code are tested again. Exits 1 below the threshold.
"""

import argparse
import hashlib
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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from assurance.mutants import Mutant, mutants_of
from assurance.records import CHECKOUT, WORK, Records, digest, needed_by
from fl_orchestrator.chain.deployment.compile import Project

LIBRARIES: Final = Path("contracts", "libraries")
TESTS: Final = Path("tests", "contracts")
#: Test files that are left out: slow; compiled again with every mutant, because it imports the
#: contract; not about the contract; not run by forge.
LEFT_OUT: Final = re.compile(r"(Invariants|Smoke)\.t\.sol$|/(libraries|symbolic)/")
#: What only private federations have; the tests of their contract begin with the same word.
PRIVATE: Final = re.compile(r"Private|Masked|Claims")
#: What is tested by the files whose names begin so, of those that are not of one library.
OWN_TESTS: Final = {
    "ModelMirror": re.compile("Mirror"),
    "MirrorDisputes": re.compile("Mirror"),
    "RewardShares": re.compile("RewardShares"),
    "StateProofs": re.compile("(Private)?Challenge"),
}
THRESHOLD: Final = 0.9
#: Limit of each process. The first compilation takes two minutes; an endless loop uses up all gas
#: within seconds.
CPU_SECONDS: Final = 600

KILLED, SURVIVED, INVALID = "killed", "survived", "does not compile"
ENDLESS: Final = "endless"


class UnclearOutcomeError(RuntimeError):
    """Forge neither passed all tests, nor failed a test, nor refused the code."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests for one group of mutants, in a private copy of these files of the checkout."""

    name: str
    files: tuple[Path, ...]

    @property
    def tree(self) -> Path:
        return WORK / "mutation" / self.name

    def prepare(self) -> str:
        """Update the copy from the checkout, but keep forge's build output.

        Returns the hash of everything besides the mutant that a verdict depends on.
        """
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
        modules = self.tree / "node_modules"
        if not modules.exists():
            modules.symlink_to(CHECKOUT / "node_modules", target_is_directory=True)
        return digest(self.tree, self.files, self.name)

    def verdict(self) -> str:
        """Run the tests on the copy; return the verdict. Raises UnclearOutcomeError."""
        # Delete the counterexamples of earlier mutants, which forge would try first.
        shutil.rmtree(self.tree / "cache" / "fuzz", ignore_errors=True)
        forge = str(CHECKOUT / "scripts" / "forge")
        command = [forge, "test", "--fail-fast", "--no-match-test", "test_gas"]
        # Turn off the optimizer: compilation takes most of the time. Hence no tests of gas.
        settings = {"FOUNDRY_PROFILE": "legacy", "FOUNDRY_OPTIMIZER": "false"}
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


def suite_for(file: Path) -> Suite:
    """The suite that tests the mutants of a file."""
    own = [
        test
        for kind in ("", "Private")
        if (test := CHECKOUT / TESTS / "libraries" / f"{file.stem}{kind}.t.sol").exists()
    ]
    if file.parent == LIBRARIES and own:
        return _suite(file.stem, own)
    sources = (CHECKOUT / "contracts").rglob("*.sol")
    tests = [
        test
        for test in (CHECKOUT / "tests").rglob("*.t.sol")
        if not LEFT_OUT.search(test.as_posix())
    ]
    if begin := OWN_TESTS.get(file.stem):
        return _suite(file.stem, [*sources, *(test for test in tests if begin.match(test.name))])
    private = bool(PRIVATE.search(file.name))
    of_kind = [test for test in tests if test.name.startswith("Private") == private]
    return _suite("private" if private else "plain", [*sources, *of_kind])


def _suite(name: str, files: list[Path]) -> Suite:
    return Suite(name, needed_by(file.relative_to(CHECKOUT) for file in files))


@contextmanager
def warm_compiler() -> Iterator[None]:
    """Let forge use one compiler process that keeps running: it is three times faster once warm.

    A native compiler (FOUNDRY_SOLC) is used unchanged.
    """
    compiler = Project.read(CHECKOUT).compiler()
    os.environ["FOUNDRY_SOLC"] = str(compiler)
    if compiler != CHECKOUT / "scripts" / "solc":
        yield
        return
    with TemporaryDirectory() as directory:
        socket = Path(directory, "socket")
        server = subprocess.Popen([compiler, "--serve", socket])
        try:
            while server.poll() is None and not socket.exists():
                time.sleep(0.05)
            os.environ["FLO_SOLC_SOCKET"] = str(socket)
            yield
        finally:
            os.environ.pop("FLO_SOLC_SOCKET", None)
            server.kill()
            server.wait()


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


def judge(mutants: list[Mutant], records: Records) -> Iterator[tuple[Mutant, Suite, str]]:
    """Yield each mutant, its suite, and its verdict, from the records or by a new test run."""
    suites = {file: suite_for(Path(file)) for file in dict.fromkeys(m.file for m in mutants)}
    states = {suite: suite.prepare() for suite in suites.values()}
    for mutant in mutants:
        suite = suites[mutant.file]
        state = states[suite]
        if state not in records.known:
            if (verdict := suite.verdict()) != SURVIVED:
                raise UnclearOutcomeError(f"{suite.tree} without any mutant: {verdict}.")
            records.add(state, SURVIVED, suite=suite.name)
        key = hashlib.sha256(f"{state} {mutant}".encode()).hexdigest()
        if key not in records.known:
            target = suite.tree / mutant.file
            source = target.read_bytes()
            target.write_bytes(mutant.apply(source))
            try:
                verdict = suite.verdict()
            finally:
                target.write_bytes(source)
            records.add(key, verdict, file=mutant.file, operator=mutant.operator)
        yield mutant, suite, records.known[key]


def _count(mutants: list[Mutant], records: Records) -> Counter[str]:
    """Count the verdicts; print survivors to stdout, and progress to stderr."""
    started, count = time.monotonic(), Counter[str]()
    for i, (mutant, suite, verdict) in enumerate(judge(mutants, records), 1):
        count[verdict] += 1
        if verdict == SURVIVED:
            source = (suite.tree / mutant.file).read_bytes()
            print(f"{mutant.file}: {mutant.operator}\n{mutant.diff(source)}", flush=True)
        if i % 10 == 0:
            seconds = time.monotonic() - started
            print(f"{i} of {len(mutants)} in {seconds:.0f} s: {dict(count)}", file=sys.stderr)
    return count


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="Mutation testing of the contracts.")
    parser.add_argument("--sample", type=int, default=0, help="so many outside of the libraries")
    parser.add_argument("--seed", type=int, default=3, help="of the sample")
    parser.add_argument("--only", default="", help="files whose name has this in it")
    options = parser.parse_args(arguments)
    mutants = select(options.sample, options.seed, options.only)
    records = Records(WORK / "mutation" / "verdicts.jsonl")
    with warm_compiler():
        count = _count(mutants, records)
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
