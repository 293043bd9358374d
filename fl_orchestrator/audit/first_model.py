"""How a federation goes on from another one's final model: docs/protocol.md, section 4.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.chunk_tree import tree_hasher
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.parts.part import Lineage
from fl_orchestrator.model.vector_file import (
    VectorKind,
    VectorReader,
    sizes_of_blocks,
)
from fl_orchestrator.roles.vectors import Origin, VectorCache, VectorFile

if TYPE_CHECKING:
    from fl_orchestrator.roles.setup import Genesis


class OtherTensors(InputError):
    """A manifest describes another model than the federation that it goes on from."""


def final_model(federation: Federation) -> ModelView:
    """The last model that nobody can dispute any more; genesis before the first."""
    return federation.model(federation.observe(federation.address).final_height)


def descended(federation: Federation, model: ModelView, manifest: Manifest) -> Manifest:
    """The manifest, with the model of the federation that it goes on from."""
    lineage = Lineage(
        chain_id=federation.chain_id,
        federation=federation.address.lower(),
        height=model.height,
        root=model.root.hex(),
    )
    fields = {name: getattr(manifest, name) for name in Manifest.model_fields}
    return Manifest(**{**fields, "lineage": lineage})


def publish_descended(
    store: ContentStore, manifest: Manifest, old: Manifest, file: VectorFile
) -> Genesis:
    """Store a manifest and its genesis: the model in ``file``, which the old manifest describes.

    Raises OtherTensors, and what the store raises.
    """
    from fl_orchestrator.roles.setup import publish_state

    if manifest.layout != old.layout:
        raise OtherTensors(
            "The manifest has other tensors than the old federation, or another depth, layout or "
            "server momentum: its first model cannot be the old one's.",
            "Keep them, or create a federation of its own with `flo federation create`.",
        )
    return publish_state(store, manifest, first_state(manifest.layout, file))


def fetch_model(
    store: ContentStore, federation: Federation, cache: VectorCache, model: ModelView
) -> VectorFile:
    """The file of a federation's model, checked against its root. Raises what the cache raises."""
    meta = Origin(federation.chain_id, federation.address).state(model.round)
    return cache.fetch(store, model.cid, model.root, meta)


def first_state(layout: Layout, file: VectorFile) -> Iterator[NDArray[Any]]:
    """The state in blocks, at rest: its momentum, if it has one, is zero."""
    with file.path.open("rb") as stream:
        left = layout.parameters
        for block in VectorReader(stream, layout, file.meta).blocks():
            if left <= 0:
                break
            left -= block.size
            yield block
    for size in sizes_of_blocks(layout.parameters) if layout.momentum else ():
        yield np.zeros(size, VectorKind.GLOBAL.dtype)


def first_root(layout: Layout, file: VectorFile) -> bytes:
    """The root that a federation's genesis has if it goes on from the model in this file."""
    hasher = tree_hasher(layout, VectorKind.GLOBAL.dtype)
    for block in first_state(layout, file):
        hasher.update(block)
    return hasher.finish().root
