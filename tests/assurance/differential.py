"""Compares the rules in Solidity with the rules in Python, at many coordinates, bit for bit.

    PYTHONPATH=tests python -m assurance.differential --coordinates 100000

It uses the code that a dispute uses: contracts/libraries (ModelRule, ChunkTree) on one side, and
fl_orchestrator.aggregation with its kernels on the other. Solidity runs on Anvil, with many
coordinates in a call. 100,000 coordinates use every trimBps once. Exits 1 on any difference.
"""

import argparse
import dataclasses
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
from fl_orchestrator.aggregation.clipping import clipped
from fl_orchestrator.aggregation.rules import rule_for
from fl_orchestrator.chain.deployment.compile import Project
from fl_orchestrator.model.fixed_point import next_state, next_with_momentum
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.manifest import STATE_FRACTION_BITS, RuleSpec
from fl_orchestrator.model.protocol import BPS, CHUNK_NORM_LIMIT, MAX_UPDATES, MAX_WEIGHT
from fl_orchestrator.model.rules import LEARNING_RATE, MOMENTUM, TRIM, RuleKind

HARNESS: Final = Path("tests", "assurance", "RuleHarness.sol")
#: The step, the state and the momentum.
NUMBERS: Final = 3
#: The numbers of coordinates in an aggregation, and of aggregations in a call.
COORDINATES: Final = 8
CALL: Final = 16
#: The order of the rules. The trimmed mean, which has a parameter, comes more often.
TURNS: Final = tuple(kind for kind in RuleKind for _ in range(4 if kind.parameters else 3))
INT16: Final = np.iinfo(np.int16)
INT32: Final = np.iinfo(np.int32)
#: Of one whole chunk.
LAYOUT: Final = Layout.of([("w", [CHUNK_VALUES], 0)])
NOTHING: Final = np.zeros(0, np.int32)

Integers = NDArray[np.int64]
Evaluate = Callable[[list["Aggregation"]], Integers]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """A chunk of each update (M x 256, int16), weights, the base and its momentum, and the rule.

    Base and momentum are int32, one for each coordinate, which are those from ``first`` on.
    """

    rule: RuleSpec
    fraction_bits: int
    weights: list[int]
    updates: NDArray[np.int16]
    base: NDArray[np.int32]
    momentum: NDArray[np.int32]
    first: int

    @property
    def clipped(self) -> NDArray[np.int16]:
        """The values of the updates at the coordinates, after clipping."""
        limit = self.rule.chunk_norm_limit or 0
        rows = [next(clipped([row], LAYOUT, limit)) for row in self.updates]
        return np.stack(rows)[:, self.first : self.first + COORDINATES]

    def in_python(self) -> Integers:
        """The rule's step, the next state and the next momentum, coordinate by coordinate."""
        rule, updates = rule_for(self.rule), [[row] for row in self.clipped.copy()]
        (step,) = rule.aggregate(updates, self.weights)
        server, moved = self.rule.server, np.zeros(step.size, np.int32)
        if server.has_momentum:
            state, moved = next_with_momentum(
                self.base, self.momentum, step, self.fraction_bits, server
            )
        else:
            state = next_state(self.base, step, self.fraction_bits, server)
        found = [values.astype(np.int64) for values in (step, state, moved)]
        return np.stack(found, axis=1).reshape(-1)

    def encoded(self) -> tuple[int, int, int, int, int, int, int, list[int], bytes, bytes, bytes]:
        """The arguments of the harness."""
        return (
            int(self.rule.kind),
            self.rule.trim_bps,
            self.fraction_bits,
            self.rule.server.learning_rate_bps,
            self.rule.server.momentum_bps,
            self.rule.chunk_norm_limit or 0,
            self.first,
            self.weights,
            self.updates.astype("<i2").tobytes(),
            self.base.astype("<i4").tobytes(),
            self.momentum.astype("<i4").tobytes(),
        )


