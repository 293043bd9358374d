"""Content identifiers (CIDs), and the CID that IPFS gives a file.

Only the form of docs/protocol.md, sections 4 and 10, is supported: CIDv1, sha2-256, codec raw or
dag-pb, written in base32. A file's tree is the one that
``ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576`` builds: raw leaves of 1 MiB below a
balanced UnixFS tree of at most 174 links per node.

Sources: the CID, multihash and multibase specifications of multiformats.io, the dag-pb
specification of IPLD, and the UnixFS v1 specification of IPFS.
"""

import base64
import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from fl_orchestrator.cores import cores
from fl_orchestrator.errors import ContentError

RAW: Final = 0x55
DAG_PB: Final = 0x70
CHUNK_BYTES: Final = 1 << 20
MAX_LINKS: Final = 174

_CODECS: Final = {RAW: "raw", DAG_PB: "dag-pb"}
_SHA2_256: Final = 0x12
_DIGEST_BYTES: Final = 32
_UNIXFS_FILE: Final = 2
# 4 prefix bytes and 32 digest bytes are 58 base32 letters without padding.
_TEXT: Final = re.compile(r"b[a-z2-7]{58}", re.ASCII)
_MAX_SHOWN: Final = 80
READ_BYTES: Final = 1 << 18
# For fewer leaves of a file, threads are not worth it.
_LEAVES_OF_ONE_THREAD: Final = 4
_HINT: Final = "Expected a base32 CIDv1 with sha2-256, such as `ipfs add --cid-version=1` prints."


