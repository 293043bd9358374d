"""keccak256 (the EVM's, not SHA3-256): of one message, of many side by side, and as a generator.

Many hashes are computed by compiled code, 64 at a time, at eight times the speed of a call for
each. To load numba takes one or two seconds and 100 MB, so a process that hashes little and does
not aggregate does without it, with the same results. The compiled code runs without Python's lock,
so that threads on several cores gain. What hashes only short messages does without NumPy too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeAlias

import sha3

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HASH_BYTES: Final = 32
STREAM_VALUES: Final = 8  # numbers of a stream in one hash
_WORD_BYTES: Final = 8
# Fewer take less than a quarter of a second one by one.
_MANY: Final = 1 << 16
# With numba loaded, this many are faster in compiled code, which always permutes 64 states.
_SOME: Final = 16
_NUMBA: Final = "fl_orchestrator.compiled"

Bytes: TypeAlias = "NDArray[np.uint8]"


def keccak256(data: bytes | bytearray | memoryview) -> bytes:
    """Return the keccak256 of the bytes."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest


def hash_rows(rows: Bytes, out: Bytes | None = None, *, total: int | None = None) -> Bytes:
    """Return keccak256 of each row of an array of shape (n, length), as uint8 of shape (n, 32).

    ``out``, a C-contiguous array of that shape, receives the hashes if it is given. ``total`` is
    the number of rows in all calls together, if the caller makes more of them.
    """
    import numpy as np

    count, length = rows.shape
    if out is None:
        out = np.empty((count, HASH_BYTES), np.uint8)
    elif out.shape != (count, HASH_BYTES) or out.dtype != np.uint8 or not out.flags.carray:
        raise ValueError(f"the hashes need a C-contiguous uint8 array of shape ({count}, 32)")
    kernels = _kernels_for(max(total or 0, count))
    if kernels is None:
        hashes = out.reshape(-1).data
        for at, row in enumerate(np.ascontiguousarray(rows)):
            hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] = keccak256(row.data)
        return out
    if padded := bool(length % _WORD_BYTES):
        whole = np.zeros((count, length + _WORD_BYTES - length % _WORD_BYTES), np.uint8)
        whole[:, :length], whole[:, length] = rows, 1
        rows = whole
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(count, rows.shape[1] // _WORD_BYTES)
    kernels.hash_rows(words, padded, out.view(np.uint64))
    return out


def hash_pairs(nodes: Bytes, out: Bytes | None = None, *, total: int | None = None) -> Bytes:
    """Return the parents of the nodes of one level: uint8 of shape (2n, 32) to (n, 32)."""
    return hash_rows(nodes.reshape(-1, 2 * HASH_BYTES), out, total=total)


def stream(seed: bytes, count: int, first: int = 0) -> NDArray[np.uint32]:
    """Return the numbers ``first`` to ``first + count - 1`` of a seed's stream: see add_streams."""
    import numpy as np

    values = np.zeros(count, np.uint32)
    add_streams(values, [seed], first=first)
    return values


def add_streams(
    values: NDArray[np.uint32],
    added: Sequence[bytes] = (),
    subtracted: Sequence[bytes] = (),
    *,
    first: int = 0,
    total: int | None = None,
) -> None:
    """Add streams to the values in place, modulo 2^32, and subtract others.

    Number n of the stream of a 32-byte seed is number ``n mod 8``, as big-endian uint32, of
    ``keccak256(seed || uint256(n div 8))``. ``values[i]`` takes number ``first + i`` of each
    stream. The values are read and written once, whatever the number of seeds, and threads can work
    on parts of one array. ``total`` is the number of values in all calls together, if the caller
    makes more of them. Raises ValueError for a seed of another length, a negative ``first``, and
    values that are not a flat, contiguous uint32 array. Source: docs/protocol.md, section 12.
    """
    import numpy as np

    seeds = [*added, *subtracted]
    if any(len(seed) != HASH_BYTES for seed in seeds):
        raise ValueError("a seed has 32 bytes")
    if first < 0:
        raise ValueError("the first number of a stream is 0")
    if values.dtype != np.uint32 or values.ndim != 1 or not values.flags.carray:
        raise ValueError("streams are added to a flat, contiguous array of uint32")
    if not seeds or not values.size:
        return
    hashes = len(seeds) * (max(total or 0, values.size) // STREAM_VALUES)
    kernels = _kernels_for(hashes)
    if kernels is not None:
        words = np.frombuffer(b"".join(seeds), np.uint64).reshape(-1, HASH_BYTES // _WORD_BYTES)
        kernels.add_streams(values, words, len(added), first)
        return
    for number, seed in enumerate(seeds):
        numbers = _stream_of_calls(seed, values.size, first)
        if number < len(added):
            values += numbers
        else:
            values -= numbers


def _stream_of_calls(seed: bytes, count: int, first: int) -> NDArray[np.uint32]:
    import numpy as np

    block, skipped = divmod(first, STREAM_VALUES)
    last = -(-(first + count) // STREAM_VALUES)
    hashes = (keccak256(seed + n.to_bytes(32, "big")) for n in range(block, last))
    numbers = np.frombuffer(b"".join(hashes), ">u4").astype(np.uint32)
    return numbers[skipped : skipped + count]


def _kernels_for(hashes: int) -> ModuleType | None:
    """The compiled code, if it is worth loading for so many hashes."""
    if hashes < (_SOME if _NUMBA in sys.modules else _MANY):
        return None
    from fl_orchestrator.model import keccak_kernels

    return keccak_kernels
