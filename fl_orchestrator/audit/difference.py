"""Describes where two vector files differ, to help to find out what was changed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.files import open_regular
from fl_orchestrator.model.chunk_tree import chunk, chunk_values, root_from_proof, tree_of
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import (
    VectorFileError,
    VectorKind,
    VectorMeta,
    VectorReader,
    read_vector,
    seal_bytes_of,
)
from fl_orchestrator.privacy.opening import Opening
from fl_orchestrator.privacy.seal import MAX_SEAL_BYTES, masked_root, seal_digest

_BLOCK: Final = 1 << 20
# The search for a flipped bit takes about 40 ms per chunk.
_MAX_SEARCHED_CHUNKS: Final = 2_000
# That for one in a seal of so many bytes takes some seconds.
_MAX_SEARCHED_SEAL: Final = 1 << 13


def first_difference(layout: Layout, kind: VectorKind, found: Path, right: Path) -> str:
    """Describe where ``found`` first differs from the canonical file ``right``."""
    with io.BufferedReader(open_regular(found)) as left_file, right.open("rb") as right_file:
        offset = 0
        while True:
            left, wanted = left_file.read(_BLOCK), right_file.read(_BLOCK)
            if left != wanted:
                break
            if not wanted:
                return "no coordinate differs"
            offset += len(wanted)
    common = min(len(left), len(wanted))
    a, b = np.frombuffer(left, np.uint8)[:common], np.frombuffer(wanted, np.uint8)[:common]
    differing = np.flatnonzero(a != b)
    offset += int(differing[0]) if differing.size else common
    values = layout.parameters * (layout.halves if kind is VectorKind.GLOBAL else 1)
    data_start = right.stat().st_size - values * kind.dtype.itemsize
    if offset < data_start:
        return f"the first wrong byte is byte {offset} of the file's header, no coordinate"
    position = (offset - data_start) // kind.dtype.itemsize
    if position >= values:
        return "bytes follow the last coordinate"
    return f"the first wrong coordinate is {describe(layout, layout.coordinate(position))}"


def flipped_bit(
    layout: Layout, meta: VectorMeta, found: Path, root: bytes, commits: int = 0
) -> str:
    """Describe the coordinate of the single flipped bit that explains the wrong root of ``found``.

    Only the right root is known, not the right numbers, so every single bit is tried. ``commits``
    is the number of those of a masked update's round; its seal is searched as well.
    """
    try:
        with io.BufferedReader(open_regular(found)) as stream:
            vector, seal = _read(stream, layout, meta)
    except VectorFileError as error:
        return f"the file's header is wrong, no coordinate ({error})"
    if layout.chunks > _MAX_SEARCHED_CHUNKS:
        return "the model is too large to search for the coordinate"
    tree = tree_of(layout, vector)
    sealed = seal_digest(seal, commits) if seal else None

    def whole(values_root: bytes) -> bytes:
        return values_root if sealed is None else masked_root(values_root, sealed)

    if whole(tree.root) == root:
        return "its numbers are right, but its CID is another"
    width, values = meta.kind.dtype.itemsize, chunk_values(meta.kind.dtype)
    held = -(-layout.padded_size // values)
    halves = layout.halves if meta.kind is VectorKind.GLOBAL else 1
    for index in (half * (1 << layout.depth) + i for half in range(halves) for i in range(held)):
        proof, data = tree.proof(index), bytearray(chunk(layout, vector, index))
        for bit in _flips(data):
            if whole(root_from_proof(keccak256(data), index, proof)) == root:
                coordinate = index * values + bit // 8 // width
                return f"the first wrong coordinate is {describe(layout, coordinate)}"
    changed = bytearray(seal if len(seal) <= _MAX_SEARCHED_SEAL else b"")
    for bit in _flips(changed):
        if masked_root(tree.root, seal_digest(bytes(changed), commits)) == root:
            return f"the first wrong byte is byte {bit // 8} of its seal, no coordinate"
    return "more than one of its bits differ"


def _flips(data: bytearray) -> Iterator[int]:
    """Flip each bit in turn, and yield its number while it is flipped."""
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        yield bit
        data[bit // 8] ^= 1 << bit % 8


def _read(stream: BinaryIO, layout: Layout, meta: VectorMeta) -> tuple[NDArray[Any], bytes]:
    """The vector of a file, and the seal if it is masked. Raises VectorFileError."""
    if meta.kind is not VectorKind.MASKED:
        return read_vector(stream, layout, meta)[1], b""
    size = seal_bytes_of(stream, layout, MAX_SEAL_BYTES)
    reader = VectorReader(stream, layout, meta, seal_bytes=size)
    return np.concatenate(list(reader.blocks())), reader.seal


def describe_seed(number: int, parties: Sequence[str], opening: Opening) -> str:
    """Name an opened seed, by the parties of the round's commits."""
    k, label = list(opening.labels())[number]
    if k == label:
        return f"seed {number}, the own one of {parties[k]}"
    return f"seed {number}, that of {parties[k]} with {parties[label]}, which is not included"


def describe(layout: Layout, coordinate: int) -> str:
    """Format a coordinate, with the tensor and the index in it."""
    place = layout.locate(coordinate)
    if place is None:
        return f"{coordinate} (padding)"
    name, index = place
    return f"{coordinate} ({name}{list(index)})"
