"""The gas of each operation, from receipts, compared with the least possible gas.

    python benchmarks/gas.py [--json] [--parties 10000] [--rounds 100]

Everything runs on the deterministic development chain (Prague's gas rules), without any training:
parties commit to random roots. Most of the time, about three minutes, is spent on registering
10,000 parties; ``--parties`` changes this number.

A round is measured from the first ``openRound`` to acceptance, with ten parties and four
aggregators. Direct: every party sends its own ``commit`` and its own ``reveal``. Relayed: a keeper
sends all commits, signed by their parties, in one batch and all reveals in another. In both cases,
one ``attest`` has all four signatures. Figures are for the steady state, in which the storage slots
that rounds reuse were written before; the first round is listed too. For transactions that repeat
in a round, the median is shown (for example, because the last commit also ends a phase).

Disputes are about a model that is wrong by one unit in one coordinate, with trees of depth 17. Its
vectors are random, so that almost no byte of a proof is zero; a zero byte costs a quarter of
another byte. Where the gas of a challenge equals the floor, it pays only for its calldata (40 a
byte by EIP-7623).

The floor of a transaction is the gas that no contract with the same guarantees, calldata and events
could avoid. It is the sum of: 21,000; calldata (4 per zero byte, 16 per other byte, EIP-2028; in
total at least 10 and 40, EIP-7623); events (375, plus 375 per topic and 8 per byte); 3,000 per
signature; and the storage slots that it must touch, all cold (EIP-2929): 22,100 for a new one,
5,000 for a changed one, 2,100 for one that is only read. The table has the numbers of slots, and
the lines below it name them. A deployment pays 32,000, 2 per word of creation code (EIP-3860) and
200 per byte of deployed code. A floor contains no computation and no memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from _gas.disputes import Disputed
from _gas.federation import AGGREGATORS, PARTIES, PROGRESS, Bench, Round
from _gas.floor import Cost
from _gas.mirror import Mirrored
from _gas.private import DisputedSum, PrivateBench
from _gas.shares import Shared
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fl_orchestrator.chain.types import Role
from fl_orchestrator.model.rules import ServerStep

# These rounds of the main federation, and the last one, are direct; all others are relayed.
FIRST, SECOND, STEADY = 1, 2, 3
RELAYED: Final = 4
DEPTH: Final = 17
DEEP: Final = 19
MANY_UPDATES: Final = 100
# Below the norm of random values, so that every chunk is scaled down.
NORM_LIMIT: Final = 100_000
# The most parties that a private federation has, and how many of them drop out after the commit.
MANY_MASKED: Final = 88
DROPPED: Final = 10
# The last goal is the limit of a transaction (EIP-7825: 2^24).
GAS_GOALS: Final = {
    "round_10_direct": 1_450_000,
    "round_10_relayed": 900_000,
    "round_10_private": 1_000_000,
    "challenge_10_private": 600_000,
    "challenge_100_private": 4_900_000,
    f"challenge_{PARTIES}": 550_000,
    f"challenge_{PARTIES}_momentum": 650_000,
    f"challenge_{PARTIES}_clipped": 650_000,
    f"challenge_{MANY_UPDATES}": 4_900_000,
    f"challenge_{MANY_UPDATES}_clipped": 4_900_000,
    f"challenge_{MANY_UPDATES}_depth_{DEEP}": 16_700_000,
    f"challenge_{MANY_UPDATES}_depth_{DEEP}_clipped": 16_700_000,
}
# The largest transaction that nodes accept: 4 slots of 32 KiB.
MAX_TRANSACTION_BYTES: Final = 131_072
OPEN_GOAL: Final = 1.02
LATE_GOAL: Final = 1.01
# The cost of a direct round of ten parties before disputes existed, and the allowed ratio to it.
BEFORE_DISPUTES: Final = Cost(1_362_908, 0)
DISPUTES_GOAL: Final = 1.02
# The width of the table, also if the output is not a terminal.
WIDTH: Final = 96


@dataclass(frozen=True, slots=True)
class Row:
    """An operation: its key in the JSON, its label in the table, and its cost."""

    key: str
    words: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of ``cost`` to ``before``, and the largest allowed ratio, ``goal``."""

    key: str
    words: str
    cost: Cost
    before: Cost
    goal: float

    @property
    def value(self) -> float:
        return self.cost.gas / self.before.gas


