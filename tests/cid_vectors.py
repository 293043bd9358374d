"""The files of tests/vectors/cids.json, made by the recipe that it states."""

import hashlib
import io
import json
from pathlib import Path

CHUNK_BYTES = 1 << 20
_PATH = Path(__file__).parent / "vectors" / "cids.json"


class VectorFile(io.RawIOBase):
    """The file of a given size: chunk i of 1 MiB is SHAKE-128 of i in 8 big-endian bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._offset = 0
        self._chunk = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        index, start = divmod(self._offset, CHUNK_BYTES)
        if start == 0:
            self._chunk = hashlib.shake_128(index.to_bytes(8, "big")).digest(CHUNK_BYTES)
        end = min(CHUNK_BYTES, start + len(buffer), start + self._size - self._offset)
        buffer[: end - start] = self._chunk[start:end]
        self._offset += end - start
        return end - start


def cid_vectors() -> dict[int, str]:
    """Return the pinned CID for each size."""
    return {file["size"]: file["cid"] for file in json.loads(_PATH.read_text())["files"]}