def aggregations(count: int, seed: int) -> Iterator[Aggregation]:
    """Yield random aggregations, of all rules in turns.

    Each rule is used with all numbers of updates, and the trimmed mean with every trimBps. Half of
    the aggregations have a server learning rate of their own, half of them momentum, and half of
    them a limit to clip chunks by.
    """
    rng = np.random.default_rng(seed)
    trims = rng.permutation(TRIM.most + 1)
    for i in range(count):
        turn, place = divmod(i, len(TURNS))
        rule = RuleSpec.of(TURNS[place], **_server(rng))
        if rule.kind is RuleKind.TRIMMED_MEAN:
            trimmed = turn * TURNS.count(rule.kind) + place - TURNS.index(rule.kind)
            rule = rule.model_copy(update={"trim_bps": int(trims[trimmed % len(trims)])})
        weights = _weights(rng, (turn * 7 + place * 13) % MAX_UPDATES + 1)
        columns = [_values(rng, weights) for _ in range(COORDINATES)]
        first = int(rng.integers(CHUNK_VALUES - COORDINATES + 1))
        updates = _chunks(rng, np.stack(columns, axis=1).astype(np.int16), first)
        rule = rule.model_copy(update={"chunk_norm_limit": _norm_limit(rng, updates)})
        bits = int(rng.integers(STATE_FRACTION_BITS + 1))
        case = Aggregation(rule, bits, weights.tolist(), updates, NOTHING, NOTHING, first)
        (step,) = rule_for(rule).aggregate([[row] for row in case.clipped.copy()], case.weights)
        base = _base(rng, step.astype(np.int64) << STATE_FRACTION_BITS - bits)
        momentum = _base(rng, step.astype(np.int64) << STATE_FRACTION_BITS - bits)
        yield dataclasses.replace(case, base=base, momentum=momentum)


def _chunks(rng: np.random.Generator, values: NDArray[np.int16], first: int) -> NDArray[np.int16]:
    """Whole chunks around these values: of zeros, or of values of any size."""
    shifts = rng.integers(17, size=(len(values), 1))
    around = rng.integers(INT16.min, INT16.max + 1, (len(values), CHUNK_VALUES)) >> shifts
    chunks = around.astype(np.int16)
    chunks[:, first : first + COORDINATES] = values
    return chunks


def _norm_limit(rng: np.random.Generator, chunks: NDArray[np.int16]) -> int | None:
    """No limit, any limit, or one at the norm of a chunk or beside it."""
    norm = np.linalg.norm(chunks[rng.integers(len(chunks))].astype(np.float64))
    limits = [
        int(rng.integers(1, CHUNK_NORM_LIMIT)),
        int(2.0 ** rng.uniform(0, 19)),
        int(norm) + int(rng.integers(-1, 3)),
    ]
    limit = rng.choice([0, 0, 0, *limits])
    return None if limit == 0 else int(np.clip(limit, 1, CHUNK_NORM_LIMIT - 1))


def _server(rng: np.random.Generator) -> dict[str, int]:
    """What a server does with a step: nothing, even shares, or any number of basis points."""
    rate = rng.choice([BPS, BPS, BPS // 2, int(rng.integers(1, LEARNING_RATE.most + 1))])
    momentum = rng.choice([0, 0, BPS // 2, int(rng.integers(1, MOMENTUM.most + 1))])
    return {LEARNING_RATE.field: int(rate), MOMENTUM.field: int(momentum)}


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
    numbers = ",".join(["uint256"] * 6)
    signature = f"(uint8,{numbers},uint256[],bytes,bytes,bytes)[]"
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
        for at in np.unique(np.flatnonzero(solidity != python) // NUMBERS):
            case, column = batch[at // COORDINATES], at % COORDINATES
            got = [tuple(side[NUMBERS * at :][:NUMBERS].tolist()) for side in (solidity, python)]
            found.append(
                f"{case.rule}, e {case.fraction_bits}:"
                f" values {case.updates[:, case.first + column].tolist()}, after clipping"
                f" {case.clipped[:, column].tolist()}, weights {case.weights},"
                f" base {case.base[column]}, momentum {case.momentum[column]}:"
                f" step, state and momentum are {got[0]} in Solidity, {got[1]} in Python"
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
        f" {len({case.rule.trim_bps for case in cases})} of trimBps,"
        f" {sum(case.rule.chunk_norm_limit is not None for case in cases)} with clipping"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