def measure(parties: int, rounds: int) -> tuple[list[Row], list[Ratio]]:
    """Run everything: a crowd of ``parties``, and a consortium for ``rounds`` rounds."""
    main = Bench(PARTIES, AGGREGATORS)
    direct = (FIRST, SECOND, STEADY, rounds)
    done = {
        n: main.run_round(relayed=n not in direct)
        for n in track(range(1, rounds + 1), f"Running {rounds} rounds", console=PROGRESS)
    }
    main.finish(done[FIRST])
    finalize, distribute = main.finish(done[SECOND])
    first_relayed = Bench(PARTIES, AGGREGATORS).run_round(relayed=True)
    steady, relayed = done[STEADY], done[RELAYED]
    few, many = crowd_round(PARTIES), crowd_round(parties)
    rows = [
        Row("deploy_library", "deploy DisputeLogic", main.deployment["DisputeLogic"]),
        Row("deploy_federation", "deploy Federation", main.deployment["Federation"]),
        Row("register_party", "register, a party", main.registration[Role.PARTY]),
        Row("register_aggregator", "register, an aggregator", main.registration[Role.AGGREGATOR]),
        Row("open_first", "openRound, first call", steady.opening[0]),
        Row("open_second", "openRound, second call", steady.opening[1]),
        Row("commit", "commit", Cost.median(steady.commits)),
        Row("commit_drawn", "commit, if sampled", Cost.median(few.commits)),
        Row("commit_batch_10", "commitFor, 10 commits", relayed.commits[0]),
        Row("reveal", "reveal", Cost.median(steady.reveals)),
        Row("reveal_batch_10", "reveal, 10 updates", relayed.reveals[0]),
        Row("attest_1", "attest, 1 signed", attest(1)),
        Row("attest_4", "attest, 4 signed", steady.attest),
        Row("attest_7", "attest, 7 signed", attest(7)),
        Row("finalize", "finalize", finalize),
        Row("distribute", "distribute", distribute),
        Row("round_10_direct_first", "round, direct, the first", without_floor(done[FIRST])),
        Row("round_10_direct", "round, direct", steady.cost),
        Row("round_10_relayed_first", "round, relayed, the first", without_floor(first_relayed)),
        Row("round_10_relayed", "round, relayed", relayed.cost),
        *private_rounds(),
        *mirrored_rounds(),
        *shared_rewards(),
        Row("open_10", f"openRound, {PARTIES} registered", opening(few)),
        Row(f"open_{short(parties)}", f"the same, {parties:,} registered", opening(many)),
        *disputes(),
    ]
    ratios = [
        Ratio(
            "round_over_before_disputes",
            "round, direct, over before disputes",
            steady.cost,
            BEFORE_DISPUTES,
            DISPUTES_GOAL,
        ),
        Ratio(
            f"open_ratio_{short(parties)}",
            f"openRound, {parties:,} over {PARTIES}",
            opening(many),
            opening(few),
            OPEN_GOAL,
        ),
        Ratio(
            f"round_{rounds}_over_{STEADY}",
            f"round {rounds} over round {STEADY}",
            done[rounds].cost,
            steady.cost,
            LATE_GOAL,
        ),
    ]
    return rows, ratios


def disputes() -> list[Row]:
    """Challenge wrong models, slash their signers, and descend the tree of a withheld model."""
    few, many, deep = (
        Disputed(parties, depth)
        for parties, depth in ((PARTIES, DEPTH), (MANY_UPDATES, DEPTH), (MANY_UPDATES, DEEP))
    )
    registration, challenge = few.challenge()
    moving = Disputed(PARTIES, DEPTH, server=ServerStep(momentum_bps=9_000)).challenge()[1]
    clipping = {
        (parties, depth): Disputed(parties, depth, norm_limit=NORM_LIMIT).challenge()[1]
        for parties, depth in ((PARTIES, DEPTH), (MANY_UPDATES, DEPTH), (MANY_UPDATES, DEEP))
    }
    demands, answers = zip(*Disputed(PARTIES, DEPTH).descend(), strict=True)
    words = f"challenge, {MANY_UPDATES} updates"
    key = f"challenge_{MANY_UPDATES}"
    return [
        Row("register_challenge", "registerChallenge", registration),
        Row(f"challenge_{PARTIES}", f"challenge, {PARTIES} updates", challenge),
        Row(f"challenge_{PARTIES}_momentum", f"challenge, {PARTIES} updates, momentum", moving),
        Row(
            f"challenge_{PARTIES}_clipped",
            f"challenge, {PARTIES} updates, clipped",
            clipping[PARTIES, DEPTH],
        ),
        Row(key, words, many.challenge()[1]),
        Row(f"{key}_clipped", f"{words}, clipped", clipping[MANY_UPDATES, DEPTH]),
        Row(f"{key}_depth_{DEEP}", f"{words}, depth {DEEP}", deep.challenge()[1]),
        Row(
            f"{key}_depth_{DEEP}_clipped",
            f"{words}, depth {DEEP}, clipped",
            clipping[MANY_UPDATES, DEEP],
        ),
        Row("slash_signer", "slashSigner", Cost.median(few.slash())),
        Row("demand", "demand, the first of a round", demands[0]),
        Row("descend", "descend", demands[1]),
        # The second answer has the longest path among those with 64 nodes.
        Row("answer", "answer, 6 levels below", answers[1]),
        Row("answer_chunk", "answer, a chunk", answers[-1]),
    ]


def mirrored_rounds() -> list[Row]:
    """Rounds of a federation that are carried to a mirror; floors are left out."""
    home = Bench(PARTIES, AGGREGATORS)
    mirrored = Mirrored(home)
    first, *_, last = (mirrored.submit(home.run_round(relayed=True)) for _ in range(STEADY))
    return [
        Row("mirror_submit_10_first", "submit to a mirror, the first round", first),
        Row("mirror_submit_10", "submit to a mirror", last),
    ]


