"""Release files: the pieces that a seat gives to the public for one lock (section 12.6).

A file is a row of records: k, a, l (a byte each), the piece p_a(l) of the commit of index k, and
its path in the label tree of set a; ascending. Anybody may have made a file: what it says is only
believed where the path leads to the root in the seal of k.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.model.chunk_tree import root_from_proof
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.words import WORD_BYTES
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.dealing import all_pieces, xor
from fl_orchestrator.privacy.label_tree import LabelTree, label_depth
from fl_orchestrator.privacy.seal import Seal

_KEY_BYTES: Final = 3


def indices(members: int) -> tuple[int, ...]:
    """Return the indices in a bit set, ascending."""
    return tuple(i for i in range(members.bit_length()) if members >> i & 1)


def labels_for_lock(size: int, locked: int) -> Iterator[tuple[int, int]]:
    """Yield each (k, l) that a lock opens: of every locked k, label k and all labels not locked.

    Nothing else is ever released for a lock but ``labels_for_expulsion``: a seed that two locked
    parties have in common stays closed, and so does everything of a party that is not locked.
    """
    for k in indices(locked):
        for label in range(size):
            if label == k or not locked >> label & 1:
                yield k, label


def labels_for_expulsion(locked: int, expelled: int) -> Iterator[tuple[int, int]]:
    """Yield each (k, l) that opens when one more locked party is expelled: its label of the others.

    It knew those seeds. Call this only with the proof that it misdealt.
    """
    for k in indices(locked):
        if k != expelled:
            yield k, expelled


def record_bytes(size: int) -> int:
    """Return the size of one record in a round with this many commits."""
    return _KEY_BYTES + WORD_BYTES * (1 + label_depth(size))


def max_release_bytes(context: RoundContext, locked: int, position: int) -> int:
    """Return the size of a seat's first release file, in bytes; none of its files is larger.

    For each expulsion a seat makes one file more, which has at most one label of every other.
    """
    labels = sum(1 for _ in labels_for_lock(context.size, locked))
    return labels * len(context.held_by(position)) * record_bytes(context.size)


def make_release(
    context: RoundContext,
    labels: Iterable[tuple[int, int]],
    shares: Mapping[int, Mapping[int, bytes]],
) -> bytes:
    """Write a release file of these (k, l), of every set whose share the seat has.

    ``shares`` are the right shares by k and by number of the set. A k without shares is left out:
    the seat could not get that update.
    """
    wanted: dict[int, list[int]] = {}
    for k, label in labels:
        wanted.setdefault(k, []).append(label)
    records = []
    for k in sorted(wanted.keys() & shares.keys()):
        for a, share in sorted(shares[k].items()):
            pieces = all_pieces(share, context.size)
            tree = LabelTree.of(pieces)
            for label in sorted(wanted[k]):
                path = b"".join(tree.path(label))
                records.append(bytes((k, a, label)) + pieces[label] + path)
    return b"".join(records)


@dataclass(frozen=True, slots=True)
class Misdealt:
    """That k misdealt: all right pieces of one of its labels together open a wrong seed.

    No honest party can be shown to have: it made seeds, pieces and corrections fit each other.
    """

    k: int
    label: int


class ReleasedPieces:
    """The right pieces that were released, of all files of all seats together."""

    def __init__(self, context: RoundContext, seals: Mapping[int, Seal]) -> None:
        """``seals`` are those of the locked updates, by index."""
        self._context = context
        self._seals = dict(seals)
        self._pieces: dict[tuple[int, int, int], bytes] = {}

    def add(self, data: bytes) -> int:
        """Take what is right in a file, and return how many pieces were new.

        The rest is dropped: records out of order, of another k, a or l, and wrong ones. So a file
        costs its reader no more hashing than its size, which the caller limits.
        """
        width, last, found = record_bytes(self._context.size), b"", 0
        for start in range(0, len(data) - width + 1, width):
            record = data[start : start + width]
            key = record[:_KEY_BYTES]
            if key > last:
                last = key
                found += self._add(key[0], key[1], key[2], record[_KEY_BYTES:])
        return found

    def _add(self, k: int, a: int, label: int, rest: bytes) -> bool:
        if (k, a, label) in self._pieces or k not in self._seals:
            return False
        if a >= len(self._context.sets) or label >= self._context.size:
            return False
        piece, *path = (rest[i : i + WORD_BYTES] for i in range(0, len(rest), WORD_BYTES))
        if root_from_proof(keccak256(piece), label, path) != self._seals[k].roots[a]:
            return False
        self._pieces[k, a, label] = piece
        return True

    def missing(self, k: int, label: int) -> tuple[int, ...]:
        """Return the numbers of the sets whose piece of a label is not there yet."""
        sets = range(len(self._context.sets))
        return tuple(a for a in sets if (k, a, label) not in self._pieces)

    def seed(self, k: int, label: int) -> bytes | None:
        """Return an opened seed; None while pieces are missing, and if k misdealt it."""
        found = self._combined(k, label)
        return found if found is not None and self._is_right(k, label, found) else None

    def misdealt(self) -> tuple[Misdealt, ...]:
        """Return the proof against each party that misdealt, its lowest label; ascending."""
        proofs: dict[int, Misdealt] = {}
        for k, label in sorted({(k, label) for k, _, label in self._pieces}):
            found = self._combined(k, label)
            if found is not None and not self._is_right(k, label, found):
                proofs.setdefault(k, Misdealt(k, label))
        return tuple(proofs.values())

    def _combined(self, k: int, label: int) -> bytes | None:
        if self.missing(k, label):
            return None
        pieces = (self._pieces[k, a, label] for a in range(len(self._context.sets)))
        return xor((*pieces, self._seals[k].corrections[label]))

    def _is_right(self, k: int, label: int, seed: bytes) -> bool:
        return keccak256(seed) == self._seals[k].hashes[label]
