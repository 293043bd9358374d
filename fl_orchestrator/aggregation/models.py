"""The next model of a manifest's rule and server, from the blocks of a base and of updates.

Every next model is computed here: that of a round, and those of some of its updates only. All
blocks are of whole chunks, at most ``COMBINED_VALUES`` values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.aggregation.clipping import clipped
from fl_orchestrator.aggregation.rules import (
    Int16,
    Update,
    apply_steps,
    apply_with_momentum,
    rule_for,
)
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import COMBINED_VALUES, sizes_of_chunks

Int32 = NDArray[np.int32]


def rule_step(manifest: Manifest, updates: Sequence[tuple[Update, int]]) -> Iterator[Int16]:
    """Yield the step that the manifest's rule makes of (update, weight) pairs, block by block.

    Updates are clipped first, if the manifest says so. Raises AggregationError.
    """
    limit = manifest.rule.chunk_norm_limit or 0
    streams = [clipped(update, manifest.layout, limit) for update, _ in updates]
    return rule_for(manifest.rule).aggregate(streams, [weight for _, weight in updates])


def zero_step(manifest: Manifest) -> Iterator[Int16]:
    """Yield a step of zeros: without momentum, it leaves the model as it is."""
    sizes = sizes_of_chunks(manifest.layout, COMBINED_VALUES)
    return (np.zeros(size, np.int16) for size in sizes)


def next_blocks(
    manifest: Manifest,
    base: Callable[[], Iterator[Int32]],
    step: Iterable[Int16],
    aside: Callable[[], BinaryIO],
) -> Iterator[Int32]:
    """Yield the blocks of the state that a step makes of a base, as the manifest's server does.

    ``base`` gives the blocks of the base's state from its start, at each call. ``aside`` gives an
    empty temporary file for the momentum, which follows the model; it is called if there is one.
    """
    bits, server = manifest.update_fraction_bits, manifest.rule.server
    if not server.has_momentum:
        return apply_steps(base(), step, bits, server)
    half = len(sizes_of_chunks(manifest.layout, COMBINED_VALUES))
    momentum = itertools.islice(base(), half, None)
    model = itertools.islice(base(), half)
    return apply_with_momentum(model, momentum, step, bits, server, aside())
