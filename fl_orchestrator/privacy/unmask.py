"""From masked updates to the step of a round, block by block (sections 12.2 and 12.7)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import VerificationError
from fl_orchestrator.privacy.masks import Masks, UInt32, with_masks


class UnmaskError(VerificationError):
    """Masked updates that do not go together."""


def sums(
    updates: Sequence[Iterable[UInt32]], masks: Masks, total: int
) -> Iterator[NDArray[np.int32]]:
    """Yield S, the sum of the included parties' x, as blocks of int32.

    ``updates`` are the included masked updates, each as the blocks of a flat vector of ``total``
    values, all of the same sizes; ``masks`` are those of the result's seeds. Raises UnmaskError.
    """
    for block in with_masks(_added(updates), masks, total):
        yield block.view(np.int32)


def steps(
    totals: Iterable[NDArray[np.int32]], weight: int, step_limit: int
) -> Iterator[NDArray[np.int16]]:
    """Yield A = clip(floor((2S + N) / 2N), ±stepLimit) for each block of S.

    ``weight`` is N, the sum of the included weights; 1 <= ``step_limit`` <= 32767.
    """
    for block in totals:
        doubled = block.astype(np.int64)
        doubled *= 2
        doubled += weight
        doubled //= 2 * weight
        yield doubled.clip(-step_limit, step_limit).astype(np.int16)


def _added(updates: Sequence[Iterable[UInt32]]) -> Iterator[UInt32]:
    for blocks in zip_longest(*updates):
        if any(block is None or block.size != blocks[0].size for block in blocks):
            raise UnmaskError("The masked updates have blocks of different sizes.")
        if any(block.dtype != np.uint32 for block in blocks):
            raise UnmaskError("A masked update is not of uint32.")
        added = blocks[0].copy()
        for block in blocks[1:]:
            added += block
        yield added
