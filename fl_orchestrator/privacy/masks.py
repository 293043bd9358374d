"""The masks of updates: streams of pseudorandom numbers, added in Z_2^32 (section 12.4).

A vector arrives in blocks that the caller owns, and masks are added to them in place: so the memory
is that of a block, whatever the numbers of masks and of values.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.cores import cores
from fl_orchestrator.model.keccak import add_streams
from fl_orchestrator.privacy.dealing import Dealing

UInt32 = NDArray[np.uint32]

#: The size of a seed.
SEED_BYTES: Final = 32
# A part of a block for one thread: to hand over less costs as much as it gains.
_PART_VALUES: Final = 1 << 13


@dataclass(frozen=True, slots=True)
class Masks:
    """The seeds whose streams are added, and those whose streams are subtracted."""

    added: tuple[bytes, ...] = field(repr=False)
    subtracted: tuple[bytes, ...] = field(repr=False)


def masks_of(dealing: Dealing) -> Masks:
    """Return the masks of a party: its own, and that of each pair, with its sign.

    The lower index of a pair adds the mask, the higher one subtracts it.
    """
    return Masks(dealing.seeds[dealing.index :], dealing.seeds[: dealing.index])


def weighted(update: NDArray[np.int16], weight: int) -> UInt32:
    """Return x = w q in Z_2^32, a new array."""
    product: NDArray[np.int32] = np.multiply(update, np.int32(weight), dtype=np.int32)
    return product.view(np.uint32)


def with_masks(blocks: Iterable[UInt32], masks: Masks, total: int) -> Iterator[UInt32]:
    """Add the masks to each block in place, on all cores, and yield it.

    ``blocks`` are the whole flat vector of ``total`` values, in order, each a contiguous writable
    array of uint32 of any size. Raises ValueError for other arrays.
    """
    first = 0
    with ThreadPoolExecutor(cores()) as workers:
        for block in blocks:
            _add(block, masks, first, total, workers)
            first += block.size
            yield block


def _add(block: UInt32, masks: Masks, first: int, total: int, workers: Executor) -> None:
    parts = max(1, min(cores(), block.size // _PART_VALUES))
    # Parts start at whole hashes, of eight numbers each.
    width = -(-block.size // parts // 8) * 8

    def add(start: int) -> None:
        part = block[start : start + width]
        add_streams(part, masks.added, masks.subtracted, first=first + start, total=total)

    starts = range(0, block.size, width) if block.size else ()
    if parts == 1:
        add(0)
    else:
        list(workers.map(add, starts))
