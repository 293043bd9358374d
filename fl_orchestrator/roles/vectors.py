"""A cache of vectors on a role's disk: fetched, checked by root, aggregated block by block."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.aggregation.rules import next_global, rule_for
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import ContentError, VerificationError
from fl_orchestrator.model.fixed_point import saturated_in
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import (
    VectorKind,
    VectorMeta,
    VectorReader,
    max_file_bytes,
    read_tree,
    read_vector,
    write_vector,
)

_KEPT_NAME: Final = re.compile(r"[a-z]+-(\d+)-[0-9a-f]{64}\.safetensors", re.ASCII)
_TEMPORARY: Final = "new-"
_PARALLEL_CHECKS: Final = 8


class FetchStopped(ContentError):
    """Nobody waits for this file any more."""


class RootMismatch(VerificationError):
    """The root of a file's numbers is not the one on the chain."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The federation that vectors belong to, as their files' metadata has it."""

    chain_id: int
    federation: str

    def update(self, round_number: int) -> VectorMeta:
        return VectorMeta(VectorKind.UPDATE, self.chain_id, self.federation, round_number)

    def masked(self, round_number: int) -> VectorMeta:
        return VectorMeta(VectorKind.MASKED, self.chain_id, self.federation, round_number)

    def state(self, round_number: int) -> VectorMeta:
        """The metadata of the global state that a round made; round 0 is genesis."""
        if round_number == 0:
            return VectorMeta.genesis()
        return VectorMeta(VectorKind.GLOBAL, self.chain_id, self.federation, round_number)


@dataclass(frozen=True, slots=True)
class VectorFile:
    """A file on this disk whose numbers have this root."""

    path: Path
    meta: VectorMeta
    root: bytes


def require_root(file: VectorFile, found: bytes) -> None:
    """Raise RootMismatch unless a file that was checked once still has its root."""
    if found != file.root:
        raise RootMismatch(
            f"The file {file.path} was damaged on this disk.", "Delete it, and run again."
        )


class VectorCache:
    """A directory of verified vector files, named by their roots. Safe to delete at any time."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory = directory
        self._manifest = manifest
        # Temporary files that some thread is writing.
        self._underway: set[str] = set()
        self._lock = threading.Lock()
        # A tree in the making takes memory, so many threads may fetch and few may check.
        self._checking = threading.BoundedSemaphore(_PARALLEL_CHECKS)
        directory.mkdir(parents=True, exist_ok=True)

    def fetch(
        self,
        store: ContentStore,
        cid: Cid,
        root: bytes,
        meta: VectorMeta,
        stop: Callable[[], bool] = lambda: False,
    ) -> VectorFile:
        """The vector from the cache or from the store.

        Raises ContentError if the store does not have it, VectorFileError if it is malformed and
        RootMismatch if it has another root.
        """
        limit = max_file_bytes(self._manifest.layout, meta.kind)

        def root_of(file: BinaryIO) -> bytes:
            return read_tree(file, self._manifest.layout, meta).root

        return self.fetch_checked(store, cid, root, meta, limit, root_of, stop)

    def fetch_checked(
        self,
        store: ContentStore,
        cid: Cid,
        root: bytes,
        meta: VectorMeta,
        limit: int,
        root_of: Callable[[BinaryIO], bytes],
        stop: Callable[[], bool] = lambda: False,
    ) -> VectorFile:
        """As ``fetch``, for a file of at most ``limit`` bytes whose root ``root_of`` computes.

        ``root_of`` reads the file from its start to its end, and raises VectorFileError.
        """
        if held := self.held(root, meta):
            return held
        with self._temporary() as (temporary, file):
            with store.get(cid, limit) as source:
                while block := source.read(1 << 20):
                    file.write(block)
                    if stop():
                        raise FetchStopped(f"The {meta.kind} {cid} is not needed any more.")
            file.seek(0)
            with self._checking:
                found = root_of(file)
            if found != root:
                raise RootMismatch(
                    f"The {meta.kind} {cid} of round {meta.round} does not have its root on-chain.",
                    "Its author committed to other numbers than it published.",
                )
            self._keep(temporary, file, self._path(meta, root))
        return VectorFile(self._path(meta, root), meta, root)

    def held(self, root: bytes, meta: VectorMeta) -> VectorFile | None:
        """The vector if it is in the cache."""
        path = self._path(meta, root)
        return VectorFile(path, meta, root) if path.exists() else None

    def write(self, meta: VectorMeta, blocks: Iterable[NDArray[Any]]) -> VectorFile:
        """Write a canonical file of these flat blocks."""
        return self.write_checked(
            meta, lambda file: write_vector(file, self._manifest.layout, meta, blocks).root
        )

    def write_checked(self, meta: VectorMeta, write: Callable[[BinaryIO], bytes]) -> VectorFile:
        """Keep the file that ``write`` writes, whose root it returns."""
        with self._temporary() as (temporary, file):
            root = write(file)
            self._keep(temporary, file, self._path(meta, root))
        return VectorFile(self._path(meta, root), meta, root)

    def load(self, file: VectorFile) -> NDArray[Any]:
        """The flat vector in memory: int32 of a global state, int16 of an update."""
        with file.path.open("rb") as stream:
            return read_vector(stream, self._manifest.layout, file.meta)[1]

    def saturated_tensors(self, file: VectorFile) -> tuple[str, ...]:
        """The tensors of a global state that have a value at an end of the int32 range."""
        layout = self._manifest.layout
        with file.path.open("rb") as stream:
            return saturated_in(layout, VectorReader(stream, layout, file.meta).blocks())

    def aggregate(
        self,
        base: VectorFile,
        updates: Sequence[tuple[VectorFile, int]],
        meta: VectorMeta,
    ) -> VectorFile:
        """Apply the manifest's rule to (update, weight) pairs in one streaming pass over the files.

        Memory does not grow with the model; it grows by one block with each update.
        """
        with ExitStack() as files:

            def blocks(file: VectorFile) -> Iterator[NDArray[np.integer[Any]]]:
                stream = files.enter_context(file.path.open("rb"))
                return VectorReader(stream, self._manifest.layout, file.meta).blocks()

            state = next_global(
                rule_for(self._manifest.rule),
                blocks(base),  # type: ignore[arg-type]
                [blocks(update) for update, _ in updates],  # type: ignore[misc]
                [weight for _, weight in updates],
                self._manifest.update_fraction_bits,
            )
            return self.write(meta, state)

    def forget_rounds_before(self, round_number: int) -> None:
        """Delete files of earlier rounds, and temporary files that nobody is writing."""
        with self._lock:
            for path in self._directory.iterdir():
                kept = _KEPT_NAME.fullmatch(path.name)
                left = path.name.startswith(_TEMPORARY) and path.name not in self._underway
                if left or (kept and int(kept[1]) < round_number):
                    path.unlink(missing_ok=True)

    def _path(self, meta: VectorMeta, root: bytes) -> Path:
        return self._directory / f"{meta.kind}-{meta.round}-{root.hex()}.safetensors"

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        with self._lock:
            descriptor, name = tempfile.mkstemp(dir=self._directory, prefix=_TEMPORARY)
            path = Path(name)
            self._underway.add(path.name)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)
            with self._lock:
                self._underway.discard(path.name)

    @staticmethod
    def _keep(temporary: Path, file: BinaryIO, path: Path) -> None:
        """Atomically rename a complete temporary file to ``path``."""
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(path)
