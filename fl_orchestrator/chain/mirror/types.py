"""A mirror's state and events as frozen dataclasses, with the fields of ``IModelMirror.sol``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.chain.event_types import Answered, Demanded
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.keccak import keccak256

#: The bits of a submission's number that count its attempts.
ATTEMPT_BITS: Final = 8
#: What a mirror keeps of the digest of a round's result, in bytes.
DIGEST_BYTES: Final = 29
_ACCOUNT_BYTES: Final = 20
_STAKE_LIMIT: Final = 1 << 96


class WrongSeats(InputError):
    """The seats are none, too many, double, or without a stake."""


@dataclass(frozen=True, slots=True)
class MirrorParams:
    """What a mirror is deployed with, besides the federation's parameters and the first seats.

    Periods are in seconds, the bond in wei. The model that it starts from is that of
    ``start_round``; 0 for genesis.
    """

    home_chain_id: int
    home: str
    challenge_period: int
    answer_period: int
    demand_bond: int
    start_round: int
    start_root: bytes
    start_cid: Cid


@dataclass(frozen=True, slots=True)
class MirroredModel:
    """A model of the mirror's history. ``submission`` is the "round" of the mirror's disputes."""

    round: int
    submission: int
    height: int
    final_at: int
    is_final: bool
    root: bytes
    cid: Cid


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What the mirror knows of a round: the first 29 bytes of a digest; zeros if nothing."""

    digest: bytes
    attempts: int
    disputed: bool
    convicted: bool

    def is_of(self, digest: bytes) -> bool:
        return self.attempts > 0 and self.digest == digest[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The hash of the seats that count for the rounds from ``from_round`` on."""

    seats_hash: bytes
    from_round: int


@dataclass(frozen=True, slots=True)
class Seat:
    """An account whose signature counts with this stake, in wei."""

    account: str
    stake: int

    @property
    def word(self) -> bytes:
        """The 32 bytes that the contract takes: account and stake."""
        return bytes.fromhex(self.account[2:]) + self.stake.to_bytes(12, "big")

    @classmethod
    def of(cls, word: bytes) -> Seat:
        from fl_orchestrator.chain.abi import checksummed

        account = checksummed("0x" + word[:_ACCOUNT_BYTES].hex())
        return cls(account, int.from_bytes(word[_ACCOUNT_BYTES:], "big"))


def ordered(seats: Sequence[Seat]) -> list[Seat]:
    """Seats in the contract's order, which is that of their accounts. Raises WrongSeats."""
    if not 1 <= len(seats) <= 64 or len({seat.account for seat in seats}) < len(seats):
        raise WrongSeats("A mirror has 1 to 64 seats, of different accounts.")
    if any(not 0 < seat.stake < _STAKE_LIMIT for seat in seats):
        raise WrongSeats("Every seat of a mirror needs a stake.")
    return sorted(seats, key=lambda seat: int(seat.account, 16))


def seats_hash(seats: Sequence[Seat]) -> bytes:
    """What the contract keeps of seats, which are in its order."""
    return keccak256(b"".join(seat.word for seat in seats))


@dataclass(frozen=True, slots=True)
class MirroredUpdate:
    """A counted reveal as a mirror has it: the party and its weight in one word, and the root."""

    party_and_weight: int
    root: bytes

    @property
    def party(self) -> str:
        return f"0x{self.party_and_weight >> 96:040x}"

    @property
    def number(self) -> int:
        return self.party_and_weight & (1 << 96) - 1


@dataclass(frozen=True, slots=True)
class MirroredResult:
    """A result that a quorum has signed, from the mirror's event.

    ``submission`` is 0 if it was recorded as an equivocation, and did not become the head.
    ``signatures`` are none if a later round decided for it.
    """

    submission: int
    digest: bytes
    result: Result
    updates: tuple[MirroredUpdate, ...]
    signers: int
    signatures: tuple[Signature, ...]
    block_number: int


@dataclass(frozen=True, slots=True)
class FraudRecorded:
    """A result is proven wrong at a coordinate, by these packed proofs."""

    round: int
    digest: bytes
    coordinate: int
    proofs: bytes
    block_number: int


@dataclass(frozen=True, slots=True)
class MirrorEvents:
    """The events of a mirror in a range of blocks, each kind in its order.

    The "round" of a demand and of an answer is a submission. ``seats`` are by their hash.
    """

    results: list[MirroredResult]
    demands: list[Demanded]
    answers: list[Answered]
    frauds: list[FraudRecorded]
    seats: dict[bytes, list[Seat]]

    def merged(self, later: MirrorEvents) -> MirrorEvents:
        """These events, and after them the later ones."""
        return MirrorEvents(
            self.results + later.results,
            self.demands + later.demands,
            self.answers + later.answers,
            self.frauds + later.frauds,
            self.seats | later.seats,
        )
