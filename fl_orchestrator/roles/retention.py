"""Keeps vectors in a role's store for others, as long as a dispute may need them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import ContentNotFound, ContentStore
from fl_orchestrator.errors import ContentError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta
from fl_orchestrator.roles.vectors import VectorFile

_log = get_logger(__name__)

#: A margin with which nothing is ever unpinned: an archive.
FOREVER: Final = 2**63


@dataclass(frozen=True, slots=True, order=True)
class _Kept:
    round: int
    kind: VectorKind
    cid: Cid


class Retention:
    """Pins the vectors that disputes may need, and unpins them when no dispute can need them.

    An update, masked or not, is needed while any result of its round can be disputed: until the
    round is final, or, if it did not become part of the history, until its challenge window is
    over. A model is needed by the rounds that start from it; the head and its base are always
    needed. While withdrawals are blocked after a fraud, nothing is unpinned. ``margin`` is the
    delay in seconds before a vector that is not needed is unpinned; None means one challenge
    period.

    ``path`` is a small file with the list of kept vectors. Nothing else is ever unpinned: not the
    manifest, not genesis, not what a user has pinned. If the file is lost, all pins stay.
    """

    def __init__(
        self,
        federation: Federation,
        store: ContentStore,
        path: Path,
        margin: int | None = None,
    ) -> None:
        self._federation = federation
        self._store = store
        self._path = path
        self._margin = federation.params().challenge_period if margin is None else margin
        self._released_at = -1

    def note(self, vectors: Iterable[tuple[Cid, VectorMeta]]) -> None:
        """Record vectors before they are pinned, so that they are unpinned later."""
        noted = self._read()
        more = {_Kept(meta.round, meta.kind, cid) for cid, meta in vectors if meta.round}
        if more - noted:
            self._write(noted | more)

    def __contains__(self, cid: Cid) -> bool:
        return any(kept.cid == cid for kept in self._read())

    def __len__(self) -> int:
        """The number of recorded vectors."""
        return len(self._read())

    def keep(self, vectors: Sequence[tuple[Cid, VectorFile]]) -> None:
        """Pin vectors that are on this disk, and put those that the store does not have.

        Raises what the store raises.
        """
        self.note((cid, file.meta) for cid, file in vectors)
        for cid, file in vectors:
            if self._store.has(cid):
                with contextlib.suppress(ContentNotFound):
                    self._store.pin(cid)
                    continue
            self._store.put_file(file.path)

    def release(self, seen: Observation) -> None:
        """Unpin what is no longer needed. Safe to call at any time; it acts once per final round.

        If the store cannot unpin a vector now, this is retried at the next final round.
        """
        if seen.final_height == self._released_at:
            return
        kept = self._read()
        done = set(filter(self._unpinned, self._not_needed(seen, kept)))
        if done:
            self._write(kept - done)
            _log.info("released", files=len(done), final_height=seen.final_height)
        self._released_at = seen.final_height

    def _unpinned(self, kept: _Kept) -> bool:
        try:
            self._store.unpin(kept.cid)
        except ContentError as error:
            _log.warning("still pinned", cid=str(kept.cid), reason=str(error))
            return False
        return True

    # ------------------------------------------------------------------ what is needed

    def _not_needed(self, seen: Observation, kept: set[_Kept]) -> list[_Kept]:
        if not kept or seen.timestamp < self._federation.held_until() + self._margin:
            return []
        final = self._federation.model(seen.final_height).round
        rounds = range(min(k.round for k in kept), seen.current.round + 1)
        needed = {number for number in rounds if self._is_disputable(seen, number, final)}
        first_model = self._first_needed_model(seen, min(needed, default=seen.current.round + 1))
        return [
            k
            for k in sorted(kept)
            if k.round not in needed and (k.kind is not VectorKind.GLOBAL or k.round < first_model)
        ]

    def _is_disputable(self, seen: Observation, round_number: int, final: int) -> bool:
        """Whether a result of the round can be challenged, or there may be one yet."""
        if round_number >= seen.current.round:
            return True
        window = self._federation.window(round_number)
        if window.attest_end == 0:
            # No result is signed, but a reorg may still change that.
            return round_number == seen.current.round - 1
        if window.canonical and round_number > final:
            return True
        return seen.timestamp < max(window.window_end, window.final_at) + self._margin

    def _first_needed_model(self, seen: Observation, first_disputable: int) -> int:
        """The round of the oldest model that is needed.

        The base of a disputable round, revoked or not, is never older than the last model in the
        history before the first disputable round: that model was in the history when the round was
        opened, so it was the head then, or an ancestor of it.
        """
        height = seen.head.height
        while (base := self._federation.model(height).round) >= first_disputable:
            height -= 1
        return min(base, self._federation.model(max(seen.head.height - 1, 0)).round)

    # ------------------------------------------------------------------ the file

    def _read(self) -> set[_Kept]:
        try:
            entries = from_json(self._path.read_bytes())
            return {_Kept(n, VectorKind(kind), Cid.parse(cid)) for n, kind, cid in entries}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError, ContentError) as error:
            # Its vectors stay pinned, which only costs disk space.
            _log.error("cannot read what was kept", path=str(self._path), reason=str(error))
            return set()

    def _write(self, kept: set[_Kept]) -> None:
        lines = [to_json([k.round, k.kind.value, str(k.cid)]) for k in sorted(kept)]
        write_whole(self._path, "[" + ",\n".join(lines) + "]\n")
