"""The revealed updates of a round: checked against the contract's hash, fetched in parallel; and
which of the sets of them that aggregators propose are worth computing.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from fl_orchestrator.chain.contract.federation import Attestation
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import included_indices
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import ContentError, FloError, VerificationError
from fl_orchestrator.model.digests import ZERO_HASH, updates_hash
from fl_orchestrator.model.protocol import MAX_UPDATES
from fl_orchestrator.roles.vectors import Origin, RootMismatch, VectorCache, VectorFile

T = TypeVar("T")
_Name = tuple[int, str, bytes, Cid]

# So many fetches may be on their way at a time: those of a round, and as many that were abandoned.
_MAX_THREADS: Final = 2 * MAX_UPDATES


#: An update that was not available is requested again after this fraction of a phase.
RETRY_SHARE: Final = 0.1
#: The longest time that one step of an aggregator waits for updates, because other duties wait too.
#: It is enough for a store that has them.
FETCH_SECONDS: Final = 10.0


class InconsistentEvents(VerificationError):
    """The reveals that the node reports are not those that the contract counted."""


def check_reveals(reveals: Sequence[RevealedUpdate], expected: bytes) -> None:
    """Refuse a list of reveals whose rolling hash is not the contract's."""
    rolling = ZERO_HASH
    for reveal in reveals:
        rolling = updates_hash(rolling, reveal.party, reveal.number, reveal.root)
    in_order = [reveal.index for reveal in reveals] == list(range(len(reveals)))
    if rolling != expected or not in_order:
        raise InconsistentEvents(
            "The node's list of reveals does not have the contract's hash.",
            "The node is out of step or lies: use another RPC endpoint.",
        )


class StillFetching(ContentError):
    """An update is on its way from the store, and goes on being fetched."""


def plain_updates(
    vectors: VectorCache, store: ContentStore, origin: Origin
) -> Callable[[RevealedUpdate, Callable[[], bool]], VectorFile]:
    """Fetches updates in the clear; see `VectorCache.fetch`."""

    def get(reveal: RevealedUpdate, stop: Callable[[], bool]) -> VectorFile:
        return vectors.fetch(store, reveal.cid, reveal.root, origin.update(reveal.round), stop)

    return get


class UpdateFetches:
    """Fetches updates, each in a thread of its own, so that no slow source delays another.

    What takes longer than the caller waits goes on, and is there when it is asked for again. The
    threads end with the process. Used by one thread.
    """

    def __init__(
        self,
        get: Callable[[RevealedUpdate, Callable[[], bool]], VectorFile],
        at_once: bool = False,
    ) -> None:
        """``get(update, stop)`` fetches and checks one update, until ``stop()``.

        With ``at_once`` the caller's thread does it: where no source is slow, a thread takes longer
        to start than a small update to fetch.
        """
        self._get = get
        self._at_once = at_once
        self._fetches: dict[_Name, Fetch[VectorFile]] = {}
        # Those of earlier rounds that have not ended yet.
        self._abandoned: list[Fetch[VectorFile]] = []

    def fetch(
        self, reveals: Sequence[RevealedUpdate], seconds: float | None = None
    ) -> list[VectorFile | FloError]:
        """For each update its checked file, or why there is none.

        After so many ``seconds`` it is StillFetching for what is not there; None waits for all.
        Raises what is the fault of this machine; a later call fetches again what failed.
        """
        for reveal in reveals:
            self._start(reveal)
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            return [self._outcome(reveal, deadline) for reveal in reveals]
        finally:
            # After a fault of this machine too, such as a full disk: the next call tries again.
            for name in map(_name, reveals):
                if name in self._fetches and self._fetches[name].done.is_set():
                    del self._fetches[name]

    def _outcome(self, reveal: RevealedUpdate, deadline: float | None) -> VectorFile | FloError:
        fetch = self._fetches.get(_name(reveal))
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if fetch is None or not fetch.done.wait(left):
            return StillFetching(f"The update {reveal.cid} is still being fetched.")
        return fetch.outcome()

    def start(self, reveals: Sequence[RevealedUpdate]) -> None:
        """Begin to fetch these updates, for a later call of ``fetch``."""
        for reveal in reveals:
            self._start(reveal)

    def forget_failed(self) -> None:
        """Have those that could not be fetched so far fetched anew, when they are asked for."""
        for name in [name for name, fetch in self._fetches.items() if fetch.failed]:
            del self._fetches[name]

    def has(self, reveal: RevealedUpdate) -> bool:
        """Whether this update is being fetched, or was and has not been asked for since."""
        return _name(reveal) in self._fetches

    def abandon_before(self, round_number: int) -> None:
        """Stop fetching the updates of earlier rounds, and do not wait until that has happened."""
        for name in [name for name in self._fetches if name[0] < round_number]:
            fetch = self._fetches.pop(name)
            fetch.abandoned.set()
            self._abandoned.append(fetch)

    def _start(self, reveal: RevealedUpdate) -> None:
        if _name(reveal) in self._fetches:
            return
        self._abandoned = [fetch for fetch in self._abandoned if not fetch.done.is_set()]
        running = sum(not fetch.done.is_set() for fetch in self._fetches.values())
        if running + len(self._abandoned) < _MAX_THREADS:
            self._fetches[_name(reveal)] = Fetch(
                lambda fetch: self._get(reveal, fetch.abandoned.is_set), self._at_once
            )


