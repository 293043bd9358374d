"""The tree over the pieces of one share, by label (docs/protocol.md, section 12.4).

A leaf is the keccak256 of a piece; leaves of zeros fill the tree up to the next power of two. A
path is verified with ``chunk_tree.root_from_proof``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fl_orchestrator.model.digests import ZERO_HASH
from fl_orchestrator.model.keccak import keccak256


def label_depth(size: int) -> int:
    """Return the depth of a tree over this many labels: ceil(log2 size)."""
    return (size - 1).bit_length()


@dataclass(frozen=True, slots=True)
class LabelTree:
    """The tree of all pieces of a share; ``levels[h]`` are the nodes of height h."""

    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, pieces: Sequence[bytes]) -> "LabelTree":
        """Build the tree over at least one piece."""
        depth = label_depth(len(pieces))
        level = tuple(keccak256(piece) for piece in pieces)
        levels = [level + (ZERO_HASH,) * ((1 << depth) - len(level))]
        for _ in range(depth):
            below = levels[-1]
            levels.append(
                tuple(keccak256(below[i] + below[i + 1]) for i in range(0, len(below), 2))
            )
        return cls(tuple(levels))

    @property
    def root(self) -> bytes:
        """What a seal says about the share, 32 bytes."""
        return self.levels[-1][0]

    def path(self, label: int) -> tuple[bytes, ...]:
        """Return the siblings of a label's leaf, from the leaf upwards."""
        return tuple(level[label >> h ^ 1] for h, level in enumerate(self.levels[:-1]))
