"""A cache of vectors on a role's disk: fetched, checked by root, aggregated block by block."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.aggregation.ahead import ahead
from fl_orchestrator.aggregation.models import next_blocks, rule_step, zero_step
from fl_orchestrator.aggregation.rules import Int16
from fl_orchestrator.content.beside import written_beside
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.kept import FetchStopped, Kept, reader
from fl_orchestrator.content.shared import SharedFiles, make_read_only
from fl_orchestrator.content.store import ContentStore, HashingWriter, verified
from fl_orchestrator.errors import ContentError, TrainingError, VerificationError
from fl_orchestrator.files import OWNER_ONLY, flush, names_in
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.chunk_root import read_root
from fl_orchestrator.model.fixed_point import Saturation, UpdateEncoder, float_view_of
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import (
    COMBINED_VALUES,
    VectorKind,
    VectorMeta,
    VectorReader,
    max_file_bytes,
    read_vector,
    write_vector,
)

_log = get_logger(__name__)

_KEPT_NAME: Final = re.compile(r"([a-z]+)-(\d+)-[0-9a-f]{64}\.safetensors", re.ASCII)
#: What is shared: a kind, a round and a root.
SHARED_NAME: Final = re.compile(r"[a-z]+-\d+-[0-9a-f]{64}\.[a-z]+", re.ASCII)
_TEMPORARY: Final = "new-"


class RootMismatch(VerificationError):
    """The root of a file's numbers is not the one on the chain."""


class MovingGenesis(TrainingError):
    """The first model of a federation has a momentum already."""


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


@dataclass(frozen=True, slots=True)
class MadeVector(VectorFile):
    """A file that this role has made, and what was seen of it as it was written.

    ``saturated`` are the tensors of a state with values at an end of the int32 range.
    """

    cid: Cid
    saturated: tuple[str, ...] = ()


def require_root(file: VectorFile, found: bytes) -> None:
    """Raise RootMismatch unless a file that was checked once still has its root."""
    if found != file.root:
        raise RootMismatch(
            f"The file {file.path} was damaged on this disk.", "Delete it, and run again."
        )


