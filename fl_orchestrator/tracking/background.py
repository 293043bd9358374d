"""Gives a tracker its events from a thread of its own, so that it never holds up a role."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from web3.exceptions import Web3Exception

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.base import Step
from fl_orchestrator.tracking.event import Event, Kind, federation_id, reported
from fl_orchestrator.tracking.position import Position, load_position, save_position
from fl_orchestrator.tracking.source import Batch, EventSource
from fl_orchestrator.tracking.tracker import Tracker, TrackerEnded

_log = get_logger(__name__)
_T = TypeVar("_T")

_RETRY_SECONDS: Final = (1.0, 60.0)
_CLOSE_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 0.02
_MOST_REPORTS: Final = 10_000


class Tracking:
    """One tracker of a federation in a process; a worker beside the process's roles.

    ``opened`` makes the tracker. It runs in the thread, like everything that the tracker does; what
    fails there is said once and tried again. ``path`` keeps the position across restarts; without
    it the tracker gets all events since ``deployed_at``, the federation's first block, again.
    """

    def __init__(
        self,
        name: str,
        opened: Callable[[], Tracker],
        federation: Federation,
        deployed_at: int,
        path: Path | None = None,
    ) -> None:
        self._name = name
        self._opened = opened
        self._federation = federation
        self._deployed_at = deployed_at
        self._id = federation_id(federation.chain_id, federation.address)
        self._path = path
        self._failure = ""
        # The role's thread reads from here; the tracker's thread makes it when it is ready.
        self._source: EventSource | None = None
        # Both threads use what follows, with the lock. What is here was not taken yet.
        self._lock = threading.Condition()
        self._batch: Batch | None = None
        self._reports: deque[Event] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"tracker {name}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ the role's thread

    def step(self) -> Step:
        """Read the next events, unless the tracker still has earlier ones to take.

        Raises what the chain raises.
        """
        self._read()
        return Step()

    def _read(self, *, latest: bool = False) -> bool:
        """Whether the tracker is ready and nothing is left to read."""
        with self._lock:
            source, waits = self._source, self._batch is not None
        if source is None or waits:
            return False
        # The last observation of another role in this process is recent enough.
        seen = None if latest else self._federation.last_seen
        seen = seen or self._federation.observe(self._federation.address)
        batch = source.read(seen.block_number)
        with self._lock:
            self._batch = batch
            self._lock.notify_all()
        return batch is None

    def report(self, kind: Kind, round_number: int | None, values: Mapping[str, Any]) -> None:
        """Report what no contract has: an evaluation or an alert. Never waits, never raises."""
        event = reported(kind, self._id, round_number, int(time.time()), values)
        with self._lock:
            if len(self._reports) < _MOST_REPORTS:
                self._reports.append(event)
                self._lock.notify_all()

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Let the tracker take what is left, for at most so long, and end it."""
        until = time.monotonic() + seconds
        done = False
        with contextlib.suppress(FloError, OSError, Web3Exception):  # the chain may be away
            while not done and self._thread.is_alive() and time.monotonic() < until:
                done = self._read(latest=True) and self._has_taken()
                time.sleep(0 if done else _TICK_SECONDS)
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self._thread.join(max(0.0, until - time.monotonic()))
        if not done or self._thread.is_alive():
            _log.warning("a tracker has not taken its last events", tracker=self._name)

    def _has_taken(self) -> bool:
        with self._lock:
            return self._batch is None and not self._reports

    # ------------------------------------------------------------------ the tracker's thread

    def _run(self) -> None:
        tracker = self._until_done(self._opened)
        if tracker is None:
            return
        position = self._until_done(lambda: self._position_of(tracker))
        if position is None:
            return
        ahead = position.model_copy(deep=True)
        with self._lock:
            self._source = EventSource(self._federation, self._deployed_at, ahead)
        while not self._stopping:
            with self._lock:
                self._lock.wait_for(lambda: self._batch or self._reports or self._stopping)
                batch, reports = self._batch, tuple(self._reports)
            if (batch or reports) and not self._deliver(tracker, position, batch, reports):
                break
        try:
            tracker.close()
        except Exception as error:  # a user's tracker may raise anything
            self._failed(error)

    def _position_of(self, tracker: Tracker) -> Position:
        position = load_position(self._path, self._id)
        tracker.resume(position)
        return position

    def _deliver(
        self, tracker: Tracker, position: Position, batch: Batch | None, reports: Sequence[Event]
    ) -> bool:
        """Returns whether the tracker goes on."""
        known = position.has(event.id for event in reports)
        fresh = {event.id: event for event in reports if event.id not in known}
        events = [*(batch.events if batch else ()), *fresh.values()]
        if events and not self._succeeds(lambda: tracker.deliver(events)):
            return False
        for event in events:
            position.take(event)
        if batch is not None:
            position.reach(batch.checkpoint)
        tracker.mark(position)
        path = self._path
        if path is not None:
            self._succeeds(lambda: save_position(path, position))
        with self._lock:
            if batch is not None:
                self._batch = None
            for _ in reports:
                self._reports.popleft()
        return True

    def _succeeds(self, work: Callable[[], None]) -> bool:
        def done() -> bool:
            work()
            return True

        return self._until_done(done) is not None

    def _until_done(self, work: Callable[[], _T]) -> _T | None:
        """Try until it succeeds, or the process ends: then None. What fails is said once."""
        delay, longest = _RETRY_SECONDS
        while not self._stopping:
            try:
                done = work()
            except TrackerEnded as error:
                _log.error("a tracker ended", tracker=self._name, reason=error.for_log)
                return None
            except Exception as error:  # a user's tracker may raise anything
                self._failed(error)
                with self._lock:
                    self._lock.wait_for(lambda: self._stopping, delay)
                delay = min(2 * delay, longest)
            else:
                if self._failure:
                    _log.warning("a tracker works again", tracker=self._name)
                self._failure = ""
                return done
        return None

    def _failed(self, error: Exception) -> None:
        reason = error.for_log if isinstance(error, FloError) else str(error).partition("\n")[0]
        text = f"{type(error).__name__}: {reason[:200]}"
        if text != self._failure:
            _log.warning("a tracker failed; it is tried again", tracker=self._name, reason=text)
        self._failure = text