class Fetch(Generic[T]):
    """One fetch in its thread, or ``at_once`` in that of the caller.

    ``done`` is set when it has ended, ``abandoned`` by its owner.
    """

    def __init__(self, work: Callable[[Fetch[T]], T], at_once: bool = False) -> None:
        self.done = threading.Event()
        self.abandoned = threading.Event()
        self._found: T | None = None
        self._error: BaseException | None = None
        if at_once:
            self._run(work)
            return
        # A daemon: a process that is to end does not wait for a slow server.
        run = partial(contextvars.copy_context().run, self._run, work)
        threading.Thread(target=run, name="fetch", daemon=True).start()

    def _run(self, work: Callable[[Fetch[T]], T]) -> None:
        try:
            self._found = work(self)
        except BaseException as error:  # raised where the outcome is asked for
            self._error = error
        finally:
            self.done.set()

    @property
    def failed(self) -> bool:
        """Whether it has ended without a result."""
        return self.done.is_set() and self._error is not None

    def outcome(self) -> T | FloError:
        """What was fetched, or why it cannot be had. Raises what is the fault of this machine."""
        if isinstance(self._error, ContentError | RootMismatch):
            return self._error
        if self._error is not None:
            raise self._error
        if self._found is None:
            raise RuntimeError("the fetch has not ended")
        return self._found


def _name(reveal: RevealedUpdate) -> _Name:
    """What one fetch is for. A copy of a masked update has the root of the other, and its CID."""
    return reveal.round, reveal.party, reveal.root, reveal.cid


# Sets of updates that were proposed. Any aggregator may sign result after result, each over other
# updates: right ones cost it nothing. So results are considered by the stake that has signed them,
# and no signer has more than a few of them considered.

#: So many results of others are computed in a round.
MAX_PROPOSALS: Final = 16
#: So many of them for one signer: its own set, a fuller one, and some that a quorum may agree on.
MAX_OF_ONE_SIGNER: Final = 6


def worth_considering(proposals: Mapping[bytes, Attestation]) -> list[bytes]:
    """The digests to consider, the one with the most stake first. Amounts in wei.

    One that was accepted is always among them. The others need a signer that has not had its share.
    """
    shares: Counter[int] = Counter()
    chosen: list[bytes] = []
    order = sorted(
        proposals, key=lambda d: (proposals[d].accepted, proposals[d].stake), reverse=True
    )
    for digest in order:
        seats = included_indices(proposals[digest].signers)
        has_share = any(shares[seat] < MAX_OF_ONE_SIGNER for seat in seats)
        if proposals[digest].accepted or (has_share and len(chosen) < MAX_PROPOSALS):
            chosen.append(digest)
            shares.update(seats)
    return chosen
