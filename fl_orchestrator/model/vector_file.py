"""Canonical vector files: safetensors files with exactly one encoding for each vector.

Equal vectors with equal metadata give equal bytes, in every process and version. The reader knows
every size from the layout before it allocates memory. It refuses a file that is not byte for byte
what the writer would write. Sources: docs/protocol.md, sections 4 and 10; the safetensors format
(https://github.com/huggingface/safetensors#format).
"""

import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.chunk_tree import Tree, tree_hasher
from fl_orchestrator.model.layout import MOMENTUM_NAME, Layout
from fl_orchestrator.model.protocol import ADDRESS

BLOCK_VALUES: Final = 1 << 15
#: Of files that are combined block by block: Python takes a smaller part of the time.
COMBINED_VALUES: Final = 1 << 17
LENGTH_BYTES: Final = 8
_ALIGNMENT: Final = 8
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)


class VectorKind(StrEnum):
    """What a vector is: a global state (int32), an update (int16) or a masked update (uint32)."""

    GLOBAL = "global"
    UPDATE = "update"
    MASKED = "masked"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian type of the values."""
        return np.dtype(_TYPES[self][0])

    @property
    def safetensors_dtype(self) -> str:
        """The type's name in a safetensors header."""
        return _TYPES[self][1]


_TYPES: Final = {
    VectorKind.GLOBAL: ("<i4", "I32"),
    VectorKind.UPDATE: ("<i2", "I16"),
    VectorKind.MASKED: ("<u4", "U32"),
}


class Defect(StrEnum):
    """Why a vector file was refused."""

    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    HEADER_LENGTH = "header length"
    HEADER = "header"
    METADATA = "metadata"
    NAMES = "tensor names"
    DTYPE = "dtype"
    SHAPE = "shape"
    OFFSETS = "data offsets"
    NOT_CANONICAL = "not canonical"


class VectorFileError(ContentError):
    """The file is not a canonical vector file of this model; ``defect`` says why."""

    def __init__(self, defect: Defect, message: str) -> None:
        super().__init__(f"Malformed vector file ({defect}): {message}.")
        self.defect = defect


@dataclass(frozen=True, slots=True)
class VectorMeta:
    """A file's metadata. ``federation`` is an address, kept in lower case. Raises ValueError."""

    kind: VectorKind
    chain_id: int
    federation: str
    round: int

    def __post_init__(self) -> None:
        if not ADDRESS.fullmatch(self.federation):
            raise ValueError(f"not an address: {self.federation!r}")
        if not (0 <= self.chain_id < 1 << 256 and 0 <= self.round < 1 << 64):
            raise ValueError("chain id or round out of range")
        object.__setattr__(self, "kind", VectorKind(self.kind))
        object.__setattr__(self, "federation", self.federation.lower())

    @classmethod
    def genesis(cls) -> "VectorMeta":
        """Return the metadata of a genesis file, which is written before the contract exists."""
        return cls(VectorKind.GLOBAL, 0, "0x" + "0" * 40, 0)

    def to_strings(self) -> dict[str, str]:
        """Return the metadata as the header holds it."""
        return {
            "chainId": str(self.chain_id),
            "federation": self.federation,
            "kind": self.kind.value,
            "round": str(self.round),
        }


def max_file_bytes(layout: Layout, kind: VectorKind, seal_bytes: int = 0) -> int:
    """Return the largest size, in bytes, of a canonical file of this model and kind.

    ``seal_bytes`` is the length of the seal of a masked update, which follows from the round.
    """
    return _max_header_bytes(layout, seal_bytes) + _data_bytes(layout, kind) + seal_bytes


def write_vector(
    stream: BinaryIO,
    layout: Layout,
    meta: VectorMeta,
    blocks: Iterable[NDArray[Any]],
    seal: bytes = b"",
) -> Tree:
    """Write a vector that arrives in blocks of any size, and return its tree.

    The blocks are flat, in order, of the kind's dtype. A masked update, and nothing else, has a
    ``seal``, which is not in the tree. Raises ValueError for another dtype, and for too few or too
    many values (the stream then holds a partial file).
    """
    if (meta.kind is VectorKind.MASKED) != bool(seal):
        raise ValueError("a masked update, and no other vector, has a seal")
    stream.write(_header(layout, meta, len(seal)))
    hasher = tree_hasher(layout, meta.kind.dtype)
    for block in blocks:
        hasher.update(block)
        stream.write(np.ascontiguousarray(block, meta.kind.dtype).data)
    tree = hasher.finish()
    stream.write(seal)
    return tree


def in_blocks(vector: NDArray[Any], size: int = BLOCK_VALUES) -> Iterator[NDArray[Any]]:
    """Cut a flat vector in memory into blocks (views), as a VectorReader does with a file."""
    for start in range(0, len(vector), size):
        yield vector[start : start + size]