class CidError(ContentError):
    """A text or a pair of values that is not a CID this protocol accepts."""


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """A CIDv1 with sha2-256: the ``struct Cid`` of docs/protocol.md, section 10.

    ``digest`` is 32 bytes; ``codec`` is 0x55 (raw: the digest of the file itself) or 0x70 (dag-pb:
    the digest of the root node of the file's tree). Raises CidError for anything else.
    """

    digest: bytes
    codec: int

    def __post_init__(self) -> None:
        if type(self.digest) is not bytes or len(self.digest) != _DIGEST_BYTES:
            raise CidError("A CID's digest must be exactly 32 bytes.")
        if type(self.codec) is not int or self.codec not in _CODECS:
            raise CidError(
                f"The CID codec {self.codec!r} is not supported.",
                "Use raw (0x55) or dag-pb (0x70).",
            )

    def __str__(self) -> str:
        return _text(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the 36 binary bytes: version, codec, multihash."""
        return bytes((1, self.codec, _SHA2_256, _DIGEST_BYTES)) + self.digest

    @classmethod
    def parse(cls, text: str) -> "Cid":
        """Parse a text of 59 characters: ``b`` and base32 letters.

        Each CID has exactly one spelling, so an accepted text is safe as a file name or an
        argument. Raises CidError for everything else.
        """
        if not _TEXT.fullmatch(text):
            raise CidError(_why_not_a_cid(text), _HINT)
        data = base64.b32decode(text[1:].upper() + "======")
        version, codec, hash_function, hash_length = data[:4]
        if version != 1:
            raise CidError(f"The CID {text} has version {version}, not 1.", _HINT)
        if codec not in _CODECS:
            raise CidError(f"The CID {text} has the codec 0x{codec:x}, not raw or dag-pb.", _HINT)
        if (hash_function, hash_length) != (_SHA2_256, _DIGEST_BYTES):
            raise CidError(f"The CID {text} does not hold a 32-byte sha2-256 digest.", _HINT)
        cid = cls(data[4:], codec)
        # The last base32 letter has two unused bits: without this check, a CID would have several
        # spellings, and so a file several names.
        if str(cid) != text:
            raise CidError(f"The CID {text} is not canonical base32.", _HINT)
        return cid


# A file's name is asked for many times while it is fetched and stored.
@functools.lru_cache(maxsize=4_096)
def _text(binary: bytes) -> str:
    return "b" + base64.b32encode(binary).decode("ascii").rstrip("=").lower()


def _why_not_a_cid(text: str) -> str:
    shown = ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
    if re.fullmatch(r"Qm[1-9A-HJ-NP-Za-km-z]{44}", text):
        return f"{shown} is a CIDv0."
    if re.fullmatch(r"z[1-9A-HJ-NP-Za-km-z]{40,60}", text):
        return f"{shown} is a CID in base58."
    if re.fullmatch(r"B[A-Z2-7]{58}", text):
        return f"{shown} is a CID in upper case."
    return f"{shown} is not a CID."


@dataclass(frozen=True, slots=True)
class _Link:
    cid: Cid
    tree_bytes: int  # the block and everything below it: dag-pb's Tsize
    file_bytes: int  # the part of the file below it: UnixFS's blocksizes


class CidHasher:
    """Computes the CID of a file from its bytes in order; used like hashlib's objects.

    Memory stays below 174 links for each level of the tree, whatever the size of the file.
    Source: docs/protocol.md, section 10 (UnixFS: balanced, at most 174 links per node).
    """

    def __init__(self) -> None:
        self._chunk = hashlib.sha256()
        self._chunk_bytes = 0
        self._levels: list[list[_Link]] = [[]]  # per level, links without a parent; leaves first

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Append the bytes of a one-dimensional buffer to the file."""
        view = memoryview(data).cast("B")
        while len(view):
            # Close a full chunk only when more bytes follow: it may be the last of the file.
            if self._chunk_bytes == CHUNK_BYTES:
                _append(self._levels, 0, self._leaf())
                self._chunk = hashlib.sha256()
                self._chunk_bytes = 0
            piece = view[: CHUNK_BYTES - self._chunk_bytes]
            self._chunk.update(piece)
            self._chunk_bytes += len(piece)
            view = view[len(piece) :]

    def cid(self) -> Cid:
        """Return the CID of the bytes so far; more may follow."""
        levels = [list(links) for links in self._levels]
        _append(levels, 0, self._leaf())
        return _root(levels)

    def _leaf(self) -> _Link:
        return _leaf(self._chunk.digest(), self._chunk_bytes)


def cid_of(stream: BinaryIO) -> Cid:
    """Return the CID of what is left to read in a binary stream, in constant memory."""
    hasher = CidHasher()
    while data := stream.read(READ_BYTES):
        hasher.update(data)
    return hasher.cid()


def cid_of_file(descriptor: int) -> Cid:
    """Return the CID of a whole open file that nobody changes; of a large one on all cores.

    Memory is a piece for each core. Raises OSError.
    """
    # One leaf at least: that of an empty file is empty.
    starts = range(0, max(os.fstat(descriptor).st_size, 1), CHUNK_BYTES)
    leaf = functools.partial(_leaf_at, descriptor)
    levels: list[list[_Link]] = [[]]
    with contextlib.ExitStack() as stack:
        links: Iterator[_Link] = map(leaf, starts)
        if len(starts) > _LEAVES_OF_ONE_THREAD:
            from concurrent.futures import ThreadPoolExecutor

            threads = stack.enter_context(ThreadPoolExecutor(cores(), "hash"))
            links = threads.map(leaf, starts)
        for link in links:
            _append(levels, 0, link)
    return _root(levels)


def _leaf_at(descriptor: int, start: int) -> _Link:
    """The leaf at an offset of an open file."""
    hasher, size = hashlib.sha256(), 0
    while size < CHUNK_BYTES:
        data = os.pread(descriptor, min(READ_BYTES, CHUNK_BYTES - size), start + size)
        if not data:
            break
        hasher.update(data)
        size += len(data)
    return _leaf(hasher.digest(), size)


def _leaf(digest: bytes, size: int) -> _Link:
    return _Link(Cid(digest, RAW), size, size)


def _root(levels: list[list[_Link]]) -> Cid:
    """Close all levels, and return the CID of what is above them."""
    depth = 0
    while depth < len(levels) - 1 or len(levels[depth]) > 1:
        _append(levels, depth + 1, _parent(levels[depth]))
        depth += 1
    return levels[depth][0].cid


def _append(levels: list[list[_Link]], depth: int, link: _Link) -> None:
    if depth == len(levels):
        levels.append([])
    if len(levels[depth]) == MAX_LINKS:
        _append(levels, depth + 1, _parent(levels[depth]))
        levels[depth] = []
    levels[depth].append(link)


def _parent(links: list[_Link]) -> _Link:
    """Return the link to the dag-pb block above the given ones."""
    file_bytes = sum(link.file_bytes for link in links)
    unixfs = _varint_field(1, _UNIXFS_FILE) + _varint_field(3, file_bytes)
    unixfs += b"".join(_varint_field(4, link.file_bytes) for link in links)
    # dag-pb writes the links (field 2) before the data (field 1), and writes the empty name.
    block = b"".join(
        _bytes_field(
            2,
            _bytes_field(1, link.cid.to_bytes())
            + _bytes_field(2, b"")
            + _varint_field(3, link.tree_bytes),
        )
        for link in links
    ) + _bytes_field(1, unixfs)
    cid = Cid(hashlib.sha256(block).digest(), DAG_PB)
    return _Link(cid, len(block) + sum(link.tree_bytes for link in links), file_bytes)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(number: int, value: int) -> bytes:
    """Encode a protobuf field of wire type 0."""
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    """Encode a protobuf field of wire type 2."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value
