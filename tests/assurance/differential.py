"""Compares the rules in Solidity with the rules in Python, at many coordinates, bit for bit.

    PYTHONPATH=tests python -m assurance.differential --coordinates 100000

It uses the code that a dispute uses: contracts/libraries (ModelRule, ChunkTree) on one side, and
fl_orchestrator.aggregation.rules with its kernels on the other. Solidity runs on Anvil, with many
coordinates in a call. 100,000 coordinates use every trimBps once. Exits 1 on any difference.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from eth_abi.abi import decode, encode
from integration.anvil_node import anvil_node
from numpy.typing import NDArray
from sha3 import keccak_256

from assurance.records import CHECKOUT
from fl_orchestrator.aggregation.rules import next_global, rule_for
from fl_orchestrator.chain.deployment.compile import Project
from fl_orchestrator.model.manifest import STATE_FRACTION_BITS, RuleSpec
from fl_orchestrator.model.protocol import MAX_UPDATES, MAX_WEIGHT
from fl_orchestrator.model.rules import TRIM, RuleKind

HARNESS: Final = Path("tests", "assurance", "RuleHarness.sol")
#: The numbers of coordinates in an aggregation, and of aggregations in a call.
COORDINATES: Final = 8
CALL: Final = 64
#: The order of the rules. The trimmed mean, which has a parameter, comes more often.
TURNS: Final = tuple(kind for kind in RuleKind for _ in range(4 if kind.parameters else 3))
INT16: Final = np.iinfo(np.int16)
INT32: Final = np.iinfo(np.int32)

Integers = NDArray[np.int64]
Evaluate = Callable[[list["Aggregation"]], Integers]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Updates (M x coordinates, int16) with their weights, the base (int32), and the rule."""

    rule: RuleSpec
    fraction_bits: int
    weights: list[int]
    updates: NDArray[np.int16]
    base: NDArray[np.int32]

    def in_python(self) -> Integers:
        """The rule's step and the next state of each coordinate, alternating."""
        rule, updates = rule_for(self.rule), [[row] for row in self.updates]
        (step,) = rule.aggregate(updates, self.weights)
        (state,) = next_global(rule, [self.base], updates, self.weights, self.fraction_bits)
        return np.stack([step.astype(np.int64), state.astype(np.int64)], axis=1).reshape(-1)

    def encoded(self) -> tuple[int, int, int, list[int], bytes, bytes]:
        """The arguments of the harness."""
        return (
            int(self.rule.kind),
            self.rule.trim_bps,
            self.fraction_bits,
            self.weights,
            self.updates.T.astype("<i2").tobytes(),
            self.base.astype("<i4").tobytes(),
        )


def aggregations(count: int, seed: int) -> Iterator[Aggregation]:
    """Yield random aggregations, of all rules in turns.

    Each rule is used with all numbers of updates, and the trimmed mean with every trimBps.
    """
    rng = np.random.default_rng(seed)
    trims = rng.permutation(TRIM.most + 1)
    for i in range(count):
        turn, place = divmod(i, len(TURNS))
        rule = RuleSpec.of(TURNS[place])
        if rule.kind is RuleKind.TRIMMED_MEAN:
            trimmed = turn * TURNS.count(rule.kind) + place - TURNS.index(rule.kind)
            rule = RuleSpec.of(rule.kind, trim_bps=int(trims[trimmed % len(trims)]))
        weights = _weights(rng, (turn * 7 + place * 13) % MAX_UPDATES + 1)
        columns = [_values(rng, weights) for _ in range(COORDINATES)]
        updates = np.stack(columns, axis=1).astype(np.int16)
        bits = int(rng.integers(STATE_FRACTION_BITS + 1))
        (step,) = rule_for(rule).aggregate([[row] for row in updates], weights.tolist())
        base = _base(rng, step.astype(np.int64) << STATE_FRACTION_BITS - bits)
        yield Aggregation(rule, bits, weights.tolist(), updates, base)


def _weights(rng: np.random.Generator, updates: int) -> Integers:
    match rng.integers(3):
        case 0:
            return rng.integers(1, MAX_WEIGHT + 1, updates)
        case 1:
            return rng.choice([1, MAX_WEIGHT], updates)
        case _:
            return np.full(updates, rng.integers(1, MAX_WEIGHT + 1))