def shared_rewards() -> list[Row]:
    """Rewards by shares for all parties; floors are left out."""
    home = Bench(PARTIES, AGGREGATORS)
    home.finish(home.run_round(relayed=True))
    shared = Shared(home)
    return [
        Row("shares_10_first", "distribute by shares, the first time", shared.distribute()),
        Row("shares_10", "distribute by shares", shared.distribute()),
    ]


def private_rounds() -> list[Row]:
    """A relayed round in the steady state, and disputes of sums at the largest number of parties.

    Their floors are not computed, and left out.
    """
    bench = PrivateBench(PARTIES, AGGREGATORS)
    rounds = [bench.run_masked_round() for _ in range(STEADY)]
    few = DisputedSum(PARTIES, 0, DEPTH).challenge()
    many = DisputedSum(MANY_MASKED, DROPPED, DEPTH).challenge()
    words = f"challenge, private, {MANY_MASKED} parties, {DROPPED} drop out"
    return [
        Row("round_10_private", "round, private, relayed", without_floor(rounds[-1])),
        Row(
            "challenge_10_private",
            f"challenge, private, {PARTIES}",
            Cost(few.gas, 0, None, few.size),
        ),
        Row("challenge_100_private", words, Cost(many.gas, 0, None, many.size)),
    ]


def crowd_round(parties: int) -> Round:
    """Return the second round of a crowd in which about ten parties are drawn."""
    crowd = Bench(parties, AGGREGATORS, crowd=True)
    crowd.run_round(relayed=True)
    return crowd.run_round()


def opening(done: Round) -> Cost:
    """Return the cost of both calls of ``openRound``."""
    return Cost.total(done.opening)


def without_floor(done: Round) -> Cost:
    """Return the cost of a first round without a floor, which would count new slots as changed."""
    return Cost(done.cost.gas, 0)


def attest(signatures: int) -> Cost:
    """Return the cost of an attestation in a federation of that many aggregators, all signing."""
    return Bench(PARTIES, signatures).run_round(relayed=True).attest


def short(number: int) -> str:
    """Write 10,000 as 10k."""
    return f"{number // 1000}k" if number % 1000 == 0 else str(number)


def show(rows: Sequence[Row], ratios: Sequence[Ratio]) -> None:
    """Print the table, and the parts of its floors."""
    console = Console(width=max(WIDTH, PROGRESS.width))
    table = Table("operation", title="Gas, from receipts", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("gas", "floor", "ratio", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("slots: new,\nchanged, read", "signa-\ntures"):
        table.add_column(heading, justify="center", no_wrap=True)
    for row in rows:
        gas, floor, work = row.cost.gas, row.cost.floor, row.cost.work
        limit = GAS_GOALS.get(row.key)
        table.add_row(
            row.words,
            f"{gas:,}",
            f"{floor:,}" if floor else "",
            f"{gas / floor:.2f}" if floor else "",
            f"{limit:,} {verdict(gas <= limit)}" if limit else "",
            f"{work.new}, {work.changed}, {work.read}" if work else "",
            str(work.signatures) if work and work.signatures else "",
        )
    table.add_section()
    for ratio in ratios:
        goal = f"{ratio.goal:g} {verdict(ratio.value <= ratio.goal)}"
        table.add_row(ratio.words, f"{ratio.cost.gas:,}", "", f"{ratio.value:.4f}", goal)
    console.print(table)
    for why in dict.fromkeys(row.cost.work.why for row in rows if row.cost.work):
        console.print(f"Floor of {why}.", highlight=False)
    largest = max(rows, key=lambda row: row.cost.size)
    met = verdict(largest.cost.size <= MAX_TRANSACTION_BYTES).strip()
    console.print(
        f"The largest signed transaction ({largest.words}): {largest.cost.size:,} bytes, at most "
        f"{MAX_TRANSACTION_BYTES:,}: {met}.",
        highlight=False,
    )


def verdict(met: bool) -> str:
    """Say whether a goal is met."""
    return "yes" if met else " NO"


def as_json(rows: Sequence[Row], ratios: Sequence[Ratio]) -> str:
    """Return gas by operation and the ratios; floors and transaction sizes are separate objects."""
    figures: dict[str, Any] = {row.key: row.cost.gas for row in rows}
    figures |= {ratio.key: ratio.value for ratio in ratios}
    figures["floors"] = {row.key: row.cost.floor for row in rows if row.cost.floor}
    figures["sizes"] = {row.key: row.cost.size for row in rows if row.cost.size}
    return json.dumps(figures, indent=2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parties", type=int, default=10_000, help="registered in the crowd")
    parser.add_argument("--rounds", type=int, default=100, help="the round to compare with")
    options = parser.parse_args(arguments)
    if options.parties < PARTIES or options.rounds <= RELAYED:
        parser.error(f"at least {PARTIES} parties and {RELAYED + 1} rounds")
    figures = measure(options.parties, options.rounds)
    if options.json:
        print(as_json(*figures))
    else:
        show(*figures)


if __name__ == "__main__":
    main()