class VectorReader:
    """Reads a vector file from a binary stream, in order and once.

    Opening reads and checks the header. Raises VectorFileError; at any moment at most one block is
    in memory. ``seal`` is what follows the values of a masked update, once all blocks are read.
    """

    def __init__(
        self,
        stream: BinaryIO,
        layout: Layout,
        expected: VectorMeta | None = None,
        *,
        seal_bytes: int = 0,
    ) -> None:
        """``expected`` is the only metadata to accept; None accepts any well-formed metadata.

        ``seal_bytes`` is the length of a masked update's seal; without it, none is accepted.
        """
        self.layout = layout
        self.seal = b""
        self._stream = stream
        self._seal_bytes = seal_bytes
        self.meta = _read_header(stream, layout, seal_bytes)
        if expected is not None and self.meta != expected:
            raise VectorFileError(
                Defect.METADATA, f"expected {expected.to_strings()}, found {self.meta.to_strings()}"
            )

    def blocks(self, size: int = BLOCK_VALUES) -> Iterator[NDArray[Any]]:
        """Yield the flat vector in blocks of ``size`` values, the last one shorter; read-only.

        With momentum, a state is read as two vectors, one after the other.

        The last block is yielded only after the check that the file ends there. Raises
        VectorFileError.
        """
        return self._read(sizes_of_blocks(self.layout.parameters, size))

    def whole_chunks(self, most: int = BLOCK_VALUES) -> Iterator[NDArray[Any]]:
        """Yield blocks as ``blocks`` does, of whole chunks: at most ``most`` values.

        Raises VectorFileError.
        """
        return self._read(sizes_of_chunks(self.layout, most))

    def _read(self, sizes: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield blocks of these sizes, which are those of a model; its momentum has the same."""
        dtype = self.meta.kind.dtype
        left = _values(self.layout, self.meta.kind)
        for size in itertools.cycle(sizes) if left else ():
            data = _read_exactly(self._stream, size * dtype.itemsize)
            left -= size
            if not left:
                self.seal = _read_exactly(self._stream, self._seal_bytes)
                if self._stream.read(1):
                    raise VectorFileError(Defect.OVERSIZED, "bytes follow the last tensor")
            yield np.frombuffer(data, dtype)
            if not left:
                return


def sizes_of_blocks(values: int, size: int = BLOCK_VALUES) -> list[int]:
    """The sizes of the blocks of so many values: ``size``, and the last one smaller."""
    whole, rest = divmod(values, size)
    return [size] * whole + [rest] * (rest > 0)


@functools.lru_cache(maxsize=8)
def sizes_of_chunks(layout: Layout, most: int = BLOCK_VALUES) -> Sequence[int]:
    """The sizes of the blocks of a model if no block cuts a chunk: at most ``most`` values.

    A chunk may end at any position of the flat vector, since the end of a tensor ends it.
    """
    ends, sizes, start = layout.chunk_ends(), [], 0
    while start < layout.parameters:
        stop = int(ends[np.searchsorted(ends, start + most, side="right") - 1])
        sizes.append(stop - start)
        start = stop
    return tuple(sizes)


def read_vector(
    stream: BinaryIO, layout: Layout, expected: VectorMeta | None = None
) -> tuple[VectorMeta, NDArray[Any]]:
    """Read a whole file into memory: its metadata and its flat vector, int16 or int32.

    Raises VectorFileError.
    """
    reader = VectorReader(stream, layout, expected)
    vector = np.empty(_values(layout, reader.meta.kind), reader.meta.kind.dtype.newbyteorder("="))
    start = 0
    for block in reader.blocks():
        vector[start : start + block.size] = block
        start += block.size
    return reader.meta, vector


def read_tree(stream: BinaryIO, layout: Layout, expected: VectorMeta | None = None) -> Tree:
    """Compute the tree of a file in constant memory, to compare its root.

    Raises VectorFileError.
    """
    return tree_of_file(VectorReader(stream, layout, expected))


def seal_bytes_of(stream: BinaryIO, layout: Layout, most: int) -> int:
    """Return the length that the seal of a masked file has by the size of the file.

    The stream is seekable, and stands at the start of the file, as it does afterwards. Nothing but
    the length is checked. Raises VectorFileError for no seal, or one of more than ``most`` bytes.
    """
    header = LENGTH_BYTES + int.from_bytes(_read_exactly(stream, LENGTH_BYTES), "little")
    size = stream.seek(0, 2) - header - _data_bytes(layout, VectorKind.MASKED)
    stream.seek(0)
    if not 0 < size <= most:
        defect = Defect.TRUNCATED if size <= 0 else Defect.OVERSIZED
        raise VectorFileError(defect, f"it has {size} bytes for a seal of 1 to {most}")
    return size


def tree_of_file(reader: VectorReader) -> Tree:
    """Read all blocks of a file, and return the tree of its values. Raises VectorFileError."""
    hasher = tree_hasher(reader.layout, reader.meta.kind.dtype)
    for block in reader.blocks():
        hasher.update(block)
    return hasher.finish()


def _data_bytes(layout: Layout, kind: VectorKind) -> int:
    return _values(layout, kind) * kind.dtype.itemsize


def _values(layout: Layout, kind: VectorKind) -> int:
    return layout.parameters * (layout.halves if kind is VectorKind.GLOBAL else 1)


def _entries(layout: Layout, kind: VectorKind, seal_bytes: int) -> dict[str, dict[str, Any]]:
    width, data_bytes = kind.dtype.itemsize, _data_bytes(layout, kind)
    if kind is VectorKind.MASKED:
        values = _entry(kind.safetensors_dtype, [layout.parameters], 0, data_bytes)
        seal = _entry("U8", [seal_bytes], data_bytes, data_bytes + seal_bytes)
        return {"masked": values, "seal": seal}
    entries = {
        t.name: _entry(kind.safetensors_dtype, list(t.shape), t.start * width, t.stop * width)
        for t in layout.tensors
    }
    if kind is VectorKind.GLOBAL and layout.momentum:
        start = layout.parameters * width
        entries[MOMENTUM_NAME] = _entry(
            kind.safetensors_dtype, [layout.parameters], start, data_bytes
        )
    return entries


def _entry(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


# All updates of a round have the same header.
@functools.lru_cache(maxsize=64)
def _header(layout: Layout, meta: VectorMeta, seal_bytes: int) -> bytes:
    """Return the length field and the header, padded."""
    header = {"__metadata__": meta.to_strings(), **_entries(layout, meta.kind, seal_bytes)}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


@functools.lru_cache(maxsize=64)
def _max_header_bytes(layout: Layout, seal_bytes: int) -> int:
    kind = VectorKind.MASKED if seal_bytes else VectorKind.GLOBAL
    longest = VectorMeta(kind, 2**256 - 1, "0x" + "0" * 40, 2**64 - 1)
    return len(_header(layout, longest, seal_bytes))


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise VectorFileError(Defect.TRUNCATED, f"{size - len(data)} bytes are missing")
        data += more
    return data


def _read_header(stream: BinaryIO, layout: Layout, seal_bytes: int) -> VectorMeta:
    length = _read_exactly(stream, LENGTH_BYTES)
    size = int.from_bytes(length, "little")
    limit = _max_header_bytes(layout, seal_bytes) - LENGTH_BYTES
    if size > limit:
        raise VectorFileError(Defect.HEADER_LENGTH, f"{size} bytes, at most {limit} expected")
    text = _read_exactly(stream, size)
    try:
        # Do not use json.loads: if a library raises Python's recursion limit (py-evm does), deeply
        # nested brackets overflow the C stack. This parser has its own limit of depth.
        header = from_json(text)
        meta = _parse_meta(header["__metadata__"])
    except (ValueError, KeyError, TypeError) as error:
        defect = Defect.METADATA if isinstance(error, KeyError) else Defect.HEADER
        raise VectorFileError(defect, "the header cannot be read") from error
    if (meta.kind is VectorKind.MASKED) != bool(seal_bytes):
        raise VectorFileError(Defect.METADATA, f"a file of kind {meta.kind} was not expected")
    if length + text != _header(layout, meta, seal_bytes):
        raise _difference(header, _entries(layout, meta.kind, seal_bytes))
    return meta


def _parse_meta(strings: dict[str, str]) -> VectorMeta:
    try:
        for number in (strings["chainId"], strings["round"]):
            if not _DECIMAL.fullmatch(number):
                raise ValueError(f"not a number: {number!r}")
        return VectorMeta(
            VectorKind(strings["kind"]),
            int(strings["chainId"]),
            strings["federation"],
            int(strings["round"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise VectorFileError(
            Defect.METADATA, "kind, chainId, federation or round is missing or malformed"
        ) from error


def _difference(found: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> VectorFileError:
    """Say what is wrong with a header that is not the canonical one."""
    names = [name for name in found if name != "__metadata__"]
    if names != list(wanted):
        return VectorFileError(Defect.NAMES, "not the manifest's tensors in the manifest's order")
    for name, entry in wanted.items():
        for key, defect in (
            ("dtype", Defect.DTYPE),
            ("shape", Defect.SHAPE),
            ("data_offsets", Defect.OFFSETS),
        ):
            value = found[name].get(key) if isinstance(found[name], dict) else None
            if value != entry[key]:
                wrong = f"the tensor {name!r} has {value!r}, not {entry[key]!r}"
                return VectorFileError(defect, wrong)
    return VectorFileError(Defect.NOT_CANONICAL, "the canonical writer writes another header")
