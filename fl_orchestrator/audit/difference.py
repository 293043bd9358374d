"""Describes where two vector files differ, to help to find out what was changed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np

from fl_orchestrator.files import open_regular
from fl_orchestrator.model.chunk_tree import chunk, root_from_proof, tree_of
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.vector_file import (
    VectorFileError,
    VectorKind,
    VectorMeta,
    read_vector,
)

_BLOCK: Final = 1 << 20
# The search for a flipped bit takes about 40 ms per chunk.
_MAX_SEARCHED_CHUNKS: Final = 2_000


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
    data_start = right.stat().st_size - layout.parameters * kind.dtype.itemsize
    if offset < data_start:
        return f"the first wrong byte is byte {offset} of the file's header, no coordinate"
    position = (offset - data_start) // kind.dtype.itemsize
    if position >= layout.parameters:
        return "bytes follow the last coordinate"
    return f"the first wrong coordinate is {describe(layout, layout.coordinate(position))}"


def flipped_bit(layout: Layout, meta: VectorMeta, found: Path, root: bytes) -> str:
    """Describe the coordinate of the single flipped bit that explains the wrong root of ``found``.

    Only the right root is known, not the right numbers, so every single bit is tried.
    """
    try:
        with io.BufferedReader(open_regular(found)) as stream:
            vector = read_vector(stream, layout, meta)[1]
    except VectorFileError as error:
        return f"the file's header is wrong, no coordinate ({error})"
    if layout.chunks > _MAX_SEARCHED_CHUNKS:
        return "the model is too large to search for the coordinate"
    tree = tree_of(layout, vector)
    if tree.root == root:
        return "its numbers are right, but its CID is another"
    width = meta.kind.dtype.itemsize
    for index in range(layout.chunks):
        proof, data = tree.proof(index), bytearray(chunk(layout, vector, index))
        for bit in range(len(data) * 8):
            data[bit // 8] ^= 1 << bit % 8
            if root_from_proof(keccak256(data), index, proof) == root:
                coordinate = index * CHUNK_VALUES + bit // 8 // width
                return f"the first wrong coordinate is {describe(layout, coordinate)}"
            data[bit // 8] ^= 1 << bit % 8
    return "more than one of its bits differ"


def describe(layout: Layout, coordinate: int) -> str:
    """Format a coordinate, with the tensor and the index in it."""
    place = layout.locate(coordinate)
    if place is None:
        return f"{coordinate} (padding)"
    name, index = place
    return f"{coordinate} ({name}{list(index)})"
