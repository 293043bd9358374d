"""What all masks and shares of a round depend on (docs/protocol.md, section 12.3).

On another fork, base, seat table or list of commits, the context is another one, and so are all
masks and shares. An index is a commit's number, a position is a seat's number, both from 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.digests import ZERO_HASH
from fl_orchestrator.model.protocol import MAX_UPDATES, MAX_WEIGHT
from fl_orchestrator.model.words import address, checked, hash_words, uint
from fl_orchestrator.privacy.keys import Label, derive
from fl_orchestrator.privacy.sets import maximal_sets, sets_without


class ContextError(VerificationError):
    """Commits that no private round can have."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A row of a round's seat table: stake in wei, and the aggregator's encryption key."""

    account: str
    stake: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a round: who, with which weight, and the public key of its masks."""

    party: str
    weight: int
    mask_key: bytes


@dataclass(frozen=True, slots=True)
class RoundContext:
    """A round whose commit phase has ended. ``ctx`` is the hash of all of it, 32 bytes."""

    ctx: bytes
    round: int
    commits: tuple[Commit, ...]
    seats: tuple[Seat, ...]
    sets: tuple[int, ...]

    @classmethod
    def of(
        cls,
        *,
        chain_id: int,
        federation: str,
        round_number: int,
        base_root: bytes,
        commits: Iterable[Commit],
        seats: Iterable[Seat],
        secrecy: int,
    ) -> "RoundContext":
        """Derive the context; commits in the order of the chain, seats in that of the seat table.

        Raises ContextError, SeatsError, and ValueError for what does not fit the protocol's types.
        """
        listed, table = tuple(commits), tuple(seats)
        if not 1 <= len(listed) <= MAX_UPDATES:
            raise ContextError(f"A round has 1 to {MAX_UPDATES} commits, not {len(listed)}.")
        for commit in listed:
            if not 1 <= commit.weight <= MAX_WEIGHT:
                raise ContextError(f"The weight {commit.weight} is not in 1..{MAX_WEIGHT}.")
        ctx = derive(
            Label.CONTEXT,
            chain_id,
            address(federation),
            uint(round_number, 64),
            base_root,
            commits_hash(base_root, listed),
            seats_hash(table),
        )
        sets = maximal_sets([seat.stake for seat in table], secrecy)
        return cls(ctx, round_number, listed, table, sets)

    @property
    def size(self) -> int:
        """The number of commits, and of labels: label l stands for the commit of index l."""
        return len(self.commits)

    def held_by(self, position: int) -> tuple[int, ...]:
        """Return the numbers of the sets of which the seat at a position has the share."""
        return sets_without(self.sets, position)


def seats_hash(seats: Iterable[Seat]) -> bytes:
    """Return the rolling hash over a seat table, from zero."""
    current = ZERO_HASH
    for seat in seats:
        current = hash_words(current, account_word(seat.account, seat.stake), seat.key)
    return current


def commits_hash(base_root: bytes, commits: Iterable[Commit]) -> bytes:
    """Return the rolling hash over a round's commits, from the root of its base model."""
    current = base_root
    for commit in commits:
        word = account_word(commit.party, checked(commit.weight, 8))
        current = hash_words(current, word, commit.mask_key)
    return current


def lock_of(ctx: bytes, locked: int) -> bytes:
    """Return the lock: what seats confirm. ``locked`` is a bit set of indices, not of places."""
    return hash_words(ctx, checked(locked, 256))


def account_word(account: str, number: int) -> bytes:
    """Return the word ``account << 96 | number``."""
    return address(account)[12:] + checked(number, 96).to_bytes(12, "big")
