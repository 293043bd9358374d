"""The seal of a masked update: what is needed to open its seeds (docs/protocol.md, section 12.4).

A seal is ``h_l`` for all labels, and a body: the ephemeral key, the correction of each label, the
root of each set's label tree, and for each seat its encrypted shares. Its size follows from the
numbers of commits and seats, so it is known before anything is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.digests import ZERO_HASH
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.protocol import MAX_UPDATES
from fl_orchestrator.model.words import WORD_BYTES, hash_words
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.dealing import Dealing, all_pieces, xor
from fl_orchestrator.privacy.keys import Label, agree, derive, is_public_key, public_key
from fl_orchestrator.privacy.label_tree import LabelTree
from fl_orchestrator.privacy.sets import MAX_SEATS, MAX_SETS

#: More than any seal has, in bytes: that of a round of 100 commits and 10 seats.
MAX_SEAL_BYTES: Final = WORD_BYTES * (2 * MAX_UPDATES + 1 + MAX_SETS * (1 + MAX_SEATS))


class SealError(ContentError):
    """A seal that no honest party makes."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A parsed seal.

    ``hashes`` and ``corrections`` are by label, ``roots`` by set, ``shares`` (encrypted) by seat,
    and then in the order of the sets that the seat is not in.
    """

    hashes: tuple[bytes, ...]
    ephemeral: bytes
    corrections: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    shares: tuple[tuple[bytes, ...], ...]

    @property
    def head(self) -> bytes:
        """The hashes of all seeds, in the order of labels."""
        return b"".join(self.hashes)

    @property
    def body(self) -> bytes:
        """Everything but the head."""
        encrypted = (share for of_seat in self.shares for share in of_seat)
        return b"".join((self.ephemeral, *self.corrections, *self.roots, *encrypted))

    def to_bytes(self) -> bytes:
        """Return the seal as it stands in a masked file."""
        return self.head + self.body

    def digest(self) -> bytes:
        """Return the sealHash, which a dispute can prove from head and hash of the body alone."""
        return hash_words(keccak256(self.head), keccak256(self.body))


def seal_digest(data: bytes, size: int) -> bytes:
    """Return the sealHash of a seal's bytes in a round with this many commits."""
    head = size * WORD_BYTES
    return hash_words(keccak256(data[:head]), keccak256(data[head:]))


def masked_root(values_root: bytes, seal_hash: bytes) -> bytes:
    """Return the root of a masked update, from that of its values and the hash of its seal."""
    return hash_words(values_root, seal_hash)


def seal_bytes(context: RoundContext) -> int:
    """Return the size of every seal of a round, in bytes."""
    shares = sum(len(context.held_by(position)) for position in range(len(context.seats)))
    return WORD_BYTES * (2 * context.size + 1 + len(context.sets) + shares)


def make_seal(context: RoundContext, dealing: Dealing) -> Seal:
    """Seal a dealing. Raises PublicKeyError for a seat's key that is not on the curve."""
    shares = []
    for position, seat in enumerate(context.seats):
        key = _seat_key(context, dealing.index, position, agree(dealing.ephemeral, seat.key))
        held = [dealing.shares[a] for a in context.held_by(position)]
        shares.append(_encrypted(key, held))
    return Seal(
        hashes=tuple(keccak256(seed) for seed in dealing.seeds),
        ephemeral=public_key(dealing.ephemeral),
        corrections=dealing.corrections,
        roots=tuple(LabelTree.of(pieces).root for pieces in dealing.pieces),
        shares=tuple(shares),
    )


def parse_seal(context: RoundContext, index: int, data: bytes) -> Seal:
    """Read the seal of the commit at an index, from bytes that anybody may have made.

    Raises SealError for another size, for an ephemeral key off the curve, and for a correction of
    the party's own seed. Whether shares and seeds are right shows when they are opened.
    """
    if len(data) != seal_bytes(context):
        raise SealError(
            f"The seal of index {index} has {len(data)} bytes instead of {seal_bytes(context)}."
        )
    words = _words(data)
    seal = Seal(
        hashes=_take(words, context.size),
        ephemeral=next(words),
        corrections=_take(words, context.size),
        roots=_take(words, len(context.sets)),
        shares=tuple(_take(words, len(context.held_by(p))) for p in range(len(context.seats))),
    )
    if not is_public_key(seal.ephemeral):
        raise SealError(f"The ephemeral key in the seal of index {index} is not on the curve.")
    if seal.corrections[index] != ZERO_HASH:
        raise SealError(f"The seal of index {index} corrects its own seed.")
    return seal


def right_shares(
    context: RoundContext, index: int, seal: Seal, position: int, secret: bytes
) -> dict[int, bytes]:
    """Decrypt a seat's shares, and return those that match the seal's roots, by set number.

    A seat claims an update only if it has all: ``len(context.held_by(position))``.
    """
    key = _seat_key(context, index, position, agree(secret, seal.ephemeral))
    shares = _encrypted(key, seal.shares[position])  # exclusive or: the same both ways
    return {
        a: share
        for a, share in zip(context.held_by(position), shares, strict=True)
        if LabelTree.of(all_pieces(share, context.size)).root == seal.roots[a]
    }


def _seat_key(context: RoundContext, index: int, position: int, common: bytes) -> bytes:
    return derive(Label.SEAT, context.ctx, index, position, common)


def _encrypted(key: bytes, shares: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(xor((share, hash_words(key, t))) for t, share in enumerate(shares))


def _words(data: bytes) -> Iterator[bytes]:
    return (data[start : start + WORD_BYTES] for start in range(0, len(data), WORD_BYTES))


def _take(words: Iterator[bytes], count: int) -> tuple[bytes, ...]:
    return tuple(next(words) for _ in range(count))
