"""Fetches what other seats released. Any of them may name files that nobody has, or slow ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.updates import Fetch

_log = get_logger(__name__)

# A step of the aggregator waits for so long for new files: other duties wait too.
_WAIT_SECONDS: Final = 2.0
# The longest time, in the chain's seconds, until a file that could not be had is asked for again.
_MAX_RETRY_SECONDS: Final = 64


@dataclass(slots=True)
class _Wanted:
    fetch: Fetch[bytes]
    tries: int
    retry_at: int | None = None


class ReleaseFiles:
    """Fetches release files, each in a thread of its own, so that none delays another.

    What cannot be had is asked for again after longer and longer times. Used by one thread.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._wanted: dict[Cid, _Wanted] = {}

    def fetch(self, limits: Mapping[Cid, int], now: int) -> dict[Cid, bytes]:
        """The bytes of those files that have arrived; ``limits`` are their largest sizes in bytes.

        ``now`` is the chain's time. Files that are not named any more are forgotten.
        """
        self._wanted = {cid: self._wanted[cid] for cid in limits if cid in self._wanted}
        begun = [self._begin(cid, limit) for cid, limit in limits.items() if self._is_due(cid, now)]
        deadline = time.monotonic() + _WAIT_SECONDS
        for fetch in begun:
            fetch.done.wait(max(0.0, deadline - time.monotonic()))
        found = {cid: self._outcome(cid, now) for cid in limits}
        return {cid: data for cid, data in found.items() if data is not None}

    def _is_due(self, cid: Cid, now: int) -> bool:
        wanted = self._wanted.get(cid)
        return wanted is None or (wanted.retry_at is not None and now >= wanted.retry_at)

    def _begin(self, cid: Cid, limit: int) -> Fetch[bytes]:
        def get(_: Fetch[bytes]) -> bytes:
            with self._store.get(cid, limit) as source:
                return source.read()

        before = self._wanted.get(cid)
        fetch = Fetch(get)
        self._wanted[cid] = _Wanted(fetch, 1 if before is None else before.tries + 1)
        return fetch

    def _outcome(self, cid: Cid, now: int) -> bytes | None:
        wanted = self._wanted[cid]
        if wanted.retry_at is not None or not wanted.fetch.done.is_set():
            return None
        # A fault of this machine is raised, such as a full disk: the next call asks for it again.
        del self._wanted[cid]
        outcome = wanted.fetch.outcome()
        self._wanted[cid] = wanted
        if not isinstance(outcome, FloError):
            return outcome
        wanted.retry_at = now + min(2**wanted.tries, _MAX_RETRY_SECONDS)
        if wanted.tries == 1:
            _log.warning("a release cannot be had", cid=str(cid), reason=outcome.message)
        return None
