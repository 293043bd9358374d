"""What a party derives for a round: shares, pieces, seeds, corrections (section 12.4).

Label l of a party stands for the commit of index l: its seed is the one that both parties' masks
have in common, and for the party's own index the seed of its own mask. Nothing here is random:
after a restart the same z gives the same values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fl_orchestrator.errors import VerificationError
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.keys import (
    Label,
    agree,
    derive,
    ephemeral_secret,
    mask_secret,
    public_key,
)


class NotOurCommit(VerificationError):
    """The commit of an index has another mask key than the party's secret."""


@dataclass(frozen=True, slots=True)
class Dealing:
    """A party's secrets of a round: all 32 bytes, and none of them for a log.

    ``shares`` are by set, ``pieces`` by set and label, ``seeds`` and ``corrections`` by label.
    """

    index: int
    ephemeral: bytes = field(repr=False)
    shares: tuple[bytes, ...] = field(repr=False)
    pieces: tuple[tuple[bytes, ...], ...] = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)
    corrections: tuple[bytes, ...] = field(repr=False)


def deal(context: RoundContext, index: int, z: bytes) -> Dealing:
    """Derive everything from the z that the party drew before it committed.

    Raises NotOurCommit, and PublicKeyError for another party's key that is not on the curve.
    """
    secret = mask_secret(z, context.round)
    if public_key(secret) != context.commits[index].mask_key:
        raise NotOurCommit(
            f"The commit of index {index} in round {context.round} has another mask key.",
            "Use the home directory with which the party committed.",
        )
    labels = range(context.size)
    shares = tuple(share(z, context.ctx, a) for a in range(len(context.sets)))
    pieces = tuple(all_pieces(r, context.size) for r in shares)
    combined = [xor(of_set[label] for of_set in pieces) for label in labels]
    seeds = tuple(
        combined[label] if label == index else pair_seed(context, secret, index, label)
        for label in labels
    )
    corrections = tuple(xor(pair) for pair in zip(seeds, combined, strict=True))
    ephemeral = ephemeral_secret(z, context.ctx)
    return Dealing(index, ephemeral, shares, pieces, seeds, corrections)


def pair_seed(context: RoundContext, secret: bytes, ours: int, theirs: int) -> bytes:
    """Return the seed of the mask between two commits; both parties derive the same.

    The indices are hashed too: whoever commits with another's key gets other masks than it.
    """
    common = agree(secret, context.commits[theirs].mask_key)
    return derive(Label.PAIR, context.ctx, min(ours, theirs), max(ours, theirs), common)


def share(z: bytes, ctx: bytes, number: int) -> bytes:
    """Return the share that the seats outside the set of this number get."""
    return derive(Label.SHARE, z, ctx, number)


def piece(share_: bytes, label: int) -> bytes:
    """Return the part of a share that helps to open one label's seed, and no other."""
    return derive(Label.PIECE, share_, label)


def all_pieces(share_: bytes, size: int) -> tuple[bytes, ...]:
    """Return the pieces of a share for all labels."""
    return tuple(piece(share_, label) for label in range(size))


def xor(values: Iterable[bytes]) -> bytes:
    """Return the exclusive or of values of 32 bytes."""
    total = 0
    for value in values:
        total ^= int.from_bytes(value, "big")
    return total.to_bytes(32, "big")
