"""Clipping before any rule: each chunk of an update by its own L2 norm (docs/protocol.md, 3)."""

from collections.abc import Iterator

import numpy as np

from fl_orchestrator.aggregation.rules import AggregationError, Int16, Update
from fl_orchestrator.model.layout import Layout


def clipped(update: Update, layout: Layout, limit: int) -> Iterator[Int16]:
    """Return the blocks of an update, in which no chunk has an L2 norm above ``limit``.

    The blocks are flat, of int16 and of whole chunks, as a VectorReader's ``whole_chunks``, and so
    are those that are returned. ``limit`` is in units of the update's integers; 0 changes nothing.
    Raises AggregationError for other blocks, since part of a chunk does not have its norm.
    """
    return _clipped(update, layout, limit) if limit else iter(update)


def _clipped(update: Update, layout: Layout, limit: int) -> Iterator[Int16]:
    from fl_orchestrator.aggregation import kernels

    ends = layout.chunk_ends()
    start = first = 0
    for block in update:
        stop = start + block.size
        last = int(np.searchsorted(ends, stop, side="right"))
        if block.dtype != np.int16 or last == first or ends[last - 1] != stop:
            raise AggregationError("A block of an update that is clipped is not of whole chunks.")
        within = np.empty(block.size, np.int16)
        kernels.clip_chunks(block, ends[first:last] - start, limit, within)
        yield within
        start, first = stop, last
