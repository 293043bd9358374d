"""Which seeds a result opens, in which order, and whether they are right (section 12.7).

A place is a counted reveal's number: ``included`` is a bit set of places, while seeds are named by
indices. The caller knows the index of each place from the events.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.privacy.masks import SEED_BYTES, Masks
from fl_orchestrator.privacy.release import ReleasedPieces


class OpeningError(VerificationError):
    """Included updates or seeds that do not fit the round."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The included indices, by place, of a round with this many commits."""

    size: int
    included: tuple[int, ...]

    @classmethod
    def of(cls, size: int, reveals: Sequence[int], included: int) -> "Opening":
        """``reveals`` are the indices of all counted reveals by place; raises OpeningError."""
        if not 0 <= included < 1 << len(reveals):
            raise OpeningError(
                f"The result includes places beyond the {len(reveals)} counted reveals."
            )
        chosen = tuple(k for place, k in enumerate(reveals) if included >> place & 1)
        if len(set(chosen)) < len(chosen) or any(not 0 <= k < size for k in chosen):
            raise OpeningError(f"The reveals are not of different commits among {size}.")
        return cls(size, chosen)

    def labels(self) -> Iterator[tuple[int, int]]:
        """Yield (k, l) of each seed in order: by place the own one, then those not included."""
        left = [j for j in range(self.size) if j not in self.included]
        for k in self.included:
            yield k, k
            for j in left:
                yield k, j

    @property
    def count(self) -> int:
        """The number of seeds: m (1 + commits - m)."""
        return len(self.included) * (1 + self.size - len(self.included))

    def collect(self, released: ReleasedPieces) -> bytes | None:
        """Return all seeds, 32 bytes each; None while one of them is not open."""
        seeds = [released.seed(k, label) for k, label in self.labels()]
        found = [seed for seed in seeds if seed is not None]
        return b"".join(found) if len(found) == len(seeds) else None

    def wrong_seeds(self, seeds: bytes, hashes: Mapping[int, Sequence[bytes]]) -> tuple[int, ...]:
        """Return the numbers of the seeds whose hash is not the one in the seal of their update.

        ``hashes`` are those in the seals of the included, by index and label; a hash that is
        missing is another one. Raises OpeningError for another number of seeds.
        """
        return tuple(
            number
            for number, ((k, label), seed) in enumerate(
                zip(self.labels(), self._split(seeds), strict=True)
            )
            if [keccak256(seed)] != list(hashes[k][label : label + 1])
        )

    def masks(self, seeds: bytes) -> Masks:
        """Return what turns the sum of the masked updates into S. Raises OpeningError.

        The own masks are subtracted. So is that of a pair if the included index is the lower one,
        which had added it; else it is added.
        """
        added: list[bytes] = []
        subtracted: list[bytes] = []
        for (k, label), seed in zip(self.labels(), self._split(seeds), strict=True):
            (subtracted if k <= label else added).append(seed)
        return Masks(tuple(added), tuple(subtracted))

    def _split(self, seeds: bytes) -> list[bytes]:
        if len(seeds) != SEED_BYTES * self.count:
            raise OpeningError(
                f"The result has {len(seeds)} bytes of seeds, not {SEED_BYTES * self.count}."
            )
        return [seeds[i : i + SEED_BYTES] for i in range(0, len(seeds), SEED_BYTES)]


def seeds_hash(seeds: bytes) -> bytes:
    """Return the seedsHash of a result: keccak256 of its seeds, one after another."""
    return keccak256(seeds)