def _values(rng: np.random.Generator, weights: Integers) -> Integers:
    """The updates' values at a coordinate: random, extremes, ties, or a mean close to a half."""
    size = weights.size
    match rng.integers(5):
        case 0:
            return rng.integers(INT16.min, INT16.max + 1, size)
        case 1:
            return rng.choice([INT16.min, -INT16.max, -1, 0, 1, INT16.max], size)
        case 2:
            return rng.choice(rng.integers(INT16.min, INT16.max + 1, 3), size)
        case 3:
            half = rng.integers(INT16.min, INT16.max) + (np.arange(size) < size // 2)
            return rng.permutation(half)
        case _:
            return _near_a_half(rng, weights)


def _near_a_half(rng: np.random.Generator, weights: Integers) -> Integers:
    """Values whose weighted sum is half of the weights, or, if a weight is 1, one beside it."""
    values = rng.integers(INT16.min, INT16.max + 1, weights.size)
    k, total = int(np.argmin(weights)), int(weights.sum())
    values[k] += (total // 2 + rng.integers(-1, 2) - values @ weights) % total
    if values[k] > INT16.max:
        values[k] -= total
    return values


def _base(rng: np.random.Generator, moves: Integers) -> NDArray[np.int32]:
    """Base values: random, small, or such that the next state is at or next to an int32 limit."""
    choices = [
        rng.integers(INT32.min, INT32.max + 1, moves.size),
        rng.integers(-2, 3, moves.size),
        INT32.max - moves + rng.integers(-1, 2, moves.size),
        INT32.min - moves + rng.integers(-1, 2, moves.size),
    ]
    base = np.choose(rng.integers(len(choices), size=moves.size), choices)
    return np.clip(base, INT32.min, INT32.max).astype(np.int32)


def harness_code(replaced: dict[str, tuple[str, str]] | None = None) -> str:
    """The runtime code of the harness, in hex.

    ``replaced`` has, for a file, a text that occurs once in it and its replacement; tests use it to
    check that a difference is found.
    """
    from solcx.main import compile_standard

    project = Project.read(CHECKOUT)
    files = [HARNESS, *project.source_files()]
    texts = {file.as_posix(): (CHECKOUT / file).read_text(encoding="utf-8") for file in files}
    for name, (old, new) in (replaced or {}).items():
        if texts[name].count(old) != 1:
            raise ValueError(f"{old!r} does not occur once in {name}.")
        texts[name] = texts[name].replace(old, new)
    outputs = {HARNESS.as_posix(): {"RuleHarness": ["evm.deployedBytecode.object"]}}
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in texts.items()},
        "settings": {**project.settings, "outputSelection": outputs},
    }
    output = compile_standard(request, solc_binary=project.compiler(), base_path=CHECKOUT)
    contract = output["contracts"][HARNESS.as_posix()]["RuleHarness"]
    return f"0x{contract['evm']['deployedBytecode']['object']}"


@contextmanager
def in_solidity(code: str) -> Iterator[Evaluate]:
    """Start an Anvil; yield a function that evaluates aggregations with the harness on it."""
    signature = "(uint8,uint256,uint256,uint256[],bytes,bytes)[]"
    selector = keccak_256(f"evaluate({signature})".encode()).digest()[:4]
    to = "0x" + "11" * 20
    with (
        tempfile.TemporaryDirectory() as directory,
        anvil_node(CHECKOUT, Path(directory, "anvil.log")) as node,
    ):

        def evaluate(batch: list[Aggregation]) -> Integers:
            data = selector + encode([signature], [[a.encoded() for a in batch]])
            call = {"to": to, "data": f"0x{data.hex()}", "gas": hex(1 << 40)}
            answer: Any = node.rpc("eth_call", call, "latest", {to: {"code": code}})
            (results,) = decode(["int256[]"], bytes.fromhex(answer[2:]))
            return np.array(results, np.int64)

        yield evaluate


def differences(evaluate: Evaluate, cases: list[Aggregation]) -> list[str]:
    """Describe every coordinate at which Solidity and Python differ."""
    found = []
    for start in range(0, len(cases), CALL):
        batch = cases[start : start + CALL]
        python = np.concatenate([case.in_python() for case in batch])
        solidity = evaluate(batch)
        if solidity.shape != python.shape:
            raise ValueError(f"The harness gives {solidity.shape}, Python {python.shape} numbers.")
        for at in np.unique(np.flatnonzero(solidity != python) // 2):
            case, column = batch[at // COORDINATES], at % COORDINATES
            got = [tuple(side[2 * at : 2 * at + 2].tolist()) for side in (solidity, python)]
            found.append(
                f"{case.rule.kind.label}, trimBps {case.rule.trim_bps}, e {case.fraction_bits}:"
                f" values {case.updates[:, column].tolist()}, weights {case.weights},"
                f" base {case.base[column]}:"
                f" step and state are {got[0]} in Solidity, {got[1]} in Python"
            )
    return found


def main(arguments: list[str]) -> int:
    """Compare, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="The rules in Solidity against those in Python.")
    parser.add_argument("--coordinates", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args(arguments)
    cases = list(aggregations(-(-options.coordinates // COORDINATES), options.seed))
    with in_solidity(harness_code()) as evaluate:
        found = differences(evaluate, cases)
    for difference in found[:10]:
        print(difference)
    print(
        f"{COORDINATES * len(cases)} coordinates, {len(found)} differences:"
        f" {len({len(case.weights) for case in cases})} numbers of updates,"
        f" {len({case.fraction_bits for case in cases})} values of e,"
        f" {len({case.rule.trim_bps for case in cases})} of trimBps"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
