"""When a process gives its roles steps, by this machine's clock."""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

from fl_orchestrator.chain.types import Observation
from fl_orchestrator.roles.base import Step, Worker
from fl_orchestrator.roles.schedule import Schedule

#: Every so many blocks, a role looks for events, which takes several requests. A role that waits
#: for something else then also checks its earlier transactions, which a reorg may have dropped.
LOOK_EVERY: Final = 8

# Limits of the estimate, in seconds: a test chain's clock may have been moved.
_SHORTEST: Final = 0.25
_LONGEST: Final = 15.0
_GAPS: Final = 9
_LONGEST_DELAY: Final = 30.0


class Pace:
    """An estimate of the chain's block time, in seconds, from the blocks that were seen.

    It is the median, which a single jump of the chain's clock does not change.
    """

    def __init__(self, unknown: float = 1.0) -> None:
        self._unknown = unknown
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._last: tuple[int, int] | None = None

    def saw(self, number: int, timestamp: int) -> None:
        """Add a block. After a reorg its number may not be higher; then no gap is counted."""
        if self._last is not None and number > self._last[0]:
            self._gaps.append((timestamp - self._last[1]) / (number - self._last[0]))
        self._last = (number, timestamp)

    @property
    def seconds(self) -> float:
        if not self._gaps:
            return self._unknown
        return min(max(statistics.median(self._gaps), _SHORTEST), _LONGEST)


class ProcessSchedule(Schedule):
    """A worker's schedule in a process: ``next_at`` is the time to check whether it is due.

    That is at each block, or later if the worker waits for a known number of blocks or seconds.
    After a failure, the retry delay starts at one block time and doubles up to 30 seconds. It is
    multiplied by a random factor from 0.5 to 1 (jitter), so that the processes that one outage
    stopped do not all retry at the same time.
    """

    def __init__(
        self,
        worker: Worker,
        pace: Pace,
        now: Callable[[], float],
        generator: random.Random | None = None,
    ) -> None:
        super().__init__(worker, events_every=LOOK_EVERY, check_every=LOOK_EVERY)
        self.next_at = 0.0
        self._pace = pace
        self._now = now
        self._random = generator or random.SystemRandom()
        self._failures = 0

    def ask(self, seen: Observation | None) -> Step:
        """As `Schedule.ask`; a success resets the retry delay."""
        step = super().ask(seen)
        self._failures = 0
        return step

    def rest(self, seen: Observation | None, since: float) -> None:
        """Check again when the worker may be due, counted from the time ``since``."""
        self.next_at = since + self._seconds_left(seen)

    def retry(self, delay: float | None = None) -> float:
        """Retry after a failure, in ``delay`` seconds if given; return the delay in seconds."""
        if delay is None:
            first = self._pace.seconds
            delay = min(_LONGEST_DELAY, first * 2.0 ** min(self._failures, 32))
            delay *= self._random.uniform(0.5, 1.0)
            self._failures += 1
        self.next_at = self._now() + delay
        return delay

    def _seconds_left(self, seen: Observation | None) -> float:
        """The seconds for which the worker is certainly not due."""
        block = self._pace.seconds
        if seen is None or self.wait.any_time or self.wait.phases or self.wait.reveals:
            return block
        blocks = self.blocks_left(seen)
        seconds = block * (1 if blocks is None else blocks)
        time = self.wait.next_time(seen.timestamp)
        if time is not None:
            seconds = min(seconds, time - seen.timestamp)
        return max(block, seconds)
