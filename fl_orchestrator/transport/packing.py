"""Files of numbers in fewer bytes on their way: their bytes shuffled, then Zstandard (RFC 8878).

It is a content coding of HTTP with a name of its own, ``CODING``, which only peers that know it ask
for and offer. A coded file is one byte, the width (1, 2 or 4), and one Zstandard frame. The frame
has the file in blocks of `BLOCK_BYTES` (the last one is shorter). Of width 1 they are as they were.
Otherwise a block is a row of signed little-endian integers of that width, each of which is written
as an unsigned one (0, -1, 1, -2, 2 are 0, 1, 2, 3, 4), and first the lowest bytes of all of them,
then the next ones, and so forth; bytes that are left at the end are as they were. So the high bytes
of small numbers, which are mostly zero, are side by side. What is stored and hashed is never coded.

A peer is not trusted: unpacking takes the memory of some blocks, and stops where the caller stops.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

from fl_orchestrator.errors import ContentError

#: The name of this content coding.
CODING: Final = "x-flo-zstd-shuffled"
#: How many bytes of a file are shuffled at a time.
BLOCK_BYTES: Final = 1 << 18

_INTEGERS: Final[dict[int, np.dtype[Any]]] = {2: np.dtype("<i2"), 4: np.dtype("<i4")}
_WIDTHS: Final = (1, *_INTEGERS)
_LEVEL: Final = 1
# A frame that wants a larger window than our packer's costs memory, and is refused.
_WINDOW_LOG: Final = 21
_MODULE: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class BadPacking(ContentError):
    """What was sent is not a file in this coding."""


def is_available() -> bool:
    """Whether this environment has the library; without it nothing is offered or asked for."""
    try:
        return importlib.util.find_spec(_MODULE) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def accepted() -> str:
    """The value of Accept-Encoding of a request for a file."""
    return f"{CODING}, identity" if is_available() else "identity"


def accepts(header: str | None) -> bool:
    """Whether a peer with this Accept-Encoding takes the coding, and it can be made here."""
    named = (part.strip().partition(";") for part in (header or "").lower().split(","))
    wanted = any(name.strip() == CODING and "q=0" not in more.split() for name, _, more in named)
    return wanted and is_available()


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The coding of a file that comes in pieces of any size."""
    zstd = _zstd()
    options = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.window_log: _WINDOW_LOG,
    }
    compressor = zstd.ZstdCompressor(options=options)
    width = 0
    for block in _blocks(pieces):
        if not width:
            width = _best_width(zstd, block)
            yield bytes([width])
        for part in _shuffled(block, width):
            # Each has its own statistics.
            yield compressor.compress(part, compressor.FLUSH_BLOCK)
    if not width:
        yield bytes([1])
    yield compressor.flush()


class Unpacker:
    """Undoes the coding, of which the bytes come in pieces of any size."""

    def __init__(self) -> None:
        """Raises ModuleNotFoundError if it is not available here."""
        self._zstd = _zstd()
        window = self._zstd.DecompressionParameter.window_log_max
        self._frame = self._zstd.ZstdDecompressor(options={window: _WINDOW_LOG})
        self._width = 0
        self._parts: list[bytes] = []
        self._room = BLOCK_BYTES

    def unpacked(self, piece: bytes) -> Iterator[bytes]:
        """The blocks of the file that are complete with this piece, as the caller takes them.

        Each has `BLOCK_BYTES` at most, and nothing is unpacked ahead. Raises BadPacking.
        """
        if not self._width and piece:
            self._width, piece = piece[0], piece[1:]
            if self._width not in _WIDTHS:
                raise BadPacking("What was sent does not begin as a packed file does.")
        while piece or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof:
                raise BadPacking("More was sent than a packed file.")
            try:
                part = self._frame.decompress(piece, max_length=self._room)
            except self._zstd.ZstdError:
                raise BadPacking("What was sent cannot be unpacked.") from None
            piece = self._frame.unused_data if self._frame.eof else b""
            self._parts.append(part)
            self._room -= len(part)
            if not self._room or self._frame.eof:
                block, self._parts, self._room = b"".join(self._parts), [], BLOCK_BYTES
                if block:
                    yield _restored(block, self._width)

    @property
    def is_whole(self) -> bool:
        """Whether the file has been unpacked to its end."""
        return bool(self._frame.eof)


def _zstd() -> Any:
    return importlib.import_module(_MODULE)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting[:BLOCK_BYTES])
            del waiting[:BLOCK_BYTES]
    if waiting:
        yield bytes(waiting)


def _best_width(zstd: Any, block: bytes) -> int:
    """The width by which the first block of a file, with its header, becomes smallest."""

    def size(width: int) -> int:
        return sum(len(zstd.compress(part, level=_LEVEL)) for part in _shuffled(block, width))

    return min(_WIDTHS, key=size)


def _shuffled(block: bytes, width: int) -> list[bytes]:
    """The parts of a block that belong together, in their order."""
    whole = len(block) - len(block) % width
    if width == 1 or not whole:
        return [block]
    signed = np.frombuffer(block, _INTEGERS[width], whole // width)
    folded = (signed << 1) ^ (signed >> (8 * width - 1))
    parts = [part.tobytes() for part in folded.view(np.uint8).reshape(-1, width).T]
    return [*parts, block[whole:]] if block[whole:] else parts


def _restored(block: bytes, width: int) -> bytes:
    whole = len(block) - len(block) % width
    if width == 1 or not whole:
        return block
    folded = np.empty(whole // width, f"<u{width}")
    for place, part in enumerate(np.frombuffer(block, np.uint8, whole).reshape(width, -1)):
        folded.view(np.uint8)[place::width] = part
    # Of an odd number all bits are turned around, of an even one none.
    turned = folded & 1
    np.negative(turned, out=turned)
    folded >>= 1
    folded ^= turned
    return folded.tobytes() + block[whole:]
