"""The least gas that a transaction can cost; see gas.py for the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fl_orchestrator.chain.types import Role


@dataclass(frozen=True, slots=True)
class Work:
    """The unavoidable work of a transaction: cold storage slots and signatures; and the reason."""

    why: str
    new: int = 0
    changed: int = 0
    read: int = 0
    signatures: int = 0
    other_gas: int = 0

    @property
    def gas(self) -> int:
        slots = 22_100 * self.new + 5_000 * self.changed + 2_100 * self.read
        return slots + 3_000 * self.signatures + self.other_gas


OPEN_FIRST: Final = Work(
    "openRound, first call: changes the round and the frozen stakes; reads the live ones", 0, 2, 1
)
OPEN_SECOND: Final = Work("openRound, second call: changes the round and the seed", 0, 2)
FINALIZE: Final = Work("finalize: changes the final height; reads the round's deadline", 0, 1, 1)
REGISTER: Final = {
    Role.PARTY: Work("register, a party: adds a stake and a beneficiary; changes the totals", 2, 1),
    Role.AGGREGATOR: Work(
        "register, an aggregator: adds a stake, a beneficiary and a seat; changes the seats and "
        "the totals; reads admission",
        3,
        2,
        1,
    ),
}
REGISTER_CHALLENGE: Final = Work("registerChallenge: adds the hash", 1)
CHALLENGE: Final = Work(
    "challenge: adds the challenger; changes the round, the tally and until when stakes are held; "
    "reads the registration, the round's record and its place in the history",
    1,
    3,
    3,
)
SLASH: Final = Work(
    "slashSigner: changes the stake, the totals, the bitmap of the slashed and the challenger's "
    "credit; reads the tally and the seat",
    0,
    4,
    2,
)
DEMAND: Final = Work(
    "demand, descend: adds who demands what, and until when; changes the counter and the round's "
    "record, or the demand before",
    2,
    2,
)
ANSWER: Final = Work(
    "answer: changes the demand; reads what was demanded and the model's root", 0, 1, 2
)


def deploy_work(contract: str, creation_code: bytes, runtime_code: bytes) -> Work:
    """Return the work of storing a contract's code."""
    words = -(-len(creation_code) // 32)
    code_gas = 32_000 + 2 * words + 200 * len(runtime_code)
    slots = 4 if contract == "Federation" else 0
    why = "deploy: leaves the code; adds a federation's owner, genesis root and CID"
    return Work(why, slots, other_gas=code_gas)


def commit_work(commits: int, signed: bool, sampled: bool) -> Work:
    """Return the work of ``commits`` in one transaction; ``sampled`` adds the check of the draw."""
    why = (
        "commit: for each, changes its slot, reads its stake, recovers its signature if relayed; "
        "changes the counter; reads the seed and the total stake if sampled"
    )
    reads = commits + 2 * sampled
    return Work(why, 0, commits + 1, reads, commits if signed else 0)


def reveal_work(reveals: int) -> Work:
    """Return the work of ``reveals`` in one transaction."""
    why = "reveal: for each, adds its root, changes its slot; changes the rolling hash and counter"
    return Work(why, reveals, reveals + 2)


def attest_work(signatures: int) -> Work:
    """Return the work of an attestation that completes the quorum, so that its result becomes the
    head."""
    why = (
        "attest: for each signature, recovers it and reads a stake; adds root, CID, tally and the "
        "round's record; changes the round; reads updates' hash, base root, frozen stake and pot"
    )
    return Work(why, 4, 1, signatures + 4, signatures)


def distribute_work(updates: int, signers: int) -> Work:
    """Return the work of distributing a round's rewards."""
    why = (
        "distribute: changes every credit, the pot and a flag; reads tally, record, last sum, and "
        "the seat and stake of each signer"
    )
    return Work(why, 0, updates + signers + 2, 2 * signers + 3)


@dataclass(frozen=True, slots=True)
class Cost:
    """The gas used and the least possible gas, of one transaction, or without ``work`` of several.

    ``size`` is that of the signed transaction, in bytes.
    """

    gas: int
    floor: int
    work: Work | None = None
    size: int = 0

    @classmethod
    def total(cls, costs: Sequence[Cost]) -> Cost:
        """Return the sum."""
        return cls(sum(cost.gas for cost in costs), sum(cost.floor for cost in costs))

    @classmethod
    def median(cls, costs: Sequence[Cost]) -> Cost:
        """Return the median by gas."""
        return sorted(costs, key=lambda cost: cost.gas)[len(costs) // 2]


def least_gas(data: bytes, logs: Sequence[Any], work: Work) -> int:
    """Return the floor of a transaction; see the module's docstring."""
    zeros = data.count(0)
    tokens = zeros + 4 * (len(data) - zeros)
    events = sum(375 + 375 * len(log["topics"]) + 8 * len(bytes(log["data"])) for log in logs)
    return 21_000 + max(4 * tokens + events + work.gas, 10 * tokens)