def _require_rest(meta: VectorMeta, momentum: Iterable[NDArray[Any]]) -> None:
    """Raise MovingGenesis if this is the momentum of a genesis, and is not zero."""
    if meta == VectorMeta.genesis() and any(block.any() for block in momentum):
        raise MovingGenesis(
            "The first model of this federation has a momentum that is not zero.",
            "Its owner chose it; ask the owner for another federation.",
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is fetched: see `VectorCache.fetch_checked`."""

    cid: Cid
    root: bytes
    meta: VectorMeta
    limit: int
    root_of: Callable[[BinaryIO], bytes]
    stop: Callable[[], bool]
    seeks: bool

    def check(self, source: BinaryIO, file: BinaryIO | None, path: Path) -> None:
        """Read a verified source to its end; keep it in the file at ``path``, or it is that file.

        Raises VectorFileError, RootMismatch, FetchStopped, and what the source raises.
        """
        name = f"The {self.meta.kind} {self.cid}"
        kept = Kept(source, file, self.stop, name)
        if kept.root(self.root_of, path if self.seeks else None) != self.root:
            raise RootMismatch(
                f"{name} of round {self.meta.round} does not have its root on-chain.",
                "Its author committed to other numbers than it published.",
            )


class VectorCache:
    """A directory of verified vector files, named by their roots. Safe to delete at any time.

    What is in it has been checked, before or after a restart of the process, and is not hashed
    again: only this role writes to its directory. What the disk damages is found where it would be
    shown to others (`require_root`), and a model that is wrong by it is not that of the others.

    A file may be a link to that of a store on this disk, or to one in ``shared``, a directory that
    the roles of this machine have in common. It was checked when it was linked, like a copy.
    """

    def __init__(self, directory: Path, manifest: Manifest, shared: Path | None = None) -> None:
        self._directory = directory
        self._manifest = manifest
        self._shared = None if shared is None else SharedFiles(shared, SHARED_NAME)
        # Temporary files that some thread is writing.
        self._underway: set[str] = set()
        self._lock = threading.Lock()
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
            return read_root(file, self._manifest.layout, meta)

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
        *,
        seeks: bool = False,
    ) -> VectorFile:
        """As ``fetch``, for a file of at most ``limit`` bytes whose root ``root_of`` computes.

        ``root_of`` reads the file from its start to its end, and raises VectorFileError. It reads
        the bytes as they arrive, while they are in the CPU's cache, or if it ``seeks``, afterwards
        from this disk. Its answer, or its error, counts only when the CID of all bytes is right.
        """
        if held := self.held(root, meta):
            return held
        wanted = _Wanted(cid, root, meta, limit, root_of, stop, seeks)
        path = self._path(meta, root)
        if not self._take_shared(wanted, path):
            self._get(store, wanted, path)
            self.share(VectorFile(path, meta, root))
        return VectorFile(path, meta, root)

    def _take_shared(self, wanted: _Wanted, path: Path) -> bool:
        """Take the file from those that this machine's roles share, if it is there and right."""
        if self._shared is None:
            return False
        with self._new_name() as linked:
            if not self._shared.take(path.name, linked):
                return False
            try:
                with verified(reader(linked), wanted.cid, wanted.limit) as source:
                    wanted.check(source, None, linked)
            except FetchStopped:
                raise
            except (ContentError, VerificationError) as error:
                # Whoever published it did not damage it: it is fetched again.
                _log.warning("a shared file is damaged", file=path.name, reason=str(error))
                return False
            linked.replace(path)
        return True

    def _get(self, store: ContentStore, wanted: _Wanted, path: Path) -> None:
        """Get the file from the store: by a link to a file of it on this disk, or by its bytes."""
        with store.get(wanted.cid, wanted.limit) as source, self._new_name() as linked:
            if store.link(wanted.cid, linked):
                with verified(reader(linked), wanted.cid, wanted.limit) as there:
                    wanted.check(there, None, linked)
                linked.replace(path)
                return
            with self._temporary() as (temporary, file):
                wanted.check(source, file, temporary)
                self._keep(temporary, file, path)

    def share(self, file: VectorFile) -> None:
        """Let this machine's other roles take a file that was checked, and that all may read."""
        if self._shared is not None:
            self._shared.give(self._path(file.meta, file.root).name, file.path)

    def held(self, root: bytes, meta: VectorMeta) -> VectorFile | None:
        """The vector if it is in the cache."""
        path = self._path(meta, root)
        return VectorFile(path, meta, root) if path.exists() else None

    def write(self, meta: VectorMeta, blocks: Iterable[NDArray[Any]]) -> MadeVector:
        """Write a canonical file of these flat blocks, which nobody may change afterwards."""
        layout, seen = self._manifest.layout, Saturation(self._manifest.layout)
        looked = map(seen.look, blocks) if meta.kind is VectorKind.GLOBAL else blocks
        made = self.write_checked(meta, lambda f: write_vector(f, layout, meta, looked).root)
        return replace(made, saturated=seen.tensors())

    def write_checked(self, meta: VectorMeta, write: Callable[[BinaryIO], bytes]) -> MadeVector:
        """Keep the file that ``write`` writes, whose root it returns: see `written_beside`."""
        with self._temporary() as (temporary, file):
            hashed = HashingWriter(file)
            with written_beside(hashed) as stream:
                root = write(stream)
            self._keep(temporary, file, self._path(meta, root))
        made = MadeVector(self._path(meta, root), meta, root, hashed.cid())
        if meta.kind is VectorKind.GLOBAL:
            # A party's update is its own until it is revealed.
            self.share(made)
        return made

    def load(self, file: VectorFile) -> NDArray[Any]:
        """The flat vector in memory: int32 of a global state, int16 of an update.

        Raises MovingGenesis for a genesis with a momentum: it would move the model for many rounds
        whatever the parties send, and the model that they look at before does not show it.
        """
        layout = self._manifest.layout
        with file.path.open("rb") as stream:
            vector = read_vector(stream, layout, file.meta)[1]
        _require_rest(file.meta, [vector[layout.parameters :]])
        return vector

    def weights(self, file: VectorFile) -> list[NDArray[np.float32]]:
        """The float view of a global state: see `float_view`. Beside it, memory is some blocks.

        Raises MovingGenesis as ``load`` does.
        """
        layout = self._manifest.layout
        with ExitStack() as files:
            blocks = self._blocks(file, files)
            weights = float_view_of(layout, blocks)
            if file.meta == VectorMeta.genesis():
                _require_rest(file.meta, blocks)
        return weights

    def encoded(self, base: VectorFile, encoder: UpdateEncoder) -> Iterator[Int16]:
        """The blocks of an update that a training from ``base`` made. Memory is some blocks."""
        with ExitStack() as files:
            yield from encoder.blocks(self._blocks(base, files))

    def saturated_tensors(self, file: VectorFile) -> tuple[str, ...]:
        """The tensors of a global state that have a value at an end of the int32 range."""
        seen = Saturation(self._manifest.layout)
        with ExitStack() as files:
            for block in self._blocks(file, files):
                seen.look(block)
        return seen.tensors()

    def aggregate(
        self,
        base: VectorFile,
        updates: Sequence[tuple[VectorFile, int]],
        meta: VectorMeta,
    ) -> MadeVector:
        """Apply the manifest's rule to (update, weight) pairs in one streaming pass over the files.

        Memory does not grow with the model; it grows by one block with each update.
        """
        with ExitStack() as files:
            streams = [(self._blocks(update, files), weight) for update, weight in updates]
            return self.apply(base, rule_step(self._manifest, streams), meta)

    def apply(self, base: VectorFile, step: Iterable[Int16], meta: VectorMeta) -> MadeVector:
        """Write the state that the blocks of a step make of a base, as the manifest's server does.

        Memory is that of some blocks.
        """
        with ExitStack() as files:
            return self.write(meta, ahead(self._next(base, step, files)))

    def next_weights(
        self, base: VectorFile, updates: Sequence[tuple[VectorFile, int]]
    ) -> list[NDArray[np.float32]]:
        """The float view of the model that some updates would make of a base; none: a zero step.

        Nothing is written. Beside the result, memory is that of some blocks.
        """
        with ExitStack() as files:
            streams = [(self._blocks(update, files), weight) for update, weight in updates]
            step = rule_step(self._manifest, streams) if updates else zero_step(self._manifest)
            return float_view_of(self._manifest.layout, self._next(base, step, files))

    def _next(
        self, base: VectorFile, step: Iterable[Int16], files: ExitStack
    ) -> Iterator[NDArray[np.int32]]:
        def aside() -> BinaryIO:
            return files.enter_context(self._temporary())[1]

        return next_blocks(self._manifest, lambda: self._blocks(base, files), step, aside)

    def _blocks(self, file: VectorFile, files: ExitStack) -> Iterator[NDArray[Any]]:
        stream = files.enter_context(file.path.open("rb"))
        reader = VectorReader(stream, self._manifest.layout, file.meta)
        return reader.whole_chunks(COMBINED_VALUES)

    def forget_rounds_before(self, round_number: int, void: range = range(0)) -> None:
        """Delete files of earlier rounds, and temporary files that nobody is writing.

        Of rounds that are ``void``, which may be later ones, the updates are deleted too.
        """
        with self._lock:
            for name in names_in(self._directory):
                left = name.startswith(_TEMPORARY) and name not in self._underway
                if kept := _KEPT_NAME.fullmatch(name):
                    kind, number = kept[1], int(kept[2])
                    unused = kind != VectorKind.GLOBAL and number in void
                    left = number < round_number or unused
                if left:
                    (self._directory / name).unlink(missing_ok=True)
        if self._shared is not None:
            self._shared.forget_unused()

    def _path(self, meta: VectorMeta, root: bytes) -> Path:
        return self._directory / f"{meta.kind}-{meta.round}-{root.hex()}.safetensors"

    @contextmanager
    def _new_name(self) -> Iterator[Path]:
        """A path for a moment, at which there is no file."""
        path = self._directory / f"{_TEMPORARY}{uuid.uuid4().hex}"
        with self._lock:
            self._underway.add(path.name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            with self._lock:
                self._underway.discard(path.name)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        with self._new_name() as path:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, OWNER_ONLY), "w+b") as file:
                yield path, file

    @staticmethod
    def _keep(temporary: Path, file: BinaryIO, path: Path) -> None:
        """Atomically rename a complete temporary file to ``path``; nobody writes to it any more."""
        file.flush()
        flush(file.fileno())
        make_read_only(temporary)
        temporary.replace(path)
