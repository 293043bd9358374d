"""From the lock of a private round to its open seeds: confirm, release, gather (section 12.6)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.private_digests import Confirmed, Release
from fl_orchestrator.privacy.release import (
    ReleasedPieces,
    labels_for_expulsion,
    labels_for_lock,
    make_release,
    max_release_bytes,
)
from fl_orchestrator.roles.aggregator.holding import Holding
from fl_orchestrator.roles.aggregator.release_files import ReleaseFiles
from fl_orchestrator.roles.aggregator.vault import Lock, LockRefused, Vault
from fl_orchestrator.roles.masked.files import MaskedFiles
from fl_orchestrator.roles.masked.rounds import MaskedRound, Members
from fl_orchestrator.roles.masked.words import Words

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What may be attested: the included places and their seeds."""

    included: int
    seeds: bytes


@dataclass(slots=True)
class OpenLock:
    """The locked updates of a round, on the way to their seeds.

    ``locked`` are places. ``expelled`` are indices of parties that are proven to have misdealt.
    ``files`` are this seat's release files.
    """

    lock: Lock
    locked: int
    pieces: ReleasedPieces
    expelled: set[int] = field(default_factory=set)
    files: dict[Cid, bytes] = field(default_factory=dict)
    read: set[Cid] = field(default_factory=set)


class Opener:
    """One aggregator's part in opening the seeds of a round.

    ``note(cid, round)`` is called before a release file is stored, so that it is removed later.
    """

    def __init__(
        self,
        vault: Vault,
        words: Words,
        store: ContentStore,
        relock: bool,
        note: Callable[[Cid, int], None] = lambda _cid, _round: None,
    ) -> None:
        self._vault = vault
        self._words = words
        self._store = store
        self._files = ReleaseFiles(store)
        self._relock = relock
        self._note = note
        self._logged: set[tuple[str, Lock]] = set()

    def begin(self, holding: Holding, locked: int, members: Members | None) -> OpenLock | None:
        """The lock of the chain, if its updates are here and it is allowed on its base root.

        ``members`` is the list of the base root by the events of earlier rounds.
        """
        seals = holding.seals(locked)
        if seals is None:
            return None
        seen = holding.seen
        lock = Lock(seen.number, seen.base_root, seen.lock(locked), seen.members(locked))
        listed = self._vault.list_of(seen.base_root) or members
        if not self._relock and listed is not None:
            # Others may not know yet who misdealt. A sum with or without a misdealer differs from
            # the other by its own update only.
            needed = {(party, w) for party, w in listed if party not in self._vault.misdealers()}
            if not needed <= lock.members <= listed:
                _log.error("alert: a lock that is not the list of its base", round=seen.number)
                return None
        return OpenLock(lock, locked, ReleasedPieces(seen.context, seals))

    def confirm(self, holding: Holding, open_: OpenLock) -> Confirmed | None:
        """Record the lock as the one of its round; what to tell the others, or None if refused."""
        if holding.secret is None:
            return None
        try:
            self._vault.confirm(open_.lock)
        except LockRefused as error:
            self._refused("confirms nothing", open_.lock, error)
            return None
        return Confirmed(open_.lock.round, open_.lock.word)

    def release(self, holding: Holding, open_: OpenLock) -> list[Release]:
        """When a quorum has confirmed the lock, store this seat's pieces; where they are."""
        if holding.secret is None:
            return []
        confirmed = self._words.confirmed(holding.seen, open_.lock.word)
        if not holding.seen.is_quorum(tuple(confirmed)):
            return []
        try:
            self._vault.release(open_.lock)
        except LockRefused as error:
            self._refused("releases nothing", open_.lock, error)
            return []
        if not open_.files:
            indices = holding.seen.indices(open_.locked)
            self._publish(holding, open_, labels_for_lock(holding.seen.context.size, indices))
        return [Release(open_.lock.round, open_.lock.word, cid) for cid in open_.files]

    def _refused(self, event: str, lock: Lock, error: LockRefused) -> None:
        """Log it once for each lock: it is asked for in every step of the round."""
        if (event, lock) not in self._logged:
            self._logged.add((event, lock))
            _log.error(event, round=lock.round, reason=error.message)

    def gather(self, holding: Holding, open_: OpenLock, now: int = 0) -> Opened | None:
        """Read what the others released; the seeds once all are open. Expels who misdealt.

        ``now`` is the chain's time: what cannot be had is asked for again later.
        """
        seen = holding.seen
        self._read(seen, open_, now)
        for proof in open_.pieces.misdealt():
            if proof.k not in open_.expelled:
                open_.expelled.add(proof.k)
                party = seen.context.commits[proof.k].party
                self._vault.expel(party)
                _log.error("alert: a party misdealt", party=party, round=seen.number)
                if self._vault.released(seen.number) == open_.lock.word:
                    indices = seen.indices(open_.locked)
                    self._publish(holding, open_, labels_for_expulsion(indices, proof.k))
        included = sum(
            1 << reveal.index
            for reveal in seen.reveals
            if open_.locked >> reveal.index & 1 and reveal.commit not in open_.expelled
        )
        seeds = MaskedFiles.opening(seen, included).collect(open_.pieces)
        return None if seeds is None else Opened(included, seeds)

    def _publish(
        self, holding: Holding, open_: OpenLock, labels: Iterable[tuple[int, int]]
    ) -> None:
        indices = holding.seen.indices(open_.locked)
        shares = {k: own for k, own in holding.shares.items() if indices >> k & 1}
        data = make_release(holding.seen.context, labels, shares)
        cid = cid_of(io.BytesIO(data))
        self._note(cid, open_.lock.round)
        self._store.put(io.BytesIO(data))
        open_.pieces.add(data)
        open_.files[cid] = data
        open_.read.add(cid)

    def _read(self, seen: MaskedRound, open_: OpenLock, now: int) -> None:
        """Read the files of the others that have arrived."""
        indices, limits = seen.indices(open_.locked), dict[Cid, int]()
        for position, files in self._words.releases(seen, open_.lock.word).items():
            limit = max_release_bytes(seen.context, indices, position)
            for cid in files:
                if cid not in open_.read:
                    limits[cid] = max(limit, limits.get(cid, 0))
        for cid, data in self._files.fetch(limits, now).items():
            open_.read.add(cid)
            open_.pieces.add(data)
